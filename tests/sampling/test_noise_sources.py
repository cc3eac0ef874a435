"""Where the noise comes from: the kernel, torch's generators, a tensor, a callable."""

import dataclasses

import numpy as np
import pytest
import torch

import fastdiff as fd
from fastdiff.row import COLUMN
from tests.support.helpers import assert_within, same_bits
from tests.support.toy import SOLVERS, STOCHASTIC, TABLES, finish, model, start, table_of

stochastic = pytest.mark.parametrize("name", STOCHASTIC)


def with_previous_noise(table):
    """The table with c_zp = -c_z / 2 on the row after each that draws."""
    rows = table.rows.copy()
    for k in range(2, len(rows) - 1):
        rows[k, COLUMN["c_zp"]] = -rows[k - 1, COLUMN["c_z"]] / 2
        if rows[k, COLUMN["c_zp"]] and not rows[k, COLUMN["c_z"]]:
            rows[k, COLUMN["draw"]] = rows[k - 1, COLUMN["draw"]] + 1
    return dataclasses.replace(table, rows=rows, exact_on_point_mass="none")


def cancelling():
    """x + z, a row without noise, x - z_prev: the sample is x if z_prev is the z drawn before.
    Then a second draw is added and taken away by the row after it."""
    table = table_of("DDIM", 5)
    rows = table.rows.copy()
    rows[1:-1, [COLUMN["c_x"]]], rows[1:-1, COLUMN["c_o"]] = 1.0, 0.0
    for row, draw, name in ((1, 1, "c_z"), (3, 2, "c_zp"), (4, 2, "c_z"), (5, 3, "c_zp")):
        rows[row, COLUMN["draw"]] = draw
        rows[row, COLUMN[name]] = 1.0 if name == "c_z" else -1.0
    rows[2, COLUMN["draw"]] = 1
    return dataclasses.replace(table, rows=rows, exact_on_point_mass="none")


TABLES_WITH_PREVIOUS = {f"{name} z_prev": with_previous_noise(TABLES[name]) for name in STOCHASTIC}
NOISY = {name: TABLES[name] for name in STOCHASTIC} | TABLES_WITH_PREVIOUS
noisy = pytest.mark.parametrize("name", NOISY)


def philox_draws(table, keys, shape):
    return torch.stack([fd.noise.draw(keys, shape, n + 1) for n in range(table.noise_draws)])


@noisy
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_tensor_or_callable_of_the_same_draws(name, dtype):
    """The kernel's own noise, given by the caller: the same samples to the bit."""
    table, x, keys = NOISY[name], start(3, dtype=dtype), fd.noise.keys(5, 3)
    expected = fd.sample(model, x, table, seeds=5)
    drawn = philox_draws(table, keys, x.shape[1:])
    assert same_bits(fd.sample(model, x, table, noise=drawn), expected)
    assert same_bits(fd.sample(model, x, table, noise=drawn.to(dtype)), expected)
    asked = []

    def draw(n, shape):
        asked.append(n)
        assert shape == x.shape
        return drawn[n - 1]

    assert same_bits(fd.sample(model, x, table, noise=draw), expected)
    assert asked == list(range(1, table.noise_draws + 1))


@noisy
def test_torch_generators(name):
    """Draw for draw what a loop of torch.randn would use."""
    table, x = NOISY[name], start(3)
    torch.manual_seed(7)
    drawn = torch.stack([torch.randn(x.shape) for _ in range(table.noise_draws)])
    after = torch.random.get_rng_state()
    expected = fd.sample(model, x, table, noise=drawn)
    torch.manual_seed(7)
    assert same_bits(fd.sample(model, x, table, noise="torch"), expected)
    assert torch.equal(torch.random.get_rng_state(), after)
    generator = torch.Generator().manual_seed(7)
    assert same_bits(fd.sample(model, x, table, noise=generator), expected)
    each = [torch.Generator().manual_seed(b) for b in range(3)]
    drawn = torch.stack(
        [torch.cat([torch.randn(1, *x.shape[1:], generator=g) for g in each])
         for _ in range(table.noise_draws)]
    )  # fmt: skip
    each = [torch.Generator().manual_seed(b) for b in range(3)]
    expected = fd.sample(model, x, table, noise=drawn)
    assert same_bits(fd.sample(model, x, table, noise=each), expected)


