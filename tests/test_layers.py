"""Imports point down: the layers of the design, read off the source."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fastdiff"

# A module may import those of its own entry and of the lines above.
LAYERS = [
    {"row", "kernels", "files", "arguments", "deprecated", "typing"},
    {"schedules"},
    {"parameterization", "grids", "processes", "ops"},
    {"tables"},
    {"solvers"},
    {"noise", "guidance"},
    {"sampling"},
    {"losses"},
    {"elbo"},
    {"likelihood"},
    {"models"},
    {"training", "integrations", "build"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# Layers that must not know each other although one is listed lower.
APART = {
    "ops": {"schedules"},
    "tables": {"ops"},
    "solvers": {"ops"},
    "models": {"sampling", "likelihood"},
}
# What may be imported from outside; the rest may import anything.
OUTSIDE = {
    "row": set(),
    "files": set(),
    "deprecated": set(),
    "arguments": set(),
    "schedules": {"numpy"},
    "grids": {"numpy"},
    "parameterization": {"numpy"},
    "processes": {"numpy"},
    "tables": {"numpy"},
    "solvers": {"numpy"},
    "ops": {"torch"},
    "noise": {"torch"},
    "guidance": {"numpy", "torch"},
    "sampling": {"numpy", "torch", "tqdm"},
    "losses": {"numpy", "torch"},
    "elbo": {"torch"},
    "likelihood": {"numpy", "torch"},
    "models": {"torch", "numpy", "safetensors"},
}
DIFFUSION = re.compile(
    r"\b(alpha|sigma|lam|eps|x0|timestep|schedule|denois\w*|diffus\w*|score)\b", re.I
)


def layer_of(path):
    part = path.relative_to(PACKAGE).parts[0]
    return part.removesuffix(".py")


def imported(path):
    """Absolute names of everything the file imports, also inside functions."""
    package = ("fastdiff", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            stem = ".".join((*base, *filter(None, [node.module])))
            yield from (f"{stem}.{alias.name}" for alias in node.names)


FILES = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path != PACKAGE / "__init__.py" and layer_of(path) != "kernels"
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    layer = layer_of(path)
    assert layer in LEVEL, f"{layer} is new: give it a place in LAYERS"
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "fastdiff":
            other = parts[1] if len(parts) > 1 else ""
            if other == layer or other == "_C" and layer == "ops":
                continue
            if layer in ("build", "cli", "training", "integrations") and other not in LEVEL:
                continue  # names of the package itself, such as its version
            assert other in LEVEL and LEVEL[other] < LEVEL[layer], f"{layer} imports {name}"
            assert other not in APART.get(layer, ()), f"{layer} imports {name}"
        elif parts[0] not in sys.stdlib_module_names:
            assert parts[0] in OUTSIDE.get(layer, {parts[0]}), f"{layer} imports {name}"


def test_ops_know_no_diffusion_words():
    for path in (PACKAGE / "ops").glob("*.py"):
        code = ast.unparse(_without_docstrings(ast.parse(path.read_text())))
        assert not DIFFUSION.findall(code), path


def _without_docstrings(tree):
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            if isinstance(getattr(body[0], "value", None), ast.Constant):
                body[0].value.value = ""
    return tree


# Folder of the native code -> what its files may include with "..."; <...> must then not be torch.
INCLUDES = {"core": {"core"}, "cpu": {"core", "cpu"}, "cuda": {"core", "cuda"}}


@pytest.mark.parametrize("folder", INCLUDES)
def test_native_includes(folder):
    for path in (ROOT / "csrc" / folder).glob("*"):
        text = path.read_text()
        for own in re.findall(r'#include "([^"]+)"', text):
            assert own.split("/")[0] in INCLUDES[folder], f"{path.name} includes {own}"
        for system in re.findall(r"#include <([^>]+)>", text):
            assert not re.match(r"(torch|ATen|c10|pybind11|Python)", system), (
                f"{path.name}: {system}"
            )


def test_triton_kernels_import_nothing_from_the_package():
    for path in (ROOT / "kernels").rglob("*.py"):
        text = path.read_text()
        assert not re.search(r"^\s*(from|import) fastdiff(?!\.kernels)", text, re.M), path
