"""Rows with more than a state and an output: learned variance, known data, CFG++, thresholds."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fastdiff as fd
from fastdiff.guidance import CFG
from fastdiff.solvers import DDIM, DDPM, DDIMCFGpp, DynamicThreshold, Inpaint, RePaint
from tests.support.helpers import same_bits
from tests.support.toy import TABLES, model, start, table_of

SCHEDULE = fd.schedules.DiscreteBetas.linear(1000)


class TwoHeads:
    """[eps, v]: the output of a model with a learned variance."""

    def __init__(self, v):
        self.v = v

    def __call__(self, x, t):
        return torch.cat([model(x, t), self.v.expand(x.shape).to(x)], dim=1)


@pytest.mark.parametrize("v", [-1.0, 0.0, 0.3, 1.0])
def test_learned_range_is_between_the_fixed_variances(v):
    """v = -1 is fixed_small, v = 1 fixed_large, between them the variances interpolate in log."""
    x, noise = start(dtype=torch.float64), torch.randn(3, 3, 7, 5, dtype=torch.float64)
    levels = {}
    for variance in ("fixed_small", "fixed_large", "learned_range"):
        table = DDPM(variance=variance).lower(SCHEDULE, 3)
        state = fd.SamplerState(table, x, noise=noise)
        out = model(state.model_input, state.t)
        mean = fd.SamplerState(table, x, noise=0 * noise)
        for s in (state, mean):
            s.step(torch.cat([out, torch.full_like(out, v)], 1) if "learned" in variance else out)
        levels[variance] = torch.log((state.x - mean.x) / noise[0])
    wanted = torch.lerp(levels["fixed_small"], levels["fixed_large"], (v + 1) / 2)
    assert torch.allclose(levels["learned_range"], wanted, atol=1e-9)


def test_learned_variance_against_diffusers():
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler(variance_type="learned_range", clip_sample=False)
    scheduler.set_timesteps(10)
    x, noise = start(shape=(3, 8, 8)), torch.randn(10, 3, 3, 8, 8)
    table = DDPM("learned_range").lower(SCHEDULE, 10, grid=fd.grids.Leading())
    heads = TwoHeads(torch.linspace(-1, 1, 8))
    ours, theirs = fd.SamplerState(table, x, noise=noise), x.clone()
    for k, t in enumerate(scheduler.timesteps):
        out = heads(theirs, t.expand(len(x)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor",
                          lambda *a, k=k, **kw: noise[k])  # fmt: skip
            theirs = scheduler.step(out, t, theirs).prev_sample
        ours.step(heads(ours.model_input, ours.t))
        assert (ours.x - theirs).abs().max() < 1e-5 * theirs.abs().max().clamp(min=1)


def test_learned_variance_under_guidance():
    """The outputs are mixed, the variance is the conditional one's."""
    x, v = start(), torch.linspace(-1, 1, 5)
    table = DDPM("learned_range").lower(SCHEDULE, 4)
    one = fd.SamplerState(table, x, seeds=1)
    two = fd.SamplerState(table, x, seeds=1, guidance=CFG(1.0))
    while not one.done:
        out = TwoHeads(v)(one.model_input, one.t)
        one.step(out)
        two.step(torch.cat([torch.full_like(out, 9.0), out]))
    assert same_bits(one.x, two.x)
    with pytest.raises(ValueError, match="^out: expected 14 channels"):
        fd.SamplerState(table, x).step(torch.zeros_like(x))


def run_known(solver, x, known, mask, steps=6, **options):
    table = solver.lower(fd.schedules.VPLinear(), steps)
    return fd.sample(model, x, table, known=known, mask=mask, **options)


@pytest.mark.parametrize("inner", [n for n in TABLES if n in ("DDIM", "DPMpp2M", "Heun", "UniPC")])
def test_inpaint(inner):
    """Known: the data themselves at the end. Nothing known: the inner solver. A sample does not see
    another's mask."""
    x, known = start(), start(seed=5)
    mask = (torch.arange(35).reshape(7, 5) % 2).float()
    solver = fd.solvers.get(inner)()
    sample = run_known(Inpaint(solver), x, known, mask)
    assert torch.equal(sample[:, mask == 1], known[:, mask == 1])
    plain = fd.sample(model, x, solver.lower(fd.schedules.VPLinear(), 6))
    free = run_known(Inpaint(solver), x, known, torch.zeros(1))
    assert torch.allclose(free, plain, atol=1e-6)
    alone = run_known(Inpaint(solver), x[1:2], known[1:2], mask, seeds=[1])
    assert same_bits(alone[0], sample[1])


