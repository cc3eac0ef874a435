"""Guidances that adapt in the loop: against the formulas, diffusers and plain guidance."""

import copy
import pickle

import numpy as np
import pytest
import torch

import fastdiff as fd
from fastdiff.guidance import APG, CFG, TCFG, CFGZeroStar
from tests.sampling.guidance_formulas import (
    CONDITIONS,
    FORMULAS,
    SHIFT,
    assert_close,
    every_formula,
    mixed_by,
    outputs,
    projected,
    rescaled,
    zero_star,
)
from tests.support.helpers import same_bits
from tests.support.toy import SOLVERS, TABLES, model, start, table_of


@every_formula
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("solver", ["DDIM", "DPMpp2M", "DDPM", "Heun"])
def test_a_loop_with_the_formula(name, solver, dtype):
    guidance, formula = FORMULAS[name]
    table, scales = TABLES[solver], [2.0, 5.0, 0.5]
    s = torch.tensor(scales, dtype=torch.float64).reshape(-1, 1, 1)

    def by_hand(x, t, s):
        u, c = model(x, t, torch.zeros(3)), model(x, t, SHIFT)
        return formula(u.double(), c.double(), s)

    x = start(dtype=dtype)
    for scale, each in ((scales, s), (3.5, torch.full_like(s, 3.5))):
        sample = fd.sample(model, x, table, guidance=guidance(scale), **CONDITIONS)
        expected = fd.sample(lambda x, t, s=each: by_hand(x, t, s).to(dtype), x, table)
        assert_close(sample, expected, 1e-9 if dtype == torch.float64 else 1e-4)


def test_where_they_lead_back_to_plain_guidance():
    plain = fd.sample(model, start(), TABLES["DDIM"], guidance=CFG(3.0), **CONDITIONS)
    for guidance in (APG(3.0, eta=1.0), CFG(3.0, rescale=0.0), CFG(3.0, 1e-9)):
        sample = fd.sample(model, start(), TABLES["DDIM"], guidance=guidance, **CONDITIONS)
        assert_close(sample, plain, 1e-5)
    assert not CFG(3.0).data_dependent
    u, c = outputs(0)
    torch.testing.assert_close(mixed_by(TCFG(4.0), 0.5 * c, c), 0.5 * c + 4.0 * 0.5 * c)
    torch.testing.assert_close(mixed_by(CFGZeroStar(4.0, zero_steps=0), 0.5 * c, c), c)


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_takes_them(name):
    """Of eta 1 the projection is plain guidance, second mix and all."""
    expected = fd.sample(model, start(), TABLES[name], guidance=CFG([3.0, 1.0, 0.5]), **CONDITIONS)
    sample = fd.sample(
        model, start(), TABLES[name], guidance=APG([3.0, 1.0, 0.5], eta=1.0), **CONDITIONS
    )
    assert_close(sample, expected, 1e-4)


@every_formula
@pytest.mark.parametrize("noise", ["philox", "torch", "brownian", "generator"])
def test_sources_of_noise_and_backends(name, noise):
    guidance, samples = FORMULAS[name][0](2.5), []
    for backend in ("auto", "reference"):
        source = torch.Generator().manual_seed(3) if noise == "generator" else noise
        torch.manual_seed(3)
        with fd.backend(backend):
            samples.append(
                fd.sample(model, start(), TABLES["DDPM"], guidance=guidance, noise=source,
                          **CONDITIONS)
            )  # fmt: skip
    assert_close(samples[0], samples[1], 1e-5)


@every_formula
@pytest.mark.parametrize("shape", [(0, 7, 5), (3, 0)])
def test_nothing_to_mix(name, shape):
    shift = torch.zeros(shape[0])
    given = {"cond": {"shift": shift}, "uncond": {"shift": shift}}
    sample = fd.sample(
        model, torch.zeros(shape), TABLES["DDIM"], guidance=FORMULAS[name][0](2.0), **given
    )
    assert sample.shape == shape


def test_a_learned_variance():
    """Half of the channels are mixed and summed up, the others are the last output's variance."""
    solver = fd.solvers.DDPM(variance="learned_range")
    table = solver.lower(fd.schedules.DiscreteBetas.linear(), 5, prediction="eps")

    def learned(x, t, shift=SHIFT):
        return torch.cat([model(x, t, shift), torch.tanh(x)], 1)

    def by_hand(x, t):
        u, c = learned(x, t, torch.zeros(3)), learned(x, t)
        return torch.cat([projected(u[:, :2], c[:, :2], 3.0, 0.0, np.inf), c[:, 2:]], 1)

    x = start(3, (2, 4))
    sample = fd.sample(learned, x, table, guidance=APG(3.0), **CONDITIONS)
    assert_close(sample, fd.sample(by_hand, x, table), 1e-4)


