"""Adaptive projected guidance with momentum: the paper's loop, diffusers' guider, and the tensor
that is kept: of each sample alone, through copies, restarts and evaluations without guidance."""

import copy
import pickle

import numpy as np
import pytest
import torch

import fastdiff as fd
from fastdiff.guidance import APG
from tests.sampling.guidance_formulas import CONDITIONS, SHIFT, assert_close, over, rescaled
from tests.support.helpers import same_bits
from tests.support.toy import SOLVERS, TABLES, model, start, table_of

OPTIONS = [
    {"momentum": -0.5},
    {"momentum": -0.75, "eta": 0.3, "norm": 2.5},
    {"momentum": 0.25, "rescale": 0.7},
    {"momentum": -0.5, "eta": 1.0, "norm": 2.5, "from_uncond": True},
]


class Paper:
    """Algorithm 1 of Sadat et al. 2024, line by line, in float64."""

    def __init__(self, scale, momentum, eta=0.0, norm=np.inf, rescale=0.0, from_uncond=False):
        self.scale, self.momentum, self.eta, self.norm = scale, momentum, eta, norm
        self.rescale, self.from_uncond = rescale, from_uncond
        self.average = 0.0

    def __call__(self, u, c):
        u, c = u.double(), c.double()
        self.average = c - u + self.momentum * self.average
        d = self.average * (self.norm / over(self.average**2).sqrt()).clamp(max=1)
        unit = c / over(c * c).sqrt()
        parallel = over(d * unit) * unit
        update = d - parallel + self.eta * parallel
        if self.from_uncond:
            return u + self.scale * update
        mixed = c + (self.scale - 1) * update
        return rescaled(mixed, c, self.rescale) if self.rescale else mixed


