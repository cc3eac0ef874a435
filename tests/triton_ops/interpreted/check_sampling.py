"""Whole loops on Triton: the samples of the native backend, to the bit where tl.fma rounds once."""

import pytest
import torch

import fastdiff as fd
from tests.support.helpers import native_only, same_bits
from tests.support.step_cases import assert_same
from tests.triton_ops.calls import call
from tests.triton_ops.probe import FUSES

SCHEDULE = fd.schedules.VPLinear()
SOLVERS = [fd.solvers.DPMpp2M(), fd.solvers.DDIM(eta=1.0), fd.solvers.Heun(), fd.solvers.UniPC()]


def model(x, t):
    return torch.tanh(x) * (1 + t.reshape(-1, 1, 1)).rsqrt()


def samples(solver, dtype=torch.float32, **options):
    table = solver.lower(SCHEDULE, 4)
    x = fd.noise.normal(fd.noise.keys(3, 2), (3, 50)).to(dtype)
    return fd.sample(model, x, table, seeds=5, **options)


@native_only
@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
@pytest.mark.parametrize(("dtype", "guided"), [(torch.float32, False), (torch.bfloat16, True)])
def test_native(solver, dtype, guided):
    options = {"guidance": fd.guidance.CFG(2.0), "cond": {}, "uncond": {}} if guided else {}
    got = samples(solver, dtype, **options)
    with fd.backend("cpu"):
        expected = samples(solver, dtype, **options)
    if FUSES:
        assert torch.equal(got, expected)
    assert torch.allclose(got, expected, rtol=1e-4, atol=1e-5)


@native_only
def test_a_state_keeps_its_backend():
    table = SOLVERS[0].lower(SCHEDULE, 2)
    state = fd.SamplerState(table, torch.ones(1, 3, 4))
    with fd.backend("cpu"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(fd.kernels.triton.step, "launch", _fail)
        with pytest.raises(AssertionError, match="launched"):
            state.step(torch.ones(1, 3, 4))


@pytest.mark.parametrize("compiler", ["eager", "aot_eager"])
def test_compiled(compiler):
    """The functions of fastdiff.ops trace whole, and run what they run uncompiled."""
    torch._dynamo.reset()

    def work(case):
        z = fd.ops.normal(case["keys"], case["x"].shape[1:])
        fd.ops.step_(**case)
        return z, fd.ops.moments(case["x"], z)

    one, other = call(2, (3, 40)), call(2, (3, 40))
    compiled = torch.compile(work, fullgraph=True, backend=compiler)(one.arguments)
    for got, expected in zip(compiled, work(other.arguments), strict=True):
        assert same_bits(got, expected)
    assert_same(one, other)


def _fail(*_, **__):
    raise AssertionError("launched")
