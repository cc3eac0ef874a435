"""k-diffusion's samplers and ours, side by side: samples, callbacks, model calls, noise."""

import inspect
import math

import pytest
import torch
from host.peers import k_diffusion_sampling

from fastdiff.integrations import k_diffusion as ours

SHAPE = (2, 3, 4, 5)
STEPS = (1, 2, 5, 20)
CHURN = {"s_churn": 8.0, "s_tmin": 0.5, "s_tmax": 5.0, "s_noise": 1.003}
CASES = [
    ("euler", [{}, CHURN, {"s_churn": 1e3}]),
    ("heun", [{}, CHURN]),
    ("dpm_2", [{}, CHURN]),
    ("euler_ancestral", [{}, {"eta": 0.0}, {"eta": 0.4, "s_noise": 0.9}]),
    ("dpm_2_ancestral", [{}, {"eta": 0.0}, {"eta": 0.4, "s_noise": 0.9}]),
    ("dpmpp_2s_ancestral", [{}, {"eta": 0.0}, {"eta": 0.4, "s_noise": 0.9}]),
    ("lms", [{}, {"order": 2}]),
    ("dpmpp_2m", [{}]),
    ("dpmpp_sde", [{}, {"eta": 0.0}, {"eta": 0.4, "s_noise": 0.9, "r": 0.3}]),
    ("dpmpp_2m_sde", [{}, {"eta": 0.0}, {"eta": 0.4, "s_noise": 0.9}, {"solver_type": "heun"}]),
    ("dpmpp_3m_sde", [{}, {"eta": 0.0}, {"eta": 0.4, "s_noise": 0.9}]),
]
SDE = ("dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde")
NO_SINGLE_JUMP = ("dpmpp_2m_sde", "dpmpp_3m_sde")  # stock raises UnboundLocalError
PLAIN = ["euler", "heun", "dpm_2", "lms", "dpmpp_2m"]  # no noise: from data to noise as well
every_case = pytest.mark.parametrize(
    ("name", "options"), [(n, o) for n, many in CASES for o in many], ids=str
)
every_name = pytest.mark.parametrize("name", [name for name, _ in CASES])


@pytest.fixture(scope="module")
def kd():
    return k_diffusion_sampling()


def denoiser(y, sigma, shift=0.0):
    """Of unit-variance data, but for something that is not linear."""
    sigma = sigma.reshape(-1, *[1] * (y.dim() - 1))
    size = (1 + sigma**2) ** 0.5
    return y / size**2 + 0.2 * torch.sin(2 * y / size + shift)


class Seen:
    """A model, a callback and a noise sampler that remember."""

    def __init__(self, dtype=torch.float32):
        self.sigmas, self.infos, self.asked = [], [], []
        self.generator, self.dtype = torch.Generator().manual_seed(3), dtype

    def model(self, y, sigma, **extra):
        assert y.dtype == sigma.dtype == self.dtype and sigma.shape == y.shape[:1]
        self.sigmas.append(sigma.clone())
        return denoiser(y, sigma, **extra)

    def callback(self, info):
        self.infos.append({k: v.clone() if hasattr(v, "clone") else v for k, v in info.items()})

    def noise(self, sigma, sigma_next):
        assert isinstance(sigma, torch.Tensor) and sigma.shape == sigma_next.shape == ()
        self.asked.append(torch.stack([sigma, sigma_next]))
        return torch.randn(SHAPE, generator=self.generator).to(self.dtype)


def sample(module, name, x, *arguments, seen=None, seed=5, **options):
    seen = seen or Seen(x.dtype)
    if seen.asked is not None and options.pop("given", False):
        options["noise_sampler"] = seen.noise
    torch.manual_seed(seed)
    out = getattr(module, f"sample_{name}")(
        seen.model, x, *arguments, extra_args={"shift": 0.3}, callback=seen.callback, disable=True,
        **options,
    )  # fmt: skip
    return out, seen