@given(jump=st.integers(1, 4), jumps=st.integers(1, 4), steps=st.integers(1, 9))
def test_repaint_goes_back_and_forth(jump, jumps, steps):
    """The walk of the published algorithm, and the law of every level on the way."""
    table = RePaint(jump_length=jump, jumps=jumps).lower(fd.schedules.VPLinear(), steps)
    left = {k: jumps - 1 for k in range(0, steps - jump, jump)}
    walk, t = [], steps
    while t >= 1:  # evaluations from t to t - 1, and jumps back of `jump` levels
        t -= 1
        if left.get(t, 0) > 0:
            left[t] -= 1
            t += jump
        walk.append(t)
    grid = DDIM().lower(fd.schedules.VPLinear(), steps)
    landed = [steps - int(np.argmin(abs(grid.t[1:] - t))) for t in table.t[2:]]
    assert landed == walk
    assert table.exact_on_point_mass == "full"  # checked when it was made: alpha, sigma everywhere


def test_repaint_keeps_what_is_known():
    x, known, mask = start(), start(seed=5), (torch.arange(5) > 2).float()
    sample = run_known(RePaint(jump_length=2, jumps=3), x, known, mask, steps=8)
    assert torch.equal(sample[..., 3:], known[..., 3:])
    assert sample[..., :3].isfinite().all()


@pytest.mark.parametrize(
    ("table", "known", "mask", "message"),
    [
        ("DDIM", torch.zeros(3, 7, 5), None, "^known: expected None"),
        ("inpaint", None, torch.zeros(1), "^known: expected a tensor"),
        ("inpaint", torch.zeros(3, 7, 5), None, "^mask: expected a tensor"),
        ("inpaint", torch.zeros(4, 7, 5), torch.zeros(1), r"^known: expected .*\[3, 7, 5\]"),
        ("inpaint", torch.zeros(3, 7, 5), torch.full((1,), 1.5), "^mask: expected values between"),
    ],
)
def test_known_data_that_do_not_fit(table, known, mask, message):
    table = table_of("DDIM") if table == "DDIM" else Inpaint().lower(fd.schedules.VPLinear(), 3)
    with pytest.raises(ValueError, match=message):
        fd.SamplerState(table, start(), known=known, mask=mask)


def test_cfgpp():
    """x0 from the guided output, the noise put back from the unconditional one, also with clipping
    (which no single mix of the outputs could do)."""
    x, scale = start(dtype=torch.float64), 0.6
    table = DDIMCFGpp().lower(fd.schedules.VPLinear(), 6, clip=1.0)
    state = fd.SamplerState(table, x, guidance=CFG(scale))
    k = 0
    while not state.done:
        k += 1
        alpha, sigma, end, noise = (
            table.alpha[k],
            table.sigma[k],
            table.alpha[k + 1],
            table.sigma[k + 1],
        )
        before = state.x.clone()
        u, c = model(before, state.t[:3]), -0.3 * model(before, state.t[:3]) + 0.2
        x0 = ((before - sigma * torch.lerp(u, c, scale)) / alpha).clamp(-1, 1)
        state.step(torch.cat([u, c]))
        assert torch.allclose(state.x, end * x0 + noise * u, atol=1e-12)
    plain = DDIM().lower(fd.schedules.VPLinear(), 6)
    unguided = fd.sample(model, x, DDIMCFGpp().lower(fd.schedules.VPLinear(), 6))
    assert torch.allclose(unguided, fd.sample(model, x, plain), atol=1e-12)


def test_dynamic_threshold_against_diffusers():
    diffusers = pytest.importorskip("diffusers")
    options = {"thresholding": True, "dynamic_thresholding_ratio": 0.8, "sample_max_value": 1.7}
    scheduler = diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=True, **options)
    scheduler.set_timesteps(8)
    clip = DynamicThreshold(0.8, 1.7)
    table = DDIM(keep_eps=True).lower(SCHEDULE, 8, grid=fd.grids.Leading(), clip=clip)
    ours, theirs = fd.SamplerState(table, start(shape=(3, 8, 8))), start(shape=(3, 8, 8))
    for t in scheduler.timesteps:
        theirs = scheduler.step(model(theirs, t.expand(3)), t, theirs).prev_sample
        ours.step(model(ours.model_input, ours.t))
        assert (ours.x - theirs).abs().max() < 2e-5


def test_a_threshold_of_one_is_a_clip():
    """No quantile is computed where it could only be one."""
    schedule = fd.schedules.VPLinear()
    static = DDIM().lower(schedule, 4, clip=1.0)
    dynamic = DDIM().lower(schedule, 4, clip=DynamicThreshold(0.9, 1.0))
    assert np.array_equal(static.rows, dynamic.rows) and not dynamic.dynamic
    for quantile, highest in ((0.0, 2.0), (1.5, 2.0), (0.9, 0.5), (np.nan, 2.0)):
        with pytest.raises(ValueError, match="^(DynamicThreshold: )?(quantile|highest)"):
            DynamicThreshold(quantile, highest)
