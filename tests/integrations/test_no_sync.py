"""No step reads anything back from a device: whatever could is named here, with the reason."""

import ast
from pathlib import Path

import fastdiff.integrations.diffusers as fused

FOLDER = Path(fused.__file__).parent
READS = {"item", "cpu", "tolist", "numpy", "nonzero", "argwhere", "unique", "is_nonzero"}
BUILTINS = {"float", "int", "bool"}
OFF_THE_PATH = ("plans", "swap.py")  # made when a trajectory begins; by accelerate

ALLOWED = {
    "fused.Fused._advance": "of a timestep on the host",
    "fused.Fused._made_from": "of tensors on the host",
    "fused.Fused._plan": "of tensors on the host",
    "gradient.Terms.of": "of a row on the host",
    "noise._seed": "of a number drawn on the host",
    "noising.LooksUp._sigmas_of": "of timesteps on the host",
    "noising._places": "when timesteps are new; they are on the host",
    "schedulers.karras_ve.KarrasVeScheduler.add_noise_to_input": "of levels on the host",
    "schedulers.karras_ve._index": "of levels on the host",
    "schedulers.multistep.Multistep._fill": "of a row on the host",
    "schedulers.sde.DPMSolverSDEScheduler._increment": "once: the path of torchsde is on the host",
    "trajectory.Trajectory.expects": "of a timestep on the host",
    "trajectory.Trajectory.place_of": "of a timestep on the host",
}


def functions(node, path):
    """(qualified name, function) of all functions in a tree."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.ClassDef, ast.FunctionDef)):
            name = f"{path}.{child.name}"
            if isinstance(child, ast.FunctionDef):
                yield name, child
            else:
                yield from functions(child, name)
        else:
            yield from functions(child, path)


def reads(function):
    """The calls in a function that would make the host wait, were they of tensors on a device."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr in READS:
                yield node.func.attr
            elif isinstance(node.func, ast.Name) and node.func.id in BUILTINS:
                yield node.func.id


def found_in(folder):
    for path in sorted(folder.rglob("*.py")):
        place = path.relative_to(folder)
        if place.parts[0] not in OFF_THE_PATH:
            stem = ".".join(place.with_suffix("").parts)
            for name, function in functions(ast.parse(path.read_text()), stem):
                if calls := sorted(set(reads(function))):
                    yield name, calls


def test_nothing_is_read_back():
    found = dict(found_in(FOLDER))
    assert set(found) == set(ALLOWED), {n: c for n, c in found.items() if n not in ALLOWED}