def assert_alike(mine, stock, tolerance=1e-4):
    (a, ours_seen), (b, stock_seen) = mine, stock
    assert a.dtype == b.dtype and a.shape == b.shape and a.std() > 0.1
    scale = max(1.0, float(b.double().std()))
    assert float((a - b).abs().max()) < tolerance * scale
    for kind in ("sigmas", "asked"):
        pair = getattr(ours_seen, kind), getattr(stock_seen, kind)
        assert len(pair[0]) == len(pair[1]), kind
        for one, other in zip(*pair, strict=True):
            torch.testing.assert_close(one, other, rtol=tolerance, atol=0)
    assert len(ours_seen.infos) == len(stock_seen.infos)
    for one, other in zip(ours_seen.infos, stock_seen.infos, strict=True):
        assert set(one) == set(other)
        for key, value in other.items():
            got = one[key]
            assert isinstance(got, type(value)) and getattr(got, "shape", 0) == getattr(
                value, "shape", 0
            )
            size = max(1.0, float(torch.as_tensor(value).double().std(correction=0)))
            torch.testing.assert_close(
                torch.as_tensor(got), torch.as_tensor(value), rtol=tolerance, atol=tolerance * size
            )


def grid(kd, steps, kind="zero"):
    """k-diffusion's Karras levels in float32: to zero, above it, and the end of a longer one."""
    if kind == "img2img":
        return kd.get_sigmas_karras(steps + 4, 0.1, 10.0)[4:]
    sigmas = kd.get_sigmas_karras(steps + (kind == "above"), 0.1, 10.0)
    return sigmas[:-1] if kind == "above" else sigmas


def start(sigma, dtype=torch.float32):
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (x * (1 + float(sigma) ** 2) ** 0.5).to(dtype)


def test_every_sampler_is_here_with_its_signature(kd):
    names = {name for name in dir(kd) if name.startswith("sample_")}
    assert {name for name in dir(ours) if name.startswith("sample_")} == names
    assert {f"sample_{n}" for n, _ in CASES} | {"sample_dpm_fast", "sample_dpm_adaptive"} == names
    for name in names:
        mine, stock = (inspect.signature(getattr(m, name)) for m in (ours, kd))
        assert mine == stock, name


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


class TestBrownianNoise:
    """The default of the SDE samplers where torchsde is not installed."""

    def noise(self, batch=20_000, seed=0, shape=(1,)):
        return ours.noise.PathNoise(torch.zeros(batch, *shape), 10.0, seed)

    def test_increments_of_one_path(self):
        noise = self.noise()
        points = [(10.0, 4.0), (10.0, 1.0), (4.0, 1.0), (1.0, 0.002)]
        z = torch.stack([noise(a, b).flatten() for a, b in points])
        expected = torch.eye(4)
        expected[0, 1] = expected[1, 0] = math.sqrt(6 / 9)
        expected[1, 2] = expected[2, 1] = math.sqrt(3 / 9)
        assert (z.cov() - expected).abs().max() < 5 * math.sqrt(2 / 20_000)
        whole = (math.sqrt(6) * z[0] + math.sqrt(3) * z[2]) / 3
        torch.testing.assert_close(z[1], whole, rtol=0, atol=1e-6)

    def test_depends_on_the_seed_and_the_sample_alone(self):
        many = self.noise(5, 7, (3, 4))(6.0, 2.0)
        other = self.noise(2, 8, (3, 4))
        other(10.0, 9.0), other(2.0, 1.0)
        assert torch.equal(other(6.0, 2.0), many[1:3])

    def test_more_steps_refine_the_same_samples(self, kd, monkeypatch):
        monkeypatch.setattr(ours.noise.importlib.util, "find_spec", lambda name: None)
        for name in SDE:
            one, same, other = (
                sample(ours, name, start(10.0), grid(kd, n), seed=seed)[0]
                for n, seed in ((80, 5), (320, 5), (320, 6))
            )
            assert (one - same).std() < 0.2 * (other - same).std()


