"""state.x0: what the model says of clean data, as the row takes it."""

import pytest
import torch

import fastdiff as fd
from fastdiff.parameterization import read
from tests.support.helpers import assert_within, same_bits
from tests.support.toy import SOLVERS, start, table_of

SCHEDULE = fd.schedules.VPLinear()


def model(x, t, **cond):
    return torch.tanh(1.3 * x + t.reshape(-1, *[1] * (x.dim() - 1)) * 1e-3)


@pytest.mark.parametrize("name", SOLVERS)
def test_it_is_read_off_the_output(name):
    """x0_x x + x0_out out in float64, at the level where the model ran, for every solver."""
    table = table_of(name, 6)
    x = start(dtype=torch.float64)
    state = fd.SamplerState(table, x, keep_x0=True, seeds=3)
    assert (state.x0 == 0).all()
    plain = fd.SamplerState(table, x, seeds=3)
    for row in table.rows[1:-1]:
        before, out = state.x.clone(), model(state.model_input, state.t)
        state.step(out)
        plain.step(out)
        p_x, p_o = (row[fd.row.COLUMN[column]] for column in ("p_x", "p_o"))
        low, high = (row[fd.row.COLUMN[column]] for column in ("clip_lo", "clip_hi"))
        expected = (p_x * before + p_o * out).clamp(low, high)
        assert_within(state.x0, expected, 1e-12 * float(expected.abs().max() + 1), name)
    assert same_bits(state.x, plain.x)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v", "score"])
@pytest.mark.parametrize("clip", [None, (-1.0, 1.0), fd.solvers.DynamicThreshold(0.8, 3.0)])
@pytest.mark.parametrize("guided", [False, True])
def test_of_every_prediction(prediction, clip, guided):
    """Against the published readings; guided and clipped as the sample is."""
    table = fd.solvers.DPMpp2M().lower(SCHEDULE, 5, prediction=prediction, clip=clip)
    x = fd.noise.normal(fd.noise.keys(1, 3), (4, 5), dtype=torch.float64)
    guidance = fd.guidance.CFG(3.0) if guided else None
    state = fd.SamplerState(table, x, keep_x0=True, guidance=guidance)
    for k in range(table.nfe):
        uncond, cond = model(x, torch.zeros(3)), model(-x, torch.full((3,), float(k)))
        mixed = uncond + 3.0 * (cond - uncond) if guided else cond
        before = state.x.clone()
        state.step([uncond, cond] if guided else cond)
        reading = read(prediction, SCHEDULE, table.t[k + 1])
        x0 = reading.x0_x * before + reading.x0_out * mixed
        if isinstance(clip, fd.solvers.DynamicThreshold):
            bound = x0.abs().flatten(1).quantile(0.8, dim=1).clamp(1, 3.0)[:, None, None]
            x0 = x0.clamp(-bound, bound) / bound
        elif clip is not None:
            x0 = x0.clamp(*clip)
        assert_within(state.x0, x0, 1e-10 * float(x0.abs().max() + 1), prediction)


def test_a_callback_sees_it():
    """And a preview costs the sample nothing: the same bits."""
    seen = []
    table = fd.solvers.DDPM().lower(SCHEDULE, 4)
    x = start()
    sample = fd.sample(
        model, x, table, keep_x0=True, callback=lambda state: seen.append(state.x0.clone())
    )
    assert len(seen) == 4 and len({id(v) for v in seen}) == 4
    assert not any(same_bits(a, b) for a, b in zip(seen, seen[1:], strict=False))
    assert same_bits(sample, fd.sample(model, x, table))


def test_states_with_it_are_copied_restarted_and_taken():
    table = fd.solvers.DDIM().lower(SCHEDULE, 4)
    state, other = (fd.SamplerState(table, start(), keep_x0=True, seeds=k) for k in range(2))
    for one in (state, other):
        one.step(model(one.model_input, one.t))
    x0 = state.x0.clone()
    other.take(state)
    assert same_bits(other.x0, x0)
    state.restart(0, start()[0])
    assert (state.x0[0] == 0).all() and same_bits(state.x0[1:], x0[1:])
    with pytest.raises(ValueError, match="same structure"):
        other.take(fd.SamplerState(table, start()))


def test_refusals():
    table = fd.solvers.DDIM().lower(SCHEDULE, 4)
    with pytest.raises(RuntimeError, match="^x0: expected a state made with keep_x0=True"):
        fd.SamplerState(table, start()).x0  # noqa: B018
    with pytest.raises(TypeError, match="^keep_x0: expected True or False, got 1"):
        fd.SamplerState(table, start(), keep_x0=1)
    state = fd.SamplerState(table, torch.zeros(2, 5, 5), keep_x0=True)
    with pytest.raises(ValueError, match="^out: expected memory of its own"):
        state.step(state.x0.transpose(1, 2))
    state.step(state.x0)  # element for element: read before it is written