@pytest.mark.parametrize("guidance", [CFG(1.0, 0.5), APG(1.0), TCFG(1.0), APG([1.0, 1.0, 1.0])])
def test_scale_one_is_conditional(guidance):
    sample = fd.sample(model, start(), TABLES["DDIM"], guidance=guidance, **CONDITIONS)
    assert same_bits(sample, fd.sample(model, start(), TABLES["DDIM"], cond={"shift": SHIFT}))
    u, c = outputs(1)
    torch.testing.assert_close(mixed_by(guidance, u, c), c)


def test_zero_steps():
    """The first outputs count for nothing, in each table of a batch from its own start."""
    tables = [table_of("Euler", steps) for steps in (3, 5, 5)]
    guidance, seen = CFGZeroStar(2.0, rescale=0.5, zero_steps=2), []

    def watched(x, t, shift):
        seen.append(len(x))
        return model(x, t, shift)

    sample = fd.sample(watched, start(), tables, guidance=guidance, **CONDITIONS)
    assert seen == [3, 3, 6, 6, 6]
    state = fd.SamplerState(tables, start())
    for k in range(5):
        u, c = (model(state.x, state.t, s) for s in (torch.zeros(3), SHIFT))
        mixed = rescaled(zero_star(u, c, 2.0), c, 0.5)
        state.step(torch.zeros_like(u) if k < 2 else mixed)
    assert_close(sample, state.x, 1e-4)
    assert not CFGZeroStar(1.0).is_conditional(3) and CFGZeroStar(1.0, zero_steps=0).is_conditional(
        3
    )


@every_formula
def test_an_interval(name):
    table = TABLES["DPMpp2M"]
    levels = np.sort(table.sigma[1:-1] / table.alpha[1:-1])
    guidance = FORMULAS[name][0]
    object.__setattr__(given := guidance(3.0), "interval", (levels[2], levels[-3]))
    seen = []

    def watched(x, t, shift):
        seen.append(len(x))
        return model(x, t, shift)

    fd.sample(watched, start(), table, guidance=given, **CONDITIONS)
    assert seen == [6 if levels[2] < v <= levels[-3] else 3 for v in levels[::-1]]


@every_formula
@pytest.mark.parametrize("solver", ["DDIM", "DDPM", "UniPC"])
def test_a_sample_does_not_depend_on_its_batch(name, solver):
    guidance = FORMULAS[name][0]
    tables = [table_of(solver, steps) for steps in (4, 9, 6)]
    together = fd.sample(model, start(), tables, guidance=guidance([2.0, 3.0, 4.0]), **CONDITIONS)
    for b, table in enumerate(tables):
        alone = fd.sample(
            model, start()[b : b + 1], table, seeds=b, guidance=guidance(2.0 + b),
            cond={"shift": SHIFT[b : b + 1]}, uncond={"shift": torch.zeros(1)},
        )  # fmt: skip
        assert same_bits(together[b : b + 1], alone)


def test_copies_restarts_and_states_that_take_over():
    guidance = APG([2.0, 3.0, 4.0], interval=(0.2, 50.0))
    table = TABLES["DPMpp2M"]
    states = [fd.SamplerState(table, start(), guidance=g) for g in (guidance, APG([5.0] * 3))]

    def run(state, steps):
        for _ in range(steps):
            both = torch.cat([torch.zeros(3), SHIFT])
            state.step(model(state.model_input, state.t, both))
        return state.x

    run(states[0], 2)
    copies = [copy.deepcopy(states[0]), pickle.loads(pickle.dumps(states[0]))]
    expected = run(states[0], states[0].remaining).clone()
    for copied in copies:
        assert same_bits(run(copied, copied.remaining), expected)
    assert states[0].structure() != states[1].structure()  # one has rows of weights
    fresh = fd.SamplerState(table, start(), guidance=APG([9.0] * 3, interval=(0.1, 0.2)))
    assert fresh.structure() == states[0].structure()
    assert (
        fresh.structure()
        != fd.SamplerState(
            table, start(), guidance=APG([9.0] * 3, interval=(0.1, 0.2), eta=0.5)
        ).structure()
    )
    fresh.take(fd.SamplerState(table, start(), guidance=guidance))
    assert same_bits(run(fresh, fresh.remaining), expected)


