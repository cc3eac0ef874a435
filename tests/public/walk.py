"""Every public callable of the package, found by itself, each with a valid call.

Public is what a package's ``__init__`` re-exports (``import x as x`` or ``__all__``) and what a
module defines itself, without an underscore. Of a class it is the constructor, the methods and
``__call__``. The valid call is made from ``makers``, by the names of the parameters.
"""

import ast
import importlib
import inspect
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType

import fastdiff as fd
from tests.public import makers

#: What is walked; packages inside of these are found where they are exported.
ROOTS = (
    "elbo", "grids", "guidance", "integrations.diffusers", "integrations.k_diffusion",
    "integrations.score_sde", "likelihood", "losses", "models", "noise", "ops",
    "parameterization", "processes", "sampling", "schedules", "solvers", "training",
)  # fmt: skip

#: Modules of the package that are not walked, and why.
INTERNAL = {
    "arguments": "the checks themselves",
    "build": "build_info, which has no arguments, is walked as fd.build_info",
    "cli": "its arguments are text: see the tests of the command line",
    "deprecated": "old names",
    "files": "what models, tables and training write their files with",
    "integrations": "its packages are walked",
    "typing": "annotations alone",
    "kernels": "Triton kernels, which ops call with what they have checked",
    "row": "the layout of a row",
    "tables": "StepTable, which is public, is walked as fd.solvers.StepTable",
}

#: What calls return or raise, and nobody makes.
RESULTS = (tuple, BaseException)


@dataclass(frozen=True)
class Target:
    """A callable: ``name`` as a user writes it; ``of`` is the class whose method it is, if any."""

    name: str
    function: object
    of: type | None = None

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """Those that a user gives."""
        kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        bound = self.of is not None and not isinstance(
            inspect.getattr_static(self.of, self.function.__name__), (classmethod, staticmethod)
        )
        parameters = list(inspect.signature(self.function).parameters.values())[bound:]
        return {p.name: p for p in parameters if p.kind not in kinds}

    def valid(self) -> dict:
        """Fresh arguments that are right."""
        given = {}
        for name, parameter in self.parameters.items():
            make = makers.find(self.name, name)
            if make is not None:
                given[name] = make()
            elif parameter.default is inspect.Parameter.empty:
                raise LookupError(
                    f"{self.name}: nothing is known of the argument {name!r}: add to "
                    f"tests/public/makers.py what makes a valid one, to BY_NAME if every {name!r} "
                    f"is like it, else to BY_CALL as {(self.name, name)!r}"
                )
        return given

    def call(self, arguments: dict):
        """The result of the callable, of a method on a fresh instance."""
        function = self.function
        if self.of is not None and "self" in inspect.signature(function).parameters:
            made = Target(self.name.rpartition(".")[0], self.of)
            function = getattr(self.of(**made.valid()), function.__name__)
        positional = [
            arguments.pop(name)
            for name, p in self.parameters.items()
            if p.kind is inspect.Parameter.POSITIONAL_ONLY and name in arguments
        ]
        with _in_scratch():
            return function(*positional, **arguments)


@contextmanager
def _in_scratch():
    """A file without a folder in its name goes where nobody keeps any."""
    before = os.getcwd()
    os.chdir(makers.SCRATCH.name)
    try:
        yield
    finally:
        os.chdir(before)


def exported(module: ModuleType) -> list[str]:
    """The public names of a module."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    names = []
    for node in ast.parse(Path(module.__file__).read_text()).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names += [alias.name for alias in node.names if alias.name == alias.asname]
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
    return sorted(name for name in names if not name.startswith("_"))


def targets() -> dict[str, Target]:
    """Name -> what is to be called; an object that has several names under the first of them."""
    found, seen = {}, set()

    def add(target):
        place = id(target.function), target.of
        if target.name not in makers.EXEMPT and place not in seen:
            seen.add(place)
            found[target.name] = target

    def visit(name, module):
        for attribute in exported(module):
            value, label = getattr(module, attribute), f"{name}.{attribute}"
            if isinstance(value, ModuleType):
                if _written_here(value) and id(value) not in seen:
                    seen.add(id(value))
                    visit(label, value)
            elif isinstance(value, type):
                if label in makers.EXEMPT or issubclass(value, RESULTS):
                    continue
                add(Target(label, value))
                for method in methods(value):
                    add(Target(f"{label}.{method}", getattr(value, method), value))
            elif callable(value):
                add(Target(label, value))

    for root in ROOTS:
        visit(f"fd.{root}", importlib.import_module(f"fastdiff.{root}"))
    visit("fd", fd)
    return found


def _written_here(module: ModuleType) -> bool:
    """Whether it is a module of the package in Python: the native one has a fuzz of its own."""
    return module.__name__.startswith("fastdiff.") and str(module.__file__).endswith(".py")


def methods(kind: type) -> list[str]:
    """Public methods that the package defines, and ``__call__``."""
    for base in kind.__mro__:
        if base in makers.CALLED_BY_USERS:
            return sorted(makers.CALLED_BY_USERS[base])
    names = []
    for name in dir(kind):
        static = inspect.getattr_static(kind, name)
        function = getattr(static, "__func__", static)
        ours = getattr(function, "__module__", None) or ""
        public = not name.startswith("_") or name == "__call__"
        if public and isinstance(function, FunctionType) and ours.startswith("fastdiff."):
            names.append(name)
    return names
