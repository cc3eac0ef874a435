"""Predictor-corrector sampling: the published loop, known variances, independence of samples."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import fastdiff as fd
from fastdiff import grids, schedules, solvers
from fastdiff.sampling import Langevin, predictor_corrector
from tests.support.helpers import assert_within, same_bits

VE = schedules.VE(0.01, 10.0)
VIEW = schedules.VarianceExploding(schedules.VPLinear())  # the model is fed alpha x
BETAS = schedules.DiscreteBetas.linear(40, 2.5e-3, 0.5)


def score(x, sigma):
    size = (0.3 + sigma**2) ** 0.5
    return (0.1 * torch.cos(x / size) - x / size) / size


def table_of(schedule, solver=None, steps=4, prediction="score", grid=None):
    solver = solver or solvers.ReverseDiffusion()
    return solver.lower(schedule, steps, prediction=prediction, grid=grid)


def start(batch=3, shape=(5, 4), dtype=torch.float64, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    return scale * torch.randn(batch, *shape, generator=generator, dtype=dtype)


def model_of(table, schedule, prediction="score"):
    """A smooth score, said as the table wants it."""

    def model(y, t):
        k = int(np.argmin(np.abs(table.model_t - float(t[0])))) + 1
        _, alpha, sigma, scale, _, a, b = table.levels[k]
        x = y / scale
        eps = -sigma * score(x, sigma)
        return a * (x - sigma * eps) / alpha + b * eps if a else b * eps

    return model


def published(table, x, z, snr, count, norm):
    """Algorithms 2 to 5 of Song et al. 2021: reverse diffusion with Langevin corrections."""
    own, correct = list(z[: table.noise_draws]), iter(z[table.noise_draws :])
    for k in range(1, table.nfe + 1):
        (alpha, sigma), (alpha_s, sigma_s) = table.levels[k : k + 2, 1:3]
        ratio = alpha / alpha_s
        for _ in range(count):
            grad, noise = score(x, sigma), next(correct)
            sizes = [v.flatten(1).norm(dim=1) for v in (grad, noise)]
            if norm == "batch":
                sizes = [s.mean() for s in sizes]
            r = sizes[1] / sizes[0] if norm != "level" else torch.tensor(sigma, dtype=x.dtype)
            a = (2 * ratio**2 * (snr * r) ** 2).reshape(-1, 1, 1)
            x = x + a * grad + (2 * a).sqrt() * noise
        variance = sigma**2 - (ratio * sigma_s) ** 2
        x = (2 - ratio) * x + variance * score(x, sigma)
        if k < table.nfe:
            x = x + np.sqrt(variance) * own.pop(0)
    return x


@pytest.mark.parametrize("norm", ["sample", "batch", "level"])
@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("prediction", ["score", "eps", "v", "x0"])
@pytest.mark.parametrize("schedule", [VE, BETAS, VIEW], ids=repr)
def test_the_published_loop(schedule, prediction, count, norm):
    table = table_of(schedule, prediction=prediction)
    x = start(scale=table.sigma[0])
    total = table.noise_draws + count * table.nfe
    z = start(total, (3, 5, 4))
    expected = published(table, x, z, 0.2, count, norm)
    sample = predictor_corrector(
        model_of(table, schedule, prediction), x, table, Langevin(0.2, count, norm), noise=z
    )
    assert_within(sample, expected, 1e-9 * float(expected.abs().max()))


def test_no_correction_is_plain_sampling():
    table = table_of(VE)
    model, x = model_of(table, VE), start(dtype=torch.float32, scale=10.0)
    plain = fd.sample(model, x, table, seeds=7)
    assert same_bits(predictor_corrector(model, x, table, Langevin(steps=0), seeds=7), plain)
    corrected = predictor_corrector(model, x, table, seeds=7)
    assert (corrected - plain).abs().max() > 1e-3


def test_a_sample_does_not_depend_on_its_batch():
    """Unless the norms are means over the batch, as published."""
    table = table_of(VE)
    model, x = model_of(table, VE), start(dtype=torch.float32, scale=10.0)

    def run(x, norm, seeds):
        return predictor_corrector(model, x, table, Langevin(norm=norm), seeds=seeds)

    for norm in ("sample", "level"):
        assert same_bits(run(x[1:2], norm, [5])[0], run(x, norm, [4, 5, 6])[1])
    assert not same_bits(run(x[1:2], "batch", [5])[0], run(x, "batch", [4, 5, 6])[1])


@pytest.mark.parametrize("r", [0.1, 0.3])
def test_one_correction_of_a_gaussian(r):
    """Of N(0, v) in many dimensions |z| / |score| = sqrt(v): v becomes v (1 + 4 r^4)."""
    table = table_of(VE, steps=1)
    v = table.sigma[1] ** 2 + 0.3
    seen = []

    def model(y, t):
        seen.append(float(y.double().var()))
        return -y / v

    x = fd.noise.normal(fd.noise.keys(3, 2), (500_000,)) * v**0.5
    predictor_corrector(model, x, table, Langevin(r, 1))
    before, after = seen
    sigma = np.sqrt(2 / 1e6)
    assert before / v == pytest.approx(1, abs=5 * sigma)
    assert after / v == pytest.approx(1 + 4 * r**4, abs=5 * sigma * (1 + 4 * r**4))


def test_second_stages_are_not_corrected():
    table = table_of(VE, solvers.Heun(), 3, grid=grids.Exponential())
    calls = []
    inner = model_of(table, VE)

    def model(y, t):
        calls.append(float(t[0]))
        return inner(y, t)

    predictor_corrector(model, start(scale=10.0), table, Langevin(steps=2))
    assert len(calls) == table.nfe + 2 * 3
    times = table.model_t
    assert calls == [t for k, t in enumerate(times) for _ in range(3 if k % 2 == 0 else 1)]


def test_a_score_of_zero_stays_finite():
    table = table_of(VE)
    sample = predictor_corrector(lambda y, t: 0 * y, start(), table)
    assert torch.isfinite(sample).all()


class NoSync(TorchDispatchMode):
    """Refuses what asks a device for a number, or copies one to it."""

    REFUSED = ("_local_scalar_dense", "nonzero", "is_nonzero", "lift_fresh", "scalar_tensor")

    def __init__(self):
        super().__init__()
        self.armed = False

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        assert not (self.armed and name in self.REFUSED), name
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("norm", ["sample", "batch", "level"])
def test_nothing_is_asked_of_the_device(norm):
    table = table_of(VE, steps=3)
    mode = NoSync()

    def model(y, t):
        mode.armed = True  # from the first evaluation on
        return -0.1 * y

    with mode:
        predictor_corrector(model, start(), table, Langevin(steps=2, norm=norm))
    assert mode.armed
    with pytest.raises(AssertionError, match="_local_scalar_dense"), mode:
        float(torch.ones(1).sum())


@pytest.mark.parametrize("noise", ["torch", "generator"])
def test_generators_are_asked_in_the_order_of_use(noise):
    """As in the loops of others: correction, then prediction."""
    table = table_of(VE)
    model, x = model_of(table, VE), start(scale=10.0)
    torch.manual_seed(3)
    generator = torch.Generator().manual_seed(3)
    source = "torch" if noise == "torch" else generator
    sample = predictor_corrector(model, x, table, Langevin(0.2), noise=source)
    same = torch.Generator().manual_seed(3)
    corrections, own = [], []
    for k in range(table.nfe):
        corrections.append(torch.randn(x.shape, generator=same, dtype=x.dtype))
        if k < table.noise_draws:
            own.append(torch.randn(x.shape, generator=same, dtype=x.dtype))
    z = torch.stack(own + corrections)
    assert_within(sample, published(table, x, z, 0.2, 1, "sample"), 1e-9)


@pytest.mark.parametrize("steps", [2, 5, 20])
def test_score_sde_ve_of_diffusers(steps):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.ScoreSdeVeScheduler(num_train_timesteps=steps, sigma_max=10.0, snr=0.17)
    scheduler.set_timesteps(steps)
    scheduler.set_sigmas(steps)
    levels = scheduler.discrete_sigmas = scheduler.discrete_sigmas.double()
    x = start(2, scale=10.0)
    generator = torch.Generator().manual_seed(1)
    state, given = x, []
    for i, t in enumerate(scheduler.timesteps):
        sigma = float(levels[steps - 1 - i])
        seed = generator.get_state()
        # its corrector draws in the default dtype
        given.append(torch.randn(x.shape, generator=generator).double())
        generator.set_state(seed)
        state = scheduler.step_correct(score(state, sigma), state, generator=generator).prev_sample
        seed = generator.get_state()
        given.append(torch.randn(x.shape, generator=generator, dtype=x.dtype))
        generator.set_state(seed)
        step = scheduler.step_pred(score(state, sigma), t, state, generator=generator)
        state = step.prev_sample
    grid = [*VE.t_of_lam(-np.log(levels.flip(0).numpy())).clip(0, 1), -np.inf]
    table = table_of(VE, steps=None, grid=grid)
    z = torch.stack(given[1:-1:2] + given[0::2])
    sample = predictor_corrector(model_of(table, VE), x, table, Langevin(0.17, 1, "batch"), noise=z)
    # it returns the mean of the last step
    assert_within(sample, step.prev_sample_mean, 1e-5)


def corrected(table, corrector=None, model=score, **options):
    return predictor_corrector(model, start(), table, corrector, **options)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: Langevin(0), ValueError, "Langevin: snr must be a number > 0, got 0"),
        (lambda t: Langevin(steps=-1), ValueError, "steps must be an integer >= 0, got -1"),
        (lambda t: Langevin(norm="max"), ValueError, "norm must be one of 'sample', 'batch'"),
        (lambda t: corrected(t, model=3), TypeError, "model: expected a callable, got int"),
        (lambda t: corrected([t]), TypeError, "table: expected one StepTable, got list"),
        (lambda t: corrected(t, 0.2), TypeError, "corrector: expected a Langevin, got float"),
        (lambda t: corrected(t, callback=1), TypeError, "callback: expected a callable"),
        (lambda t: corrected(t, noise=start(2)), ValueError, "noise: expected"),
        (lambda t: corrected(t, noise="brownian"), ValueError, "has no draws for corrections"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(table_of(VE))


def test_without_corrections_any_noise_will_do():
    table, x = table_of(VE), start()
    model = model_of(table, VE)
    sample = predictor_corrector(model, x, table, Langevin(steps=0), noise="brownian")
    assert same_bits(sample, fd.sample(model, x, table, noise="brownian"))


def test_numbers_of_numpy_are_numbers():
    assert repr(Langevin(np.float64(0.2), np.int64(3))) == repr(Langevin(0.2, 3))


def test_a_model_that_declares_another_prediction_is_refused():
    def model(y, t):
        return y

    model.prediction = "eps"
    with pytest.raises(ValueError, match="lowered for prediction='eps', as the model declares"):
        predictor_corrector(model, start(), table_of(VE))
