"""Every public callable with wrong arguments, one at a time: the right kind of value, or an error
that names the argument."""

import importlib
import pkgutil
import random

import pytest

from tests.public import hostile, judge, walk

TARGETS = walk.targets()
FEW = 4  # wrong values of each argument in the fast round
#: Where a call takes a whole trajectory, or writes files: one.
DEAR = ("fd.training.", "fd.integrations.")


@pytest.mark.parametrize("name", TARGETS)
def test_a_right_call_is_known(name):
    """Of a new name ``makers`` has to say what its arguments are."""
    TARGETS[name].call(TARGETS[name].valid())


def _labels(name, parameter):
    return list(hostile.values(TARGETS[name].valid().get(parameter)))


def _faults(name, some=None):
    for parameter in TARGETS[name].parameters:
        labels = _labels(name, parameter)
        if some is not None:
            labels = random.Random(f"{name} {parameter}").sample(labels, some)
        for label in labels:
            fault = judge.verdict(TARGETS[name], parameter, label)
            if fault is not None:
                yield f"{name}({parameter}={label}) {fault}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_some_wrong_arguments(name):
    assert not list(_faults(name, 1 if name.startswith(DEAR) else FEW))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_all_wrong_arguments(name):
    assert not list(_faults(name))


def test_every_module_is_walked_or_said_why_not():
    for package in ("fastdiff", "fastdiff.integrations"):
        known = {*walk.ROOTS, *walk.INTERNAL}
        found = {
            f"{package}.{module.name}".removeprefix("fastdiff.")
            for module in pkgutil.iter_modules(importlib.import_module(package).__path__)
            if not module.name.startswith("_")
        }
        assert found <= known


def test_what_the_walk_finds():
    """A name of each kind: a function, a class, a method, what a submodule exports."""
    wanted = {
        "fd.losses.levels", "fd.guidance.CFG", "fd.solvers.DPMpp2M.lower", "fd.losses.weights.EDM",
        "fd.training.train", "fd.integrations.k_diffusion.sample_euler", "fd.grids.Karras.__call__",
        "fd.schedules.DiscreteBetas.cosine", "fd.noise.key",
    }  # fmt: skip
    assert wanted <= set(TARGETS)


def test_an_argument_of_which_nothing_is_known():
    def new(bewildering):
        return bewildering

    with pytest.raises(LookupError, match="'bewildering': add to tests/public/makers.py"):
        walk.Target("fd.new", new).valid()