def test_torchsde_is_used_where_it_is(monkeypatch):
    """With the calls that k-diffusion makes: the whole interval, a seed, increasing times."""
    made = []

    class Tree:
        def __init__(self, t0, w0, t1, entropy):
            made.append((t0, w0, t1, entropy))

        def __call__(self, start, end):
            made.append((start, end))
            return torch.full(SHAPE, (end - start) ** 0.5)

    module = type("torchsde", (), {"BrownianTree": Tree})
    noise = ours.noise
    monkeypatch.setattr(noise.importlib.util, "find_spec", lambda name: name == "torchsde")
    monkeypatch.setattr(noise.importlib, "import_module", lambda name: module)
    torch.manual_seed(1)
    sampler = noise.brownian(start(1.0), 0.5, 10.0)
    torch.manual_seed(1)
    seed = int(torch.randint(0, 2**63 - 1, []))
    torch.testing.assert_close(sampler(4.0, 2.0), torch.full(SHAPE, -1.0))
    (t0, w0, t1, entropy), call = made
    assert (t0, t1, entropy, call) == (0.5, 10.0, seed, (2.0, 4.0))
    assert w0.shape == SHAPE and not w0.any()


SIGMAS = torch.tensor([10.0, 1.0, 0.0])
X = torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("error", "call", "message"),
    [
        (TypeError, lambda: ours.sample_euler(None, X, SIGMAS), "model: expected a callable"),
        (TypeError, lambda: ours.sample_lms(denoiser, [1.0], SIGMAS), "x: expected a floating"),
        (TypeError, lambda: ours.sample_heun(denoiser, X.long(), SIGMAS), "x: .*int64"),
        (TypeError, lambda: ours.sample_lms(denoiser, X, SIGMAS, callback=3), "callback: expec"),
        (TypeError, lambda: ours.sample_lms(denoiser, X, [1.0, 0.0]), "sigmas: .*tensor"),
        (TypeError, lambda: ours.sample_lms(denoiser, X, SIGMAS[None]), r"sigmas: .*\[1, 3\]"),
        (ValueError, lambda: ours.sample_lms(denoiser, X, -SIGMAS), r"sigmas: .*sigmas\[0\] = -10"),
        (ValueError, lambda: ours.sample_lms(denoiser, X, SIGMAS[[0, 0, 1]]), r"sigmas\[1\] = 10 "),
        (ValueError, lambda: ours.sample_lms(denoiser, X, SIGMAS[[0, 2, 1]]), r"sigmas\[1\] = 0 "),
        (ValueError, lambda: ours.sample_lms(denoiser, X, SIGMAS[[1, 0, 2]]), r"sigmas\[2\] = 0 "),
        (ValueError, lambda: ours.sample_lms(denoiser, X, SIGMAS * torch.nan), r"\[0\] = nan"),
        (
            ValueError,
            lambda: ours.sample_euler_ancestral(denoiser, X, SIGMAS[[1, 0]]),
            "sigmas: expected to decrease for EulerAncestral",
        ),
        (ValueError, lambda: ours.sample_lms(denoiser, X, SIGMAS, order=5), "order must be 1, 2"),
        (
            ValueError,
            lambda: ours.sample_dpmpp_2m_sde(denoiser, X, SIGMAS, solver_type="euler"),
            "solver_type: expected .* got 'euler'",
        ),
        (
            ValueError,
            lambda: ours.sample_euler_ancestral(denoiser, X, SIGMAS, eta=2.0),
            r"eta must be a number in \[0, 1\], got 2.0",
        ),
        (
            ValueError,
            lambda: ours.sample_euler_ancestral(
                denoiser, X, SIGMAS, noise_sampler=lambda a, b: torch.zeros(3)
            ),
            r"noise: expected a tensor \[2, 3\], got \[3\]",
        ),
        (ValueError, lambda: ours.sample_dpm_fast(denoiser, X, 0.0, 1.0, 5), "sigma_min: expected"),
        (ValueError, lambda: ours.sample_dpm_fast(denoiser, X, 1.0, 1.0, 5), "sigma_min: expected"),
        (ValueError, lambda: ours.sample_dpm_fast(denoiser, X, 0.1, 1.0, 0), "n: expected an int"),
        (ValueError, lambda: ours.sample_dpm_adaptive(denoiser, X, 2.0, 1.0), "sigma_min: .*less"),
        (ValueError, lambda: ours.sample_dpm_adaptive(denoiser, X, 0.1, 1, order=4), "order: exp"),
        (
            ValueError,
            lambda: ours.sample_euler(lambda y, s: y[:1], X, SIGMAS),
            r"out: expected",
        ),
    ],
)  # fmt: skip
def test_errors_name_the_argument(error, call, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("get_sigmas_karras", (10, 0.1, 12.0)),
        ("get_sigmas_karras", (1, 0.1, 12.0, 5)),
        ("get_sigmas_exponential", (10, 0.1, 12.0)),
        ("get_sigmas_polyexponential", (10, 0.1, 12.0, 2.0)),
        ("get_sigmas_vp", (10,)),
        ("get_sigmas_vp", (5, 12.0, 0.2, 0.1)),
    ],
)
def test_noise_levels(kd, name, arguments):
    mine, theirs = (getattr(module, name)(*arguments) for module in (ours, kd))
    assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
    # theirs are differences of float32 numbers near 1
    torch.testing.assert_close(mine, theirs, rtol=3e-4 if name.endswith("vp") else 1e-6, atol=0)
    signatures = [inspect.signature(getattr(module, name)) for module in (ours, kd)]
    assert signatures[0] == signatures[1]


