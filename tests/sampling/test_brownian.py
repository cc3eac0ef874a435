"""noise="brownian": one path for a seed, whatever the number of steps."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fastdiff as fd
from fastdiff.sampling.brownian import DEPTH, BrownianDraws, path_at
from fastdiff.sampling.buffers import Buffers
from fastdiff.sampling.program import Program
from tests.support.helpers import same_bits
from tests.support.toy import DETERMINISTIC, SOLVERS, model, start, table_of

STEP = 2**DEPTH


def test_the_path_is_a_brownian_motion():
    """Increments over disjoint stretches: independent, variance their length. Five sigma."""
    points = [0, STEP // 7, STEP // 3, STEP // 2, STEP // 2 + 5, STEP]
    keys = fd.noise.keys(0, 4)
    path = torch.stack([path_at(p, keys, (20_000,)).flatten() for p in points])
    assert (path[0] == 0).all()
    lengths = torch.tensor(np.diff(points) / STEP)
    z = path.diff(dim=0) / lengths.sqrt()[:, None]
    n = z.shape[1]
    assert (z.mean(dim=1).abs() < 5 / math.sqrt(n)).all()
    correlation = z @ z.T / n
    spread = torch.where(torch.eye(len(z)) == 1, math.sqrt(2 / n), math.sqrt(1 / n))
    assert ((correlation - torch.eye(len(z))).abs() < 5 * spread).all()


@given(point=st.integers(0, STEP), b=st.integers(0, 2))
def test_a_sample_has_its_own_path(point, b):
    keys = fd.noise.keys(7, 3)
    alone = path_at(point, keys[b : b + 1], (5, 3))
    assert same_bits(alone[0], path_at(point, keys, (5, 3))[b])


@pytest.mark.parametrize(
    "solver",
    [
        *(fd.solvers.get(name)() for name in ("DPMpp2MSDE", "EulerAncestral", "DPMppSDE", "DDPM")),
        fd.solvers.DPMFast(eta=1.0),  # whose stages lie below where its noise leads
        fd.solvers.EDMHeun(8.0),
    ],
    ids=str,
)
def test_more_steps_refine_the_same_sample(solver):
    """The distance to a fine run falls with the steps; with ordinary noise it does not."""
    schedule = fd.schedules.VPLinear()
    x = start(2, (40,), dtype=torch.float64)

    def gaussian(steps, noise):
        table = solver.lower(schedule, steps)
        levels = iter(table.levels[1:-1])

        def eps(y, t):  # exact for data N(0, 0.25)
            _, alpha, sigma, *_ = next(levels)
            return y * sigma / (0.25 * alpha**2 + sigma**2)

        return fd.sample(eps, x, table, seeds=3, noise=noise)

    fine = gaussian(160, "brownian")
    far = [float((gaussian(n, "brownian") - fine).square().mean().sqrt()) for n in (6, 20, 60)]
    assert far[0] > far[1] > far[2] and far[2] < 0.2, far
    other = float((gaussian(60, "philox") - gaussian(160, "philox")).square().mean().sqrt())
    assert other > 3 * far[2]


def test_batches_restarts_and_mixed_tables():
    """A sample alone equals the same one in a batch of other tables."""
    tables = [table_of("DDPM", 7), table_of("DPMpp2MSDE", 4), table_of("DDPM", 3)]
    x = start()
    together = fd.sample(model, x, tables, seeds=5, noise="brownian")
    for b, table in enumerate(tables):
        alone = fd.sample(model, x[b : b + 1], table, seeds=[5 + b], noise="brownian")
        assert same_bits(alone[0], together[b])


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("steps", [1, 5])
def test_tables_without_draws_need_no_path(name, steps):
    """Deterministic solvers, single steps to clean data; alone and beside tables that draw."""
    table, x = table_of(name, steps), start()
    if table.stochastic:
        assert name not in DETERMINISTIC
        return
    expected = fd.sample(model, x, table)
    assert same_bits(fd.sample(model, x, table, noise="brownian"), expected)
    mixed = [table_of("DDPM", 4), table, table_of("DDPM", 3)]
    assert same_bits(fd.sample(model, x, mixed, noise="brownian")[1], expected[1])


@pytest.mark.parametrize("steps", [6, 100])
def test_levels_that_differ_by_little(steps):
    """At sigma = 10^8 steps are shorter than 2^-24 of a turn; the draws are as any others."""
    table = fd.solvers.DDPM().lower(fd.schedules.EDM(1e-6, 1e8), steps, prediction="x0")
    draws = BrownianDraws(Program(table, 1), Buffers(x=torch.zeros(1, 20_000)), fd.noise.keys(0, 1))
    for n in (1, table.noise_draws):
        draws.fill([0], [n])
        assert draws.z.mean().abs() < 5 / math.sqrt(20_000)
        assert (draws.z.square().mean() - 1).abs() < 5 * math.sqrt(2 / 20_000)


@pytest.mark.parametrize(
    ("table", "wanted"),
    [
        (fd.solvers.Euler(10.0).lower(fd.schedules.EDM(), 5), "draws that go down in noise, got"),
        (table_of("AnnealedLangevin"), "draws that go down in noise, got one at row 1 from"),
        (table_of("DDPM", None, grid=[1.0, 0.5, 0.5 - 1e-15, 0.1]), "levels further apart, got"),
    ],
    ids=["churn above the start", "the same level again", "too close"],
)
def test_what_has_no_path(table, wanted):
    with pytest.raises(ValueError, match=f'^noise: "brownian" needs {wanted}'):
        fd.SamplerState(table, start(), noise="brownian")


class NoTravel(torch.overrides.TorchFunctionMode):
    """Numbers of the host that an operation would have to wait for on a device: lists that index,
    tensors made on a device. "cpu" names the host, torch.device("cpu") the state's device here."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        indexes = name in ("__getitem__", "__setitem__") and isinstance(args[1], list)
        made = name == "tensor" and (kwargs or {}).get("device", "cpu") != "cpu"
        assert not indexes and not made, f"{name} of {args[1:]}"
        return function(*args, **(kwargs or {}))


def test_draws_do_not_wait_for_their_indices():
    """Samples that draw at different points, with the draw before kept; whatever the default
    device."""
    tables = [table_of("DPMppSDE", 7), table_of("DPMppSDE", 4), table_of("DDPM", 3)]
    state = fd.SamplerState(tables, start(), noise="brownian")
    with NoTravel(), torch.device("meta"):
        while not state.done:
            state.step(model(state.model_input, state.t))
    assert state.x.isfinite().all()