@pytest.mark.parametrize(
    "options", [{"norm": 2.0, "interval": (0.1, 60.0)}, {"momentum": -0.5}], ids=str
)
def test_a_sample_that_starts_anew_among_others(options):
    table, both = TABLES["DDPM"], torch.cat([torch.zeros(3), SHIFT])
    new = start(1, seed=7)
    guidance = {s: APG(s, **options) for s in (2.0, (3.0, 2.0, 4.0))}
    state = fd.SamplerState(table, start(), guidance=guidance[3.0, 2.0, 4.0])
    for k in range(table.nfe + 3):
        if k == 3:
            state.restart(1, new[0], seed=9)
        state.step(model(state.model_input, state.t, both))
    assert state.done
    whole = fd.sample(model, start(), table, guidance=guidance[3.0, 2.0, 4.0], **CONDITIONS)
    assert same_bits(state.x[::2], whole[::2])
    alone = fd.sample(
        model, new, table, seeds=9, guidance=guidance[2.0],
        cond={"shift": SHIFT[1:2]}, uncond={"shift": torch.zeros(1)},
    )  # fmt: skip
    assert same_bits(state.x[1:2], alone)


def test_outputs_apart_and_of_half_precision():
    u, c = outputs(3, (3, 16, 7), torch.float32)
    results = []
    for out in ([u, c], torch.cat([u, c])):
        for dtype in (torch.float32, torch.bfloat16):
            state = fd.SamplerState(
                TABLES["DDIM"], start(3, (16, 7)), guidance=APG(4.0, norm=3.0), model_dtype=dtype
            )
            state.step([v.to(dtype) for v in out] if isinstance(out, list) else out.to(dtype))
            results.append(state.x.clone())
    assert same_bits(results[0], results[2]) and same_bits(results[1], results[3])
    assert_close(results[1], results[0], 2e-2)


@pytest.mark.parametrize(
    "out",
    [
        torch.zeros(3, 7, 5),
        torch.zeros(6, 7, 4),
        torch.zeros(6, 7, 5, dtype=torch.int64),
        torch.zeros(6, 7, 5, dtype=torch.float64),
        [torch.zeros(3, 7, 5)],
        [torch.zeros(3, 7, 5)] * 3,
        [torch.zeros(3, 7, 5), torch.zeros(3, 7, 5, dtype=torch.bfloat16)],
        torch.zeros(6, 7, 5, device="meta"),
        None,
    ],
    ids=lambda out: str(getattr(out, "shape", type(out).__name__)),
)
def test_outputs_that_do_not_fit(out):
    """Are refused in the words of plain guidance, and cost nothing."""
    states = [fd.SamplerState(TABLES["DDIM"], start(), guidance=g) for g in (CFG(2.0), APG(2.0))]
    errors = []
    for state in states:
        before = state.x.clone()
        with pytest.raises((ValueError, TypeError)) as caught:
            state.step(out)
        errors.append(str(caught.value))
        assert torch.equal(state.x, before)
    assert errors[0] == errors[1] and "out" in errors[0]


def peer(name, scale):
    """diffusers' guider: (uncond, cond) -> mixed, and ours of the same settings."""
    guiders = pytest.importorskip("diffusers.guiders")
    if name == "rescale":
        guider = guiders.ClassifierFreeGuidance(scale, guidance_rescale=0.7)
        return guider, CFG(scale, 0.7)
    if name == "zero-star":
        guider = guiders.ClassifierFreeZeroStarGuidance(scale, zero_init_steps=1)
        return guider, CFGZeroStar(scale)
    if name == "apg":  # theirs adds all of the scale to c in the paper's form
        guider = guiders.AdaptiveProjectedGuidance(
            scale - 1, None, 2.5, eta=0.25, use_original_formulation=True
        )
        return guider, APG(scale, eta=0.25, norm=2.5)
    return guiders.TangentialClassifierFreeGuidance(scale), TCFG(scale)


@pytest.mark.parametrize("name", ["rescale", "zero-star", "apg", "tcfg"])
def test_a_loop_with_a_guider_of_diffusers(name):
    guider, guidance = peer(name, 4.5)
    table = TABLES["Euler"]
    x = start(3, (4, 8))
    sample = fd.sample(model, x, table, guidance=guidance, **CONDITIONS)
    state = fd.SamplerState(table, x)
    for k in range(table.nfe):
        guider.set_state(k, table.nfe, 0)
        u, c = (model(state.x, state.t, s) for s in (torch.zeros(3), SHIFT))
        state.step(guider.forward(c, u).pred)
    assert_close(sample, state.x, 1e-5)
