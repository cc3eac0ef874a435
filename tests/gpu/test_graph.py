"""Captured steps: one capture serves other tables, seeds, scales and numbers of steps."""

from pathlib import Path

import pytest
import torch

import fastdiff as fd
from fastdiff.guidance import CFG
from tests.gpu.device_calls import DEVICE, Net, assert_equal, needs_cuda
from tests.support.helpers import run_python
from tests.support.toy import start, table_of

pytestmark = needs_cuda


def start_here(seed=0):
    return start(seed=seed).to(DEVICE)


def run(net, graph, *, solver="DDPM", steps=5, seeds=0, scale=2.0, shift=0.1, x=0, **options):
    shift = torch.full((3,), float(shift), device=DEVICE)
    return fd.sample(
        net, start_here(x), table_of(solver, steps), seeds=seeds, guidance=CFG(scale),
        cond={"shift": shift}, uncond={"shift": torch.zeros_like(shift)}, graph=graph, **options,
    )  # fmt: skip


@pytest.mark.parametrize("noise", ["philox", "torch", "brownian"])
def test_one_capture_for_many_runs(captures, noise):
    """Each replayed run has the bits of its eager one; what was returned before stays as it is."""
    net, returned = Net(), []
    changes = [
        {}, {"seeds": [9, 4, 7]}, {"scale": 0.3}, {"steps": 9}, {"steps": 1}, {"shift": 0.4},
        {"x": 3}, {"solver": "EulerAncestral"}, {"solver": "DDIM"}, {"steps": 100, "seeds": 1}, {},
    ]  # fmt: skip
    for change in changes:
        torch.manual_seed(8)
        expected = run(net, False, noise=noise, **change)
        torch.manual_seed(8)
        sample = run(net, True, noise=noise, **change)
        assert_equal(sample, expected, f"{change}")
        returned.append((sample, expected))
    assert len(captures) == 1
    for k, (sample, expected) in enumerate(returned):
        assert_equal(sample, expected, f"run {k} after all others")


@pytest.mark.parametrize(
    "change",
    [{"solver": "UniPC"}, {"solver": "Heun"}, {"steps": 1100}, {"model_dtype": torch.bfloat16}],
)
def test_another_structure_is_captured_anew(captures, change):
    net = Net()
    for options in ({}, change, {}):
        assert_equal(run(net, True, **options), run(net, False, **options), f"{options}")
    assert len(captures) == 2


def test_auto_is_a_graph(captures):
    assert_equal(run(Net(), "auto"), run(Net(), False))
    assert len(captures) == 1


def test_an_edit_between_replays(captures):
    """A callback may replace the state: the next model input follows."""

    def halve(state):
        state.replace(state.x / 2)

    net = Net()
    assert_equal(run(net, True, callback=halve), run(net, False, callback=halve))


def test_on_a_stream_of_the_caller(captures):
    net, expected = Net(), run(Net(), False)
    for _ in range(2):
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            sample = run(net, True)
        stream.synchronize()
        assert_equal(sample, expected)
    assert len(captures) == 1


def test_a_model_that_cannot_be_captured():
    """In a process of its own: what a failed capture leaves behind would fail other tests."""
    done = run_python(Path(__file__).with_name("fallback.py"))
    assert done.returncode == 0, done.stdout + done.stderr
