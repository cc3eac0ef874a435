"""Small tools of several test folders."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from fastdiff import ops, schedules

ROOT = Path(__file__).parents[2]

native_only = pytest.mark.skipif(ops.native is None, reason="needs the compiled module")

#: A schedule of each family, those in continuous time.
CONTINUOUS = [
    schedules.VPLinear(),
    schedules.VPCosine(),
    schedules.SubVP(),
    schedules.VE(),
    schedules.EDM(),
    schedules.RectifiedFlow(shift=3.0),
    schedules.LogSNR((-6.0, 4.0)),
]

CLONES = list(ops.native.cpu_clones()) if ops.native else []


@contextmanager
def cpu_clone(name):
    """Run on the named CPU clone."""
    before = ops.native.cpu_clone()
    assert ops.native.select_cpu_clone(name)
    try:
        yield
    finally:
        ops.native.select_cpu_clone(before)


@contextmanager
def thread_count(number):
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def same_bits(a, b):
    """Equality of dtype, shape and bits: NaN equals itself, -0 differs from 0."""
    integer = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    if a is None or b is None:
        return a is b
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    kind = integer[a.element_size()]
    return torch.equal(a.contiguous().view(kind), b.contiguous().view(kind))


def assert_within(actual, expected, bound, what=""):
    """|actual - expected| <= bound, element by element; names the worst element."""
    actual, expected, bound = torch.broadcast_tensors(
        *(torch.as_tensor(v).double() for v in (actual, expected, bound))
    )
    error = (actual - expected).abs()
    bad = ~(error <= bound) & ~((actual == expected) | (actual.isnan() & expected.isnan()))
    if bad.any():
        at = int(torch.where(bad, error / bound, -1.0).nan_to_num(torch.inf).argmax())
        raise AssertionError(
            f"{what}: {int(bad.sum())} of {bad.numel()} elements are off; the worst, {at}: "
            f"got {actual.flatten()[at]:.9g}, expected {expected.flatten()[at]:.9g} "
            f"+- {bound.flatten()[at]:.3g}"
        )


def import_path() -> str:
    """For PYTHONPATH: the path of this interpreter, and the folder that contains tests/ at its end,
    so that fastdiff is the one that the tests import."""
    return os.pathsep.join([*sys.path, str(ROOT)])


def run_python(*arguments, timeout=300):
    """Run a new interpreter with these arguments, on this one's import path; its text output."""
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=ROOT / "tests",
        env={**os.environ, "PYTHONPATH": import_path()},
    )
