"""What some schedulers are called with that others are not, and what is said where there is no row
for it."""

import contextlib

import diffusers
import pytest
import torch

import fastdiff.integrations.diffusers as fused
from fastdiff.integrations.diffusers.schedulers import LEFT
from tests.integrations.test_by_hand import LOOPS, run, start
from tests.integrations.test_by_hand import pair as made
from tests.support.loops import loop, model_for
from tests.support.loops import start as start_of
from tests.support.twins import TOLERANCE, distance, pair

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Should have:UserWarning"),  # torchsde, of ends
]
SEEDED = {"noise_sampler_seed": 4}


def says(match):
    return pytest.warns(fused.StockStepWarning, match=match)


# --- CogVideoX: the caller keeps x0 -----------------------------------------------------------


def cogvideox(scheduler, change, steps=6, **options):
    """The loop of its pipelines; ``change`` (i, old x0, timestep before) says what is handed on."""
    model, x, old = model_for(scheduler), start_of(scheduler), None
    generator, states, t = torch.Generator().manual_seed(3), [], scheduler.timesteps
    for i in range(len(t)):
        before, back = change(i, old, t[i - 1] if i else None)
        out = model(x, t[i])
        x, old = scheduler.step(out, before, t[i], back, x, generator=generator, **options)
        states += [x, old]
    return states, generator.get_state()


def assert_alike(change, saying=None):
    stock, ours = pair("CogVideoXDPMScheduler", {}, 6)
    wanted, after = cogvideox(stock, change)
    with contextlib.nullcontext() if saying is None else saying:
        states, drawn = cogvideox(ours, change)
    assert torch.equal(after, drawn)
    assert max(map(distance, states, wanted)) <= TOLERANCE


def overwritten(i, old, back):
    return (None if old is None else old.mul_(0.9)), back


@pytest.mark.filterwarnings("error::fastdiff.integrations.diffusers.StockStepWarning")
@pytest.mark.parametrize(
    "change",
    [
        lambda i, old, back: (old, back),
        lambda i, old, back: (None if old is None else 0.9 * old, back),
        lambda i, old, back: (None if i % 3 == 0 else old, back),
        overwritten,
    ],
    ids=["as it was", "replaced", "forgotten", "overwritten"],
)
def test_x0_is_what_the_caller_says(change):
    assert_alike(change)


def test_another_timestep_before_is_left_to_the_stock_step():
    assert_alike(lambda i, old, back: (old, back and back + 7), says("do not follow"))


def test_steps_of_first_order_return_tuples():
    kinds = []
    for scheduler in pair("CogVideoXDPMScheduler", {}, 6):
        x, results, t = start_of(scheduler), [], scheduler.timesteps
        for i in range(len(t)):
            old = results[-1][1] if i else None
            back = t[i - 1] if i else None
            results.append(scheduler.step(x, old, t[i], back, x, return_dict=True))
        kinds.append([type(result) for result in results])
    assert kinds[0] == kinds[1] and kinds[0].count(tuple) == 2


# --- Helios -----------------------------------------------------------------------------------


def test_tables_that_are_not_the_schedulers():
    stock, ours = pair("HeliosDMDScheduler", {}, 4)
    x, t = start_of(stock), stock.timesteps
    results = []
    for scheduler, saying in ((stock, contextlib.nullcontext()), (ours, says("other sigmas"))):
        options = {
            "dmd_noisy_tensor": torch.ones_like(x),
            "dmd_sigmas": scheduler.sigmas.flip(0),
            "dmd_timesteps": scheduler.timesteps,
            "all_timesteps": scheduler.timesteps,
        }
        with saying:
            results.append(scheduler.step(x, t[1], x, cur_sampling_step=1, **options).prev_sample)
    assert torch.equal(*results)


def test_a_start_from_pure_noise_is_left_to_the_stock_corrector():
    stock, ours = pair("HeliosScheduler", {"stages": 1}, 5)
    x = start_of(stock)
    with says("sigma = 1"):
        mine, _ = loop(ours, x)
    theirs, _ = loop(stock, x)
    assert torch.equal(mine[-1].prev_sample, theirs[-1].prev_sample)


