"""k-diffusion's samplers and ours, side by side: samples, callbacks, model calls, noise."""

import inspect

import pytest
import torch

from fastdiff.integrations import k_diffusion as ours
from tests.integrations.kd_cases import (
    CASES,
    CHURN,
    NO_SINGLE_JUMP,
    PLAIN,
    SDE,
    STEPS,
    Seen,
    assert_alike,
    denoiser,
    every_case,
    every_name,
    grid,
    sample,
    start,
)


def test_every_sampler_is_here_with_its_signature(kd):
    names = {name for name in dir(kd) if name.startswith("sample_")}
    assert {name for name in dir(ours) if name.startswith("sample_")} == names
    assert {f"sample_{n}" for n, _ in CASES} | {"sample_dpm_fast", "sample_dpm_adaptive"} == names
    for name in names:
        mine, stock = (
            list(inspect.signature(getattr(m, name)).parameters.values()) for m in (ours, kd)
        )
        assert mine[: len(stock)] == stock, name
        more = {p.name: (p.kind, p.default) for p in mine[len(stock) :]}
        keyword = inspect.Parameter.KEYWORD_ONLY
        assert more.items() <= {"flow": (keyword, None), "final_denoise": (keyword, False)}.items()


@pytest.mark.covered(times=3)
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("kind", ["zero", "above", "img2img"])
@every_case
def test_same_samples(kd, name, options, kind, steps):
    sigmas = grid(kd, steps, kind)
    if name in NO_SINGLE_JUMP and kind != "above" and steps == 1:
        pytest.skip("stock raises UnboundLocalError")
    x = start(sigmas[0])
    given = "noise_sampler" in inspect.signature(getattr(kd, f"sample_{name}")).parameters
    assert_alike(*(sample(m, name, x, sigmas, given=given, **options) for m in (ours, kd)))


@pytest.mark.filterwarnings("ignore:Should have t[ab].=t[01]:UserWarning")  # stock's own rounding
@every_name
def test_same_default_noise_and_generator(kd, name):
    """Also where nothing is added, so that what is drawn afterwards is the same."""
    if name in SDE and not hasattr(kd.torchsde, "BrownianTree"):
        pytest.skip("torchsde is not installed")
    sigmas = grid(kd, 6)
    for options in [{}, CHURN] if name in ("euler", "heun", "dpm_2") else [{}]:
        mine = sample(ours, name, start(sigmas[0]), sigmas, **options)
        after = torch.randn(3)
        stock = sample(kd, name, start(sigmas[0]), sigmas, **options)
        assert torch.equal(after, torch.randn(3))
        # stock asks its tree at exp(log sigma), and the path between two float32 numbers is rough
        assert_alike(mine, stock, 1e-3 if name == "dpmpp_sde" else 1e-4)


@pytest.mark.parametrize("budget", [1, 2, 3, 5, 9, 20])
@pytest.mark.parametrize("options", [{}, {"eta": 1.0}, {"eta": 0.5, "s_noise": 1.1}], ids=str)
def test_fast(kd, options, budget):
    x = start(10.0)
    mine, stock = (
        sample(m, "dpm_fast", x, 0.1, 10.0, budget, given=True, **options) for m in (ours, kd)
    )
    assert_alike(mine, stock)
    assert len(mine[1].sigmas) == budget


ADAPTIVE = [
    {},
    {"order": 2, "rtol": 0.02},
    {"eta": 1.0, "s_noise": 1.1},
    {"pcoeff": 0.2, "icoeff": 0.6, "dcoeff": 0.1, "h_init": 0.8, "accept_safety": 0.9},
]


@pytest.fixture(params=[torch.float32, torch.float64], ids=str)
def default_dtype(request):
    """In which stock computes its times."""
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("options", ADAPTIVE, ids=str)
def test_adaptive(kd, default_dtype, options):
    """Also which steps it accepts. In float32 their sizes are rounded differences."""
    single = default_dtype == torch.float32
    x = start(10.0, default_dtype)
    mine, stock = (
        sample(m, "dpm_adaptive", x, 0.1, 10.0, given=True, return_info=True, **options)
        for m in (ours, kd)
    )
    assert mine[0][1] == stock[0][1]
    assert_alike(*((out[0], seen) for out, seen in (mine, stock)), 1e-3 if single else 1e-9)
    torch.testing.assert_close(mine[0][0], stock[0][0], rtol=0, atol=1e-4)
    if "h_init" in options:
        assert mine[0][1]["n_reject"] > 0


