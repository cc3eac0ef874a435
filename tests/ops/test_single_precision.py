"""The reference on devices that have no float64: in float32, near what it is in float64."""

import pytest
import torch

import fastdiff as fd
from fastdiff import noise, ops
from tests.support.helpers import assert_within
from tests.support.pretend_device import like_a_device, single_precision
from tests.support.training_cases import OPS, call

VP = fd.schedules.VPLinear()


def near(value, wanted, unit=2.0**-24):
    size = 1 + float(wanted.double().abs().max()) if wanted.numel() else 1.0
    assert value.dtype != torch.float64
    assert_within(value, wanted, 200 * unit * size)


@pytest.fixture
def like_it(monkeypatch):
    """A function that computes in both precisions, and its results."""

    def both(compute):
        with fd.backend("reference"):
            wanted = compute()
        with single_precision(monkeypatch):
            return compute(), wanted

    return both


def test_float64_is_seen(monkeypatch):
    with single_precision(monkeypatch), pytest.raises(TypeError, match="no float64"):
        torch.ones(2).double()


def test_normals(like_it):
    keys = noise.keys(3, 4)
    near(*like_it(lambda: ops.normal(keys, (7, 13))))


def test_moments(like_it):
    a, b = torch.randn(2, 3, 50, generator=torch.Generator().manual_seed(0))
    value, wanted = like_it(lambda: ops.moments(a, b))
    near(value, wanted.float())


STEPS = {
    "deterministic": (fd.solvers.DDIM(), {}, {}),
    "noise and a range": (fd.solvers.DDPM(), {"clip": 1.0}, {}),
    "memory and an anchor": (fd.solvers.UniPC(), {}, {}),
    "learned variance": (fd.solvers.DDPM("learned_range"), {}, {}),
    "quantiles": (fd.solvers.DPMpp2M(), {"clip": fd.solvers.DynamicThreshold(0.9, 2.0)}, {}),
    "known data": (
        fd.solvers.Inpaint(fd.solvers.DDIM(eta=1.0)),
        {},
        {"known": torch.zeros(2, 4, 3, 3), "mask": torch.eye(3).expand(2, 4, 3, 3).contiguous()},
    ),
    "guidance": (fd.solvers.DDIM(), {}, {"guidance": fd.guidance.CFG([2.0, 5.0])}),
    "adaptive": (fd.solvers.DDIM(), {}, {"guidance": fd.guidance.CFG(3.0, rescale=0.7)}),
}


@pytest.mark.parametrize("case", STEPS)
def test_steps(monkeypatch, case):
    solver, lowered, options = STEPS[case]
    table = solver.lower(VP, 5, **lowered)
    x = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))

    def finish(state):
        while not state.done:
            out = torch.sin(3 * state.model_input)
            state.step(torch.cat([out, 0.1 * out], dim=1) if "variance" in case else out)
        return state.x

    with fd.backend("reference"):
        wanted = finish(fd.SamplerState(table, x, seeds=5, **options))
    with like_a_device(monkeypatch):  # where rows are packed on the host
        state = fd.SamplerState(table, x, seeds=5, **options)
    with single_precision(monkeypatch):
        value = finish(state)
    near(value, wanted, unit=2.0**-21)  # five steps of a nonlinear model


@pytest.mark.parametrize("name", OPS)
def test_operations_of_training(like_it, name):
    one = call(name, (3, 11))
    places = one.differentiated()

    def run():
        arguments = [v.detach().requires_grad_(k in places) for k, v in enumerate(one.arguments)]
        results = one.op.function(*arguments)
        results = results if isinstance(results, tuple) else (results,)
        gradients = torch.autograd.grad(
            sum(r.sum() for r in results), [arguments[k] for k in places]
        )
        return [*(r.detach() for r in results), *gradients]

    values, wanted = like_it(run)
    for value, want in zip(values, wanted, strict=True):
        near(value, want, unit=2.0**-21)