@stochastic
def test_philox_takes_nothing_from_the_global_generator(name):
    before = torch.random.get_rng_state()
    fd.sample(model, start(), TABLES[name])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_ancestral_sampling_written_by_hand():
    """Algorithm 2 of DDPM in torch, with torch's generator, beside noise="torch"."""
    schedule = fd.schedules.DiscreteBetas.linear()
    times = np.array([999, 700, 300, 50, -1])
    table = fd.solvers.DDPM().lower(schedule, None, grid=times)
    x = start(2, dtype=torch.float64)
    torch.manual_seed(3)
    sample = fd.sample(model, x, table, noise="torch")
    torch.manual_seed(3)
    for t, s in zip(times[:-1], times[1:], strict=True):
        (a, b), (at, bt) = ((schedule.alpha(u), schedule.sigma(u)) for u in (s, t))
        out = model(x, torch.full((2,), float(t), dtype=torch.float64))
        x0 = (x - bt * out) / at
        beta = 1 - (at / a) ** 2
        mean = a * beta / bt**2 * x0 + at / a * b**2 / bt**2 * x
        x = mean + (b / bt * np.sqrt(beta) * torch.randn(x.shape, dtype=x.dtype) if b else 0)
    assert_within(sample, x, 1e-12)


def sources(keys, shape):
    yield "philox", "philox"
    yield "torch", "torch"
    yield "generator", torch.Generator().manual_seed(1)
    yield "generators", [torch.Generator().manual_seed(b) for b in range(len(keys))]
    drawn = torch.randn((9, *shape))
    yield "tensor", drawn
    yield "callable", lambda n, shape: drawn[n]


@pytest.mark.parametrize(
    "kind", ["philox", "torch", "generator", "generators", "tensor", "callable"]
)
@pytest.mark.parametrize("mixed", ["alone", "staggered", "beside another table"])
def test_previous_noise_is_what_was_drawn(kind, mixed):
    """A sample's z_prev is its own previous draw, whatever its neighbours draw meanwhile."""
    x = start(3)
    noise = dict(sources(fd.noise.keys(0, 3), x.shape))[kind]
    tables = [cancelling()] * 3
    if mixed == "beside another table":
        tables[1] = table_of(STOCHASTIC[0], 5)
    state = fd.SamplerState(tables, x, noise=noise)

    def zero(x, t):
        return torch.zeros_like(x)

    if mixed == "staggered":
        state.step(zero(state.model_input, state.t))
        state.step(zero(state.model_input, state.t))
        state.restart(1, x[1], seed=8)
    sample = finish(state, zero)
    for b in range(3):
        if tables[b] is not tables[1] or mixed != "beside another table":
            assert_within(sample[b], x[b], 1e-6, f"sample {b}")


@pytest.mark.parametrize("name", SOLVERS)
def test_a_refused_output_draws_nothing(name):
    """After an error the state is as it was, its noise included."""
    x = start(3)
    samples = []
    for spoil in (False, True):
        state = fd.SamplerState(TABLES[name], x, noise=torch.Generator().manual_seed(2))
        while not state.done:
            if spoil:
                with pytest.raises(ValueError, match="^out: expected"):
                    state.step(torch.zeros(2, 2))
            state.step(model(state.model_input, state.t))
        samples.append(state.x)
    assert same_bits(*samples)


@pytest.mark.parametrize(
    "noise",
    [
        "normal", None, 3, [], [torch.Generator()], [1, 2, 3], np.zeros((9, 3, 7, 5)),
        torch.zeros(3, 3, 7, 5), torch.zeros(9, 2, 7, 5), torch.zeros(()), torch.zeros(9, 105),
        lambda n, shape: torch.zeros(3), lambda n, shape: None,
    ],
)  # fmt: skip
def test_bad_sources(noise):
    table = table_of("DDPM", 5)
    with pytest.raises((ValueError, TypeError), match="^noise: expected .*got"):
        fd.sample(model, start(3), table, noise=noise)