def test_adaptive_and_fast_draw_the_same(kd):
    for name, arguments in (("dpm_fast", (0.1, 10.0, 7)), ("dpm_adaptive", (0.1, 10.0))):
        mine, stock = (sample(m, name, start(10.0), *arguments, eta=1.0) for m in (ours, kd))
        assert_alike(mine, stock, tolerance=1e-3)


class Rounding(Seen):
    """Stands in for half precision where everything is float32."""

    def __init__(self, half):
        super().__init__()
        self.half = half

    def model(self, y, sigma, **extra):
        return super().model(y.to(self.half).float(), sigma, **extra).to(self.half).float()

    def noise(self, sigma, sigma_next):
        return super().noise(sigma, sigma_next).to(self.half).float()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@every_name
def test_half_precision(kd, name, dtype):
    """A model in half precision sees and returns it; what is between its calls is float32."""

    class Half(Seen):
        def model(self, y, sigma, **extra):
            out = super().model(y, sigma, **extra)
            assert out.dtype == dtype
            return denoiser(y.float(), exact_sigmas[len(self.sigmas) - 1], **extra).to(dtype)

    sigmas = grid(kd, 6)
    x = start(sigmas[0], dtype)
    given = "noise_sampler" in inspect.signature(getattr(kd, f"sample_{name}")).parameters
    stock, rounding = sample(kd, name, x.float(), sigmas, seen=Rounding(dtype), given=given)
    exact_sigmas = rounding.sigmas
    mine, seen = sample(ours, name, x, sigmas, seen=Half(dtype), given=given)
    assert mine.dtype == dtype and all(info["x"].dtype == dtype for info in seen.infos)
    assert (mine.float() - stock).abs().max() < 8 * torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_of_fast_and_adaptive(dtype):
    """Rounding decides on the steps of the adaptive one, to within twice its tolerance."""
    fine = max(4 * torch.finfo(dtype).eps, 1e-5)
    for name, arguments, bound in (
        ("dpm_fast", (0.1, 10.0, 7), fine),
        ("dpm_adaptive", (0.1, 10.0), 2 * 0.05),
    ):
        exact, _ = sample(ours, name, start(10.0, dtype).float(), *arguments)
        out, seen = sample(ours, name, start(10.0, dtype), *arguments)  # which checks the model's
        assert out.dtype == dtype and all(info["x"].dtype == dtype for info in seen.infos)
        assert (out.double() - exact).abs().max() < bound


def test_double_precision(kd):
    sigmas = grid(kd, 6).double()
    for name, _ in CASES:
        x = start(sigmas[0], torch.float64)
        given = "noise_sampler" in inspect.signature(getattr(kd, f"sample_{name}")).parameters
        mine, stock = (sample(m, name, x, sigmas, given=given) for m in (ours, kd))
        assert_alike(mine, stock, tolerance=1e-9 if name != "lms" else 1e-7)  # its quadrature


@pytest.mark.parametrize("name", PLAIN)
def test_towards_noise(kd, name):
    sigmas = grid(kd, 6, "above").flip(0)
    x = start(sigmas[0])
    assert_alike(*(sample(m, name, x, sigmas) for m in (ours, kd)), tolerance=1e-4)


def test_fast_towards_noise(kd):
    x = start(0.1)
    assert_alike(*(sample(m, "dpm_fast", x, 10.0, 0.1, 7) for m in (ours, kd)))


@pytest.mark.parametrize("name", NO_SINGLE_JUMP)
def test_a_single_jump_to_zero(name):
    sigmas = torch.tensor([3.0, 0.0])
    x = start(3.0)
    out, _ = sample(ours, name, x, sigmas)
    torch.testing.assert_close(out, denoiser(x, sigmas[:1].expand(2), 0.3))


