"""No step reads anything back from a device: whatever could is named here, with the reason."""

import ast
from pathlib import Path

import fastdiff

FASTDIFF = Path(fastdiff.__file__).parent
READS = {"item", "cpu", "tolist", "numpy", "nonzero", "argwhere", "unique", "is_nonzero"}
BUILTINS = {"float", "int", "bool"}
#: Where, and what of it is not called between two evaluations of a model.
PLACES = {
    "integrations/diffusers": ("adapters", "swap.py", "attributes.py"),
    "integrations/k_diffusion": ("sigmas.py", "likelihood.py"),
    "integrations/score_sde": ("sdes.py", "predictors.py", "likelihood.py"),
    "guidance": tuple(f.name for f in (FASTDIFF / "guidance").iterdir() if f.name != "mix.py"),
}

ALLOWED = {
    "schedulers.base.Fused._locate": "of a timestep on the host",
    "schedulers.base.Fused._begin": "of tensors on the host",
    "schedulers.base.Fused._made": "of tensors on the host",
    "noise._seed": "of a number drawn on the host",
    "add_noise.LooksUp._sigmas_of": "of timesteps on the host",
    "add_noise._indices": "when timesteps are new; they are on the host",
    "step_index.warn_of_the_second": "of timesteps on the host, when a loop begins",
    "schedulers.special.KarrasVe.add_noise_to_input": "of levels on the host",
    "step_index.index_of": "of levels on the host",
    "schedulers.memory.TwoStage._memory": "of a sigma on the host",
    "schedulers.memory.items": "of rows on the host",
    "schedulers.special.DPMSolverSDE._increment": "once: the path of torchsde is on the host",
    "guidance.mix._of_samples": "of a number",
    "guidance.mix._rescaled": "of outputs on the host",
    "k_diffusion.adaptive.WholeBatch._report": "for a callback, if there is one",
    "k_diffusion.adaptive.WholeBatch.noise": "adaptive: every step asks whether it is accepted",
    "k_diffusion.flow.below_one": "of a number that the model tells",
    "k_diffusion.noise.BrownianTreeNoiseSampler.__init__": "once",
    "k_diffusion.noise.brownian": "of a number drawn on the host",
    "k_diffusion.run.host_levels": "once: the levels",
    "k_diffusion.run.run": "of numbers on the host",
    "k_diffusion.run.table_of": "of numbers on the host",
    "k_diffusion.samplers._churned": "of numbers on the host",
    "k_diffusion.samplers.sample_dpm_fast": "of numbers on the host",
    "score_sde.sampling.check_eps": "of a number",
    "score_sde.sampling.get_ode_sampler": "once, after the last step",
    "step_index.on_host": "where timesteps are set, or replaced by hand",
    "step_index.Trajectory.expects": "of a timestep on the host",
    "step_index.Trajectory.row_of": "of a timestep on the host",
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
            elif isinstance(node.func, ast.Attribute) and node.func.attr == "to":
                values = (*node.args, *(keyword.value for keyword in node.keywords))
                if any(isinstance(v, ast.Constant) and v.value == "cpu" for v in values):
                    yield 'to("cpu")'
            elif isinstance(node.func, ast.Name) and node.func.id in BUILTINS:
                yield node.func.id


def found_in(folder, off_the_path):
    for path in sorted(folder.rglob("*.py")):
        place = path.relative_to(folder)
        if place.parts[0] not in off_the_path:
            stem = ".".join(place.with_suffix("").parts)
            for name, function in functions(ast.parse(path.read_text()), stem):
                if calls := sorted(set(reads(function))):
                    yield name, calls


def test_nothing_is_read_back():
    found = {}
    for folder, off_the_path in PLACES.items():
        short = folder.replace("integrations/diffusers", "").replace("integrations/", "")
        names = found_in(FASTDIFF / folder, off_the_path)
        found |= {f"{short}.{name}".lstrip("."): calls for name, calls in names}
    assert set(found) == set(ALLOWED), {n: c for n, c in found.items() if n not in ALLOWED}