def by_hand(table, x, formula):
    """The loop that asks for both outputs and mixes them outside of the step."""
    state = fd.SamplerState(table, x)
    while not state.done:
        given = state.model_input, state.t
        u, c = model(*given, torch.zeros(len(x))), model(*given, SHIFT[: len(x)])
        state.step(formula(u, c).to(x.dtype))
    return state.x


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("solver", ["DDIM", "DPMpp2M", "DDPM", "Heun"])
def test_the_loop_of_the_paper(solver, options, dtype):
    table, x = TABLES[solver], start(dtype=dtype)
    sample = fd.sample(model, x, table, guidance=APG(3.0, **options), **CONDITIONS)
    expected = by_hand(table, x, Paper(3.0, **options))
    assert_close(sample, expected, 1e-9 if dtype == torch.float64 else 1e-4)
    without = fd.sample(
        model, x, table, guidance=APG(3.0, **{**options, "momentum": 0.0}), **CONDITIONS
    )
    assert not torch.allclose(sample, without, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_takes_it(name):
    """Of eta 1 and without a norm, momentum 0 is plain guidance: here as a limit."""
    options = {"eta": 1.0}
    plain = fd.sample(model, start(), TABLES[name], guidance=APG(3.0, **options), **CONDITIONS)
    sample = fd.sample(
        model, start(), TABLES[name], guidance=APG(3.0, momentum=1e-9, **options), **CONDITIONS
    )
    assert_close(sample, plain, 1e-4)


@pytest.mark.parametrize("scale", [3.0, 4.5])
def test_a_loop_with_the_guider_of_diffusers(scale):
    guiders = pytest.importorskip("diffusers.guiders")
    guider = guiders.AdaptiveProjectedGuidance(
        scale - 1, -0.5, 2.5, eta=0.25, use_original_formulation=True
    )
    table, x = TABLES["Euler"], start(3, (4, 8))
    guidance = APG(scale, eta=0.25, norm=2.5, momentum=-0.5)
    sample = fd.sample(model, x, table, guidance=guidance, **CONDITIONS)
    steps = iter(range(table.nfe))

    def mixed(u, c):
        guider.set_state(next(steps), table.nfe, 0)
        if guider._step == 0:
            guider.momentum_buffer = guiders.adaptive_projected_guidance.MomentumBuffer(-0.5)
        return guider.forward(c, u).pred

    assert_close(sample, by_hand(table, x, mixed), 1e-5)


@pytest.mark.parametrize("solver", ["DDIM", "DDPM", "UniPC", "DDIMCFGpp"])
def test_a_sample_does_not_depend_on_its_batch(solver):
    tables = [table_of(solver, steps) for steps in (4, 9, 6)]

    def guidance(scale):
        return APG(scale, momentum=-0.5, interval=(0.05, 50))

    whole = fd.sample(model, start(), tables, guidance=guidance([2.0, 3.0, 4.0]), **CONDITIONS)
    for b, table in enumerate(tables):
        alone = fd.sample(
            model, start()[b : b + 1], table, seeds=b, guidance=guidance(2.0 + b),
            cond={"shift": SHIFT[b : b + 1]}, uncond={"shift": torch.zeros(1)},
        )  # fmt: skip
        assert same_bits(whole[b : b + 1], alone)


def run(state, steps):
    both = torch.cat([torch.zeros(3), SHIFT])
    for _ in range(steps):
        assert len(state.model_input) == len(state.t) == 6
        state.step(model(state.model_input, state.t, both))
    return state.x


def test_copies_and_states_that_take_over():
    table, guidance = TABLES["DPMpp2M"], APG([2.0, 3.0, 4.0], momentum=-0.5)
    state = fd.SamplerState(table, start(), guidance=guidance)
    run(state, 2)
    copies = [copy.deepcopy(state), pickle.loads(pickle.dumps(state))]
    taken = fd.SamplerState(table, start(), guidance=APG([9.0, 9.0, 9.0], momentum=-0.5))
    taken.take(copy.deepcopy(state))
    expected = run(state, state.remaining).clone()
    for copied in (*copies, taken):
        assert same_bits(run(copied, copied.remaining), expected)
    other = fd.SamplerState(table, start(), guidance=APG([9.0, 9.0, 9.0], momentum=-0.25))
    assert other.structure() != state.structure()


def test_evaluations_without_guidance_leave_it_as_it_is():
    table = TABLES["DPMpp2M"]
    levels = table.sigma[1:-1] / table.alpha[1:-1]
    interval = float(np.sort(levels)[0]), float(np.sort(levels)[-2])
    paper, level = Paper(3.0, -0.5), iter(levels)
    sample = fd.sample(
        model, start(), table, guidance=APG(3.0, momentum=-0.5, interval=interval), **CONDITIONS
    )

    def mixed(u, c):
        return paper(u, c) if interval[0] < next(level) <= interval[1] else c

    assert_close(sample, by_hand(table, start(), mixed), 1e-4)


@pytest.mark.parametrize(
    "out",
    [torch.zeros(3, 7, 5), torch.zeros(6, 7, 4), [torch.zeros(3, 7, 5)] * 3, None,
     [torch.zeros(3, 7, 5), torch.zeros(3, 7, 5, dtype=torch.bfloat16)]],
    ids=["few", "shape", "three", "None", "dtypes"],
)  # fmt: skip
def test_outputs_that_do_not_fit(out):
    """Are refused, and cost nothing."""
    guidance = APG(2.0, momentum=-0.5)
    states = [fd.SamplerState(TABLES["DDIM"], start(), guidance=guidance) for _ in range(2)]
    with pytest.raises(
        (TypeError, ValueError), match=r"^out: expected (2|a tensor|.*\[(3|6), 7, 5\] on)"
    ):
        states[0].step(out)
    for state in states:
        run(state, state.remaining)
    assert same_bits(states[0].x, states[1].x)


def test_half_precision_and_empty_batches():
    table, results = TABLES["DDIM"], []
    for dtype in (torch.float32, torch.bfloat16):
        state = fd.SamplerState(table, start(), guidance=APG(2.0, momentum=-0.5), model_dtype=dtype)
        both = torch.cat([torch.zeros(3), SHIFT])
        while not state.done:
            state.step(model(state.model_input.float(), state.t, both).to(dtype))
        results.append(state.x)
    assert_close(results[1], results[0], 5e-2)
    for shape in ((0, 7, 5), (3, 0)):
        given = {"shift": torch.zeros(shape[0])}
        sample = fd.sample(model, torch.zeros(shape), table, guidance=APG(2.0, momentum=-0.5),
                           cond=given, uncond=given)  # fmt: skip
        assert sample.shape == shape
    with pytest.raises(ValueError, match="without an interval, zero steps or momentum"):
        fd.guidance.mix(start(), start(), APG(2.0, momentum=-0.5))