@pytest.mark.parametrize("levels", [[], [3.0], [0.0]])
@every_name
def test_no_step(name, levels):
    x = start(3.0)
    out, seen = sample(ours, name, x, torch.tensor(levels))
    assert torch.equal(out, x) and not seen.sigmas


@every_name
def test_gradients_end_at_a_sampler(kd, name):
    """As in stock, which computes without gradients, whatever model and x say."""
    sigmas, weight = grid(kd, 3), torch.ones((), requires_grad=True)

    def model(y, sigma):
        with torch.enable_grad():
            return weight * denoiser(y, sigma)

    x = start(sigmas[0]).requires_grad_()
    torch.manual_seed(0)
    out = getattr(ours, f"sample_{name}")(model, x, sigmas, disable=True)
    assert not out.requires_grad and torch.isfinite(out).all()


class Wrapper(torch.nn.Module):
    """A model that keeps what it was given and returns the same memory every time."""

    def __init__(self):
        super().__init__()
        self.kept, self.copies = [], []

    def forward(self, y, sigma):
        self.kept += [y, sigma]
        self.copies += [y.clone(), sigma.clone()]
        out = denoiser(y, sigma)
        self.out = out if not self.copies[2:] else self.out.copy_(out)
        return self.out


@every_name
def test_what_a_model_keeps_stays_as_it_was(kd, name):
    sigmas, wrapper = grid(kd, 4), Wrapper()
    x = start(sigmas[0])
    before = x.clone()
    torch.manual_seed(5)
    out = getattr(ours, f"sample_{name}")(wrapper, x, sigmas, None, None, True)
    assert torch.equal(x, before)
    for kept, copy in zip(wrapper.kept, wrapper.copies, strict=True):
        assert torch.equal(kept, copy)
    torch.manual_seed(5)
    again = getattr(ours, f"sample_{name}")(denoiser, x, sigmas, disable=True)
    torch.testing.assert_close(out, again)


def test_progress(kd, monkeypatch):
    """``disable`` is tqdm's; None is for terminals only."""
    tqdm = pytest.importorskip("tqdm.auto")
    seen = []

    class Bar(ours.run.Quiet):
        def __init__(self, total, disable):
            seen.append([total, disable, 0])

        def update(self, n=1):
            seen[-1][2] += n

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    sigmas = grid(kd, 5)
    for disable in (None, False, True):
        ours.sample_heun(denoiser, start(10.0), sigmas, disable=disable)
    assert seen == [[5, None, 5], [5, False, 5]]
    ours.sample_dpm_adaptive(denoiser, start(10.0), 0.1, 10.0)
    assert seen[-1][0] is None and seen[-1][2] > 3


def test_edges_of_churn_are_compared_in_float32(kd):
    """Rounded to float32 0.7 gets smaller and 1.1 larger, and both are still inside."""
    sigmas = torch.tensor([2.0, 1.1, 0.7, 0.1, 0.0])
    options = {"s_churn": 1.0, "s_tmin": 0.7, "s_tmax": 1.1}
    mine, stock = (sample(m, "euler", start(2.0), sigmas, **options) for m in (ours, kd))
    assert_alike(mine, stock)
    raised = [float(i["sigma_hat"] / i["sigma"]) > 1.1 for i in mine[1].infos]
    assert raised == [False, True, True, False]


def test_tables_are_kept(kd):
    sigmas, table_of = grid(kd, 7), ours.run.table_of
    ours.sample_dpmpp_2m(denoiser, start(10.0), sigmas, disable=True)
    before = table_of.cache_info()
    ours.sample_dpmpp_2m(denoiser, start(10.0), sigmas.clone(), disable=True)
    after = table_of.cache_info()
    assert after.hits == before.hits + 1 and after.misses == before.misses
    ours.sample_dpmpp_2m(denoiser, start(10.0), 1.5 * sigmas, disable=True)
    assert table_of.cache_info().misses == before.misses + 1