# --- noise ------------------------------------------------------------------------------------


def test_an_sde_backwards_has_no_rows():
    _, ours = pair("DPMSolverMultistepInverseScheduler", {"algorithm_type": "sde-dpmsolver++"}, 5)
    with says("times must decrease for the stochastic"):
        loop(ours, start_of(ours))


@pytest.mark.parametrize(
    ("name", "config"),
    [("DPMSolverSDEScheduler", SEEDED), ("CosineDPMSolverMultistepScheduler", {})],
)
def test_philox_instead_of_a_path(name, config):
    last = []
    for source in ("philox", "philox", "torch"):
        _, ours = pair(name, config, 6)
        ours.noise = source
        results, _ = loop(ours, start_of(ours))
        assert (ours.noise_sampler is None) == (source == "philox")
        last.append(results[-1].prev_sample)
    assert torch.equal(last[0], last[1])
    assert distance(last[0], last[2]) > 0.1


def test_each_sample_has_its_seed():
    last = []
    for seeds in ([4, 5], [4, 6]):
        _, ours = pair("DPMSolverSDEScheduler", {"noise_sampler_seed": seeds}, 6)
        ours.noise = "philox"
        last.append(loop(ours, start_of(ours))[0][-1].prev_sample)
    assert torch.equal(last[0][0], last[1][0])
    assert distance(last[0][1], last[1][1]) > 0.01


def test_noise_that_is_given_beside_philox_is_added():
    options = {"algorithm_type": "sde-dpmsolver++"}
    stock, ours = pair("DPMSolverMultistepScheduler", options, 5)
    ours.noise = "philox"
    x, z = start_of(stock), torch.ones_like(start_of(stock))
    with says("noise that is given"):
        mine, _ = loop(ours, x, variance_noise=z)
    assert torch.equal(mine[-1].prev_sample, loop(stock, x, variance_noise=z)[0][-1].prev_sample)


@pytest.mark.parametrize("name", [name for name in LOOPS if name != "RFD4ProteinaScheduler"])
def test_philox_by_hand(name):
    last = []
    for seed in (3, 3, 4):
        _, ours = made(name, {})
        ours.noise = "philox"
        last.append(run(name, ours, 5, seed=seed)[0][-1])
    assert torch.equal(last[0], last[1])
    assert distance(last[0], last[2]) > 1e-3 and torch.isfinite(last[2]).all()


# --- loops by hand ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("ScoreSdeVeScheduler", {"sigma_max": 4.0}),
        ("ScoreSdeVpScheduler", {}),
        ("KarrasVeScheduler", {"sigma_max": 2.0}),
        (
            "RFD4ProteinaScheduler",
            {
                "schedule_mode": "log",
                "noise_mode": "1/t",
                "tsr_k": 2.0,
                "tsr_sigma": 0.6,
                "tail_steps": 0,
            },
        ),
    ],
)
def test_dtypes_are_those_of_stock(name, config, dtype):
    (theirs, _), (mine, _) = (run(name, s, 5, dtype) for s in made(name, config))
    assert [value.dtype for value in mine] == [value.dtype for value in theirs]
    if dtype is torch.bfloat16:  # in float64 the stock steps still lose digits in float32 tables
        for value, wanted in zip(mine, theirs, strict=True):
            assert distance(value, wanted) <= 0.2 * max(1.0, float(wanted.std()))


def karras_step(scheduler, change):
    """One step, with ``change`` of (sample_hat, sample_prev, derivative) between its halves."""
    scheduler.set_timesteps(5)
    x, sigma, after = start(49.0), scheduler.schedule[4], scheduler.schedule[3]
    noise = torch.Generator().manual_seed(1)
    raised, hat = scheduler.add_noise_to_input(x, sigma, generator=noise)
    result = scheduler.step(0.1 * raised, hat, after, raised)
    tensors = change(raised, result.prev_sample, result.derivative)
    return scheduler.step_correct(0.2 * raised, hat, after, *tensors).prev_sample