def test_small_functions(kd):
    x, denoised = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([2.0, 3.0])
    assert torch.equal(ours.to_d(x, sigma, denoised), kd.to_d(x, sigma, denoised))
    assert torch.equal(ours.append_zero(sigma), kd.append_zero(sigma))
    for levels in ((3.0, 1.0), tuple(torch.tensor([3.0, 1.0]))):
        for eta in (0.0, 0.5, 1.0):
            pairs = zip(ours.get_ancestral_step(*levels, eta), kd.get_ancestral_step(*levels, eta),
                        strict=True)  # fmt: skip
            for mine, theirs in pairs:
                assert float(mine) == pytest.approx(float(theirs), rel=1e-6)


@pytest.mark.parametrize(
    "options",
    [{"seed": 3}, {"seed": [3, 4]}, {"transform": torch.log1p}],
    ids=["one seed", "one each", "transform"],
)
def test_the_brownian_sampler(kd, options):
    if not hasattr(kd.torchsde, "BrownianTree"):
        pytest.skip("torchsde is not installed")
    x, ends = torch.zeros(2, 3, 4), torch.tensor([0.05, 12.0])
    samplers = []
    for module in (ours, kd):
        torch.manual_seed(0)
        samplers.append(module.BrownianTreeNoiseSampler(x, *ends, **options))
    for sigma, after in torch.tensor([[10.0, 5.0], [5.0, 1.0], [1.0, 5.0]]):
        mine, theirs = (sampler(sigma, after) for sampler in samplers)
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_log_likelihood_of_gaussian_data():
    """Unit-variance data: the flow stretches all directions alike, so that one probe is exact."""
    low, high, x = 0.1, 20.0, torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(0))
    found, info = ours.log_likelihood(
        lambda y, s, shift=0.0: y / (1 + s.reshape(-1, 1, 1) ** 2) + shift, x, low, high,
        {"shift": 0.0}, atol=1e-6, rtol=1e-6,
    )  # fmt: skip
    stretch = (1 + high**2) / (1 + low**2)
    prior = torch.distributions.Normal(0, high).log_prob(x * stretch**0.5).flatten(1).sum(1)
    torch.testing.assert_close(found, prior + 10 * math.log(stretch) / 2, rtol=1e-4, atol=1e-3)
    assert info["fevals"] > 0


@every_name
def test_models_in_double(kd, name):
    sigmas = grid(kd, 4)
    x = start(sigmas[0])
    outs = []
    for model in (denoiser, lambda y, s: denoiser(y, s).double()):
        torch.manual_seed(5)
        outs.append(getattr(ours, f"sample_{name}")(model, x, sigmas, disable=True))
    assert torch.equal(*outs)
