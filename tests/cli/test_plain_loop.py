"""The eager loop that the command line compares with executes the same tables."""

import pytest
import torch

import fastdiff as fd
from fastdiff.cli.plain import PlainLoop


def model(x, t):
    return torch.tanh(x) * (1 - t.reshape(-1, 1)) + 0.1 * x


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("scale", [None, 1.5])
@pytest.mark.parametrize("name", [n for n in fd.solvers.names() if not fd.solvers.get(n).inpaints])
def test_it_agrees_with_the_engine(name, scale, clip):
    """Same table, model and noise: the samples agree up to float32 rounding."""
    table = fd.solvers.get(name)().lower(fd.schedules.VPCosine(), 9, prediction="v", clip=clip)
    x = fd.noise.draw(fd.noise.keys(0, 3), (17,))
    guidance = None if scale is None else fd.guidance.CFG(scale)
    source, again = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    fused = fd.SamplerState(table, x, guidance=guidance, noise=source)
    plain = PlainLoop(table, x, scale=scale, generator=again)
    while not fused.done:
        torch.testing.assert_close(plain.t, fused.t)
        fused.step(model(fused.model_input, fused.t) * _spread(fused.model_input, scale))
        plain.step(model(plain.model_input, plain.t) * _spread(plain.model_input, scale))
    assert plain.done
    torch.testing.assert_close(plain.x, fused.x, rtol=1e-5, atol=1e-5)


def _spread(x, scale):
    """Another output for the unconditional half than for the conditional one."""
    factor = torch.ones(len(x), 1)
    if scale is not None:
        factor[: len(x) // 2] = 0.8
    return factor