@pytest.mark.parametrize(
    "change",
    [
        lambda hat, x, d: (hat, x, 0.5 * d),
        lambda hat, x, d: (0.5 * hat, x, d),
        lambda hat, x, d: (hat, x.mul_(2), d),
    ],
)
def test_a_corrector_of_something_else(change):
    stock, ours = made("KarrasVeScheduler", {"sigma_max": 7.0})
    with says("not those of the step before"):
        mine = karras_step(ours, change)
    assert distance(mine, karras_step(stock, change)) <= 49 * TOLERANCE


def test_gradients_by_hand():
    """Of a predictor and of a corrector they go through the stock step."""
    grads = []
    for scheduler in made("ScoreSdeVeScheduler", {"sigma_max": 4.0}):
        scheduler.set_timesteps(5)
        scheduler.set_sigmas(5)
        x = start(4.0).requires_grad_()
        generator = torch.Generator().manual_seed(3)
        with says("gradient") if grads else contextlib.nullcontext():
            y = scheduler.step_correct(-torch.sin(x), x, generator=generator).prev_sample
            t = scheduler.timesteps[0]
            result = scheduler.step_pred(-torch.sin(y), t, y, generator=generator)
        result.prev_sample.square().sum().backward()
        grads.append(x.grad)
    assert distance(*grads) <= TOLERANCE * float(grads[0].abs().max())


def test_gradients_beside_a_mask_are_left_to_the_stock_step():
    config = {"schedule_mode": "log", "noise_mode": "1/t", "tsr_k": 2.0, "tsr_sigma": 0.6}
    grads = []
    for scheduler in made("RFD4ProteinaScheduler", {**config, "tail_steps": 0}):
        scheduler.set_timesteps(5)
        x = start().flatten(1, 2).requires_grad_()
        mask = torch.arange(24).reshape(2, 12) % 4 != 3
        with says("gradient") if grads else contextlib.nullcontext():
            result = scheduler.step(x.sin(), scheduler.timesteps[0], x, mask)
        result.prev_sample.square().sum().backward()
        grads.append(x.grad)
    assert torch.equal(*grads)


def test_errors_are_those_of_stock():
    config = {"schedule_mode": "log", "noise_mode": "1/t", "tsr_k": 2.0, "tsr_sigma": 0.6}
    _, ours = made("RFD4ProteinaScheduler", {**config, "tail_steps": 0})
    x, mask = start().flatten(1, 2), torch.ones(2, 12, dtype=torch.bool)
    with pytest.raises(ValueError, match="Call set_timesteps"):
        ours.step(x, torch.tensor(0.1), x, mask)
    ours.set_timesteps(5)
    with pytest.raises(ValueError, match="one torch.Generator per batch row"):
        ours.step(x, ours.timesteps[0], x, mask, torch.Generator())
    with pytest.raises(ValueError, match="next element"):
        ours.step(x, ours.timesteps[1], x, mask)


# --- what has no rows -------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEFT)
def test_the_reason_is_told(name):
    scheduler = getattr(diffusers, name)
    scheduler = (
        scheduler(num_vec_classes=4)
        if name.startswith("VQ")
        else (scheduler(mask_token_id=0) if name.startswith("Amused") else scheduler())
    )
    lines = []
    assert fused.accelerate(scheduler, report=lines.append) is scheduler
    assert lines == [f"scheduler: left {name} as it is: {LEFT[name]}"]


def test_nothing_is_forgotten():
    """Every scheduler of diffusers has rows or a reason, and none has both."""
    names = set(fused.SCHEDULERS) | set(LEFT)
    known = {n for n in dir(diffusers) if n.endswith("Scheduler") and "Flax" not in n}
    assert not known - names and not set(fused.SCHEDULERS) & set(LEFT)
