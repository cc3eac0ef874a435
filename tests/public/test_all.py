"""``__all__`` of a public module is what it defines and imports for others, and nothing else."""

import ast
import importlib
from pathlib import Path

import pytest

import fastdiff
from tests.public.walk import ROOTS

MODULES = ["fastdiff", "fastdiff.typing", "fastdiff.losses.weights", "fastdiff.training"]
# The classes of integrations.diffusers are made when it is imported, from its records.
MODULES += [f"fastdiff.{name}" for name in ROOTS if name != "integrations.diffusers"]
HELPERS = {"attributes"}  # imported by the packages for themselves


def offered(module) -> tuple[set[str], set[str]]:
    """The public names that a module defines or, as a package, takes from its own modules; and
    those that it imports from elsewhere."""
    own, foreign = set(), set()
    package = Path(module.__file__).name == "__init__.py"
    for node in ast.parse(Path(module.__file__).read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            own.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            own |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom):
            names = {alias.asname or alias.name for alias in node.names}
            if package and node.level == 1:
                own |= names
            else:
                foreign |= names
    return {name for name in own - HELPERS if not name.startswith("_")}, foreign


@pytest.mark.parametrize("name", MODULES)
def test_all_are_the_public_names(name):
    module = importlib.import_module(name)
    own, foreign = offered(module)
    assert own <= set(module.__all__), f"not in __all__: {sorted(own - set(module.__all__))}"
    more = set(module.__all__) - own
    assert more <= foreign, f"not there: {sorted(more - foreign)}"
    assert len(module.__all__) == len(set(module.__all__))
    for attribute in module.__all__:
        getattr(module, attribute)


def test_what_a_user_reaches_has_an_all():
    for name, value in vars(fastdiff).items():
        if name in fastdiff.__all__ and hasattr(value, "__path__"):
            assert f"fastdiff.{name}" in MODULES, f"{name} is not looked at here"
