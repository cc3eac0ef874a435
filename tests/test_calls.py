"""How many Python functions of the package a call enters, once everything is warm.

Where the arrays are small this is what a call costs. The numbers are bounds: lower them with what
lowers the counts.
"""

import sys
from pathlib import Path

import pytest
import torch

import fastdiff as fd
from fastdiff.tables import kept

PACKAGE = str(Path(fd.__file__).parent)


class Enough(Exception):
    """Raised by a model at its first evaluation."""


def calls(function) -> int:
    """Frames of the package's files that ``function`` enters, at its second call."""
    count = 0

    def look(frame, event, _):
        nonlocal count
        count += event == "call" and frame.f_code.co_filename.startswith(PACKAGE)

    function()
    before = sys.getprofile()
    sys.setprofile(look)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


def test_the_count_sees_calls():
    schedule = fd.schedules.VPLinear()
    assert 0 < calls(lambda: schedule.alpha(0.5)) < 10
    assert calls(lambda: None) == 0


@pytest.mark.parametrize("weight", [None, fd.losses.weights.MinSNR()])
@pytest.mark.parametrize(
    ("schedule", "most"), [(fd.schedules.DiscreteBetas.linear(), 25), (fd.schedules.VPLinear(), 46)]
)
def test_denoising_loss(schedule, most, weight):
    x0 = torch.randn(4, 7)
    t = torch.tensor([3, 50, 400, 900]) if schedule.T else torch.tensor([0.1, 0.4, 0.5, 0.9])
    scale = torch.ones(7, requires_grad=True)

    def loss():
        losses = fd.losses.denoising_loss(
            lambda x, t: scale * x, x0, t, x0, schedule=schedule, weight=weight
        )
        losses.sum().backward()

    assert calls(loss) <= most


def test_sample_before_its_loop():
    table = fd.solvers.DPMpp2M().lower(fd.schedules.VPLinear(), 4)
    x = torch.randn(2, 7)

    def model(x, t):
        raise Enough

    def sample():
        with pytest.raises(Enough):
            fd.sample(model, x, table)

    assert calls(sample) <= 40


def test_lower():
    solver, schedule = fd.solvers.DPMpp2M(), fd.schedules.VPLinear()

    def lower():
        kept._tables.clear()
        solver.lower(schedule, 4)

    assert calls(lower) <= 250


def test_a_step():
    table = fd.solvers.DPMpp2M().lower(fd.schedules.VPLinear(), 9)
    state = fd.SamplerState(table, torch.randn(2, 7))
    out = torch.randn(2, 7)
    assert calls(lambda: state.step(out)) <= 1
