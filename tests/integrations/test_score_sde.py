"""score_sde's conventions: its loops restated from the paper's algorithm boxes (Song et al. 2021,
algorithms 2 to 5, appendices C to F) in float64, and Gaussian data in closed form."""

import inspect
import math
from types import SimpleNamespace

import pytest
import torch

from fastdiff import processes, schedules
from fastdiff.integrations import score_sde as ours

SHAPE = (3, 2, 4, 5)
N, EPS, SNR = 12, 1e-3, 0.2


def like_theirs(name, **attributes):
    """An object as score_sde makes them: what counts is the name of the class."""
    return type(name, (SimpleNamespace,), {})(T=1, **attributes)


VP = like_theirs("VPSDE", beta_0=0.1, beta_1=6.0, N=N)
SUBVP = like_theirs("subVPSDE", beta_0=0.1, beta_1=6.0, N=N)
VE = like_theirs("VESDE", sigma_min=0.05, sigma_max=8.0, N=N)
SDES = {"VP": VP, "subVP": SUBVP, "VE": VE}


def integral(sde, t):
    return sde.beta_0 * t + (sde.beta_1 - sde.beta_0) * t**2 / 2


def std(sde, t):
    """Of p(x_t | x_0), eq. 29."""
    if sde is VE:
        return sde.sigma_min * (sde.sigma_max / sde.sigma_min) ** t
    variance = 1 - math.exp(-integral(sde, t))
    return variance if sde is SUBVP else math.sqrt(variance)


def coefficients(sde, t):
    """(f / x, g^2) of the SDE, eqs. 30 to 32."""
    if sde is VE:
        return 0.0, 2 * std(sde, t) ** 2 * math.log(sde.sigma_max / sde.sigma_min)
    beta = sde.beta_0 + t * (sde.beta_1 - sde.beta_0)
    return -beta / 2, beta * (1 - math.exp(-2 * integral(sde, t)) if sde is SUBVP else 1)


def beta(sde, i):
    return (sde.beta_0 + (sde.beta_1 - sde.beta_0) * i / (sde.N - 1)) / sde.N


def level(sde, i):
    ratio = sde.sigma_max / sde.sigma_min
    return sde.sigma_min * ratio ** (i / (sde.N - 1)) if i >= 0 else 0.0


def score_fn(sde, model, continuous):
    """Appendix C: what a network's output is, and what it is told."""

    def score(x, t, i):
        labels = torch.full((len(x),), float(t * 999))
        if sde is VE:
            labels = torch.full((len(x),), std(sde, t) if continuous else sde.N - 1 - i)
            labels = labels if continuous else labels.long()
            return model(x.float(), labels).double()
        deviation = std(sde, t)
        if not continuous and sde is VP:
            labels = torch.full((len(x),), float(t * (sde.N - 1)))
            product = math.prod(1 - beta(sde, k) for k in range(i + 1))
            deviation = math.sqrt(1 - product)
        return -model(x.float(), labels).double() / deviation

    return score


def correct(sde, name, score, x, t, i, n_steps):
    """Algorithms 4 (VE) and 5 (VP) with norms averaged over the batch; "ald" with sigma(t)."""
    alpha = 1.0 if sde is VE else 1 - beta(sde, i)
    for _ in range(n_steps):
        grad, z = score(x, t, i), torch.randn(SHAPE).double()
        if name == "langevin":
            r = z.flatten(1).norm(dim=1).mean() / grad.flatten(1).norm(dim=1).mean()
        else:
            r = std(sde, t)
        a = 2 * alpha * (SNR * r) ** 2
        x = x + a * grad + (2 * a) ** 0.5 * z
    return x


def predict(sde, name, score, x, t, i, flow):
    """(x without noise, x) one step on. Eq. 47; algorithms 2 and 3; appendix F."""
    z, half = torch.randn(SHAPE).double(), 0.5 if flow else 1.0
    if name == "ancestral_sampling" and sde is VP:
        mean = (x + beta(sde, i) * score(x, t, i)) / math.sqrt(1 - beta(sde, i))
        return mean, mean + math.sqrt(beta(sde, i)) * z
    if sde is VE and name != "euler_maruyama":
        gap = level(sde, i) ** 2 - level(sde, i - 1) ** 2
        mean = x + gap * score(x, t, i) * half
        if name == "ancestral_sampling":
            return mean, mean + level(sde, i - 1) * math.sqrt(gap) / level(sde, i) * z
        return mean, mean + (0 if flow else math.sqrt(gap)) * z
    if name == "reverse_diffusion" and sde is VP:
        mean = (2 - math.sqrt(1 - beta(sde, i))) * x + beta(sde, i) * score(x, t, i) * half
        return mean, mean + (0 if flow else math.sqrt(beta(sde, i))) * z
    f, g2 = coefficients(sde, t)
    mean = x - (f * x - g2 * score(x, t, i) * half) / sde.N
    return mean, mean + (0 if flow else math.sqrt(g2 / sde.N)) * z


def published(sde, model, predictor, corrector, n_steps, flow, continuous, denoise):
    """Algorithm 1, with torch's default generator."""
    score = score_fn(sde, model, continuous)
    x = mean = (torch.randn(*SHAPE) * (sde.sigma_max if sde is VE else 1.0)).double()
    for k in range(sde.N):
        t, i = 1 + (EPS - 1) * k / (sde.N - 1), sde.N - 1 - k
        if corrector != "none":
            x = mean = correct(sde, corrector, score, x, t, i, n_steps)
        if predictor != "none":
            mean, x = predict(sde, predictor, score, x, t, i, flow)
    return mean if denoise and predictor != "none" else x


class Model(torch.nn.Module):
    """Near the score of N(0, 0.3), but not linear, and it tells its labels apart."""

    def __init__(self, sde, continuous=True):
        super().__init__()
        self.sde, self.continuous, self.labels = sde, continuous, []

    def forward(self, x, labels):
        assert x.dtype == torch.float32 and labels.shape == x.shape[:1] and not self.training
        assert labels.dtype == (
            torch.int64 if self.sde is VE and not self.continuous else torch.float32
        )
        self.labels.append(labels)
        labels = labels.float().reshape(-1, 1, 1, 1)
        if self.sde is not VE:
            return 0.8 * x + 0.1 * torch.sin(3 * x + labels)
        if not self.continuous:
            labels = self.sde.sigma_max * (self.sde.sigma_min / self.sde.sigma_max) ** (
                labels / (N - 1)
            )
        size = (0.3 + labels**2) ** 0.5
        return (0.1 * torch.cos(x / size) - x / size) / size


def identity(x):
    return x


def pc_sampler(sde, predictor, corrector, scaler=identity, n_steps=1, **options):
    return ours.get_pc_sampler(
        sde, SHAPE, predictor, corrector, scaler, SNR, n_steps, device="cpu", **options
    )


def close(mine, expected):
    error = (mine.double() - expected).abs().max() / max(1.0, float(expected.std()))
    assert error < 2e-5, float(error)


PAIRS = [
    ("reverse_diffusion", "langevin", 1),
    ("reverse_diffusion", "none", 1),
    ("ancestral_sampling", "langevin", 2),
    ("ancestral_sampling", "none", 1),
    ("euler_maruyama", "ald", 2),
    ("euler_maruyama", "none", 1),
    ("none", "langevin", 3),
    ("none", "ald", 1),
]


@pytest.mark.parametrize("denoise", [True, False])
@pytest.mark.parametrize("flow", [False, True])
@pytest.mark.parametrize("continuous", [True, False])
@pytest.mark.parametrize("family", SDES)
@pytest.mark.parametrize(("predictor", "corrector", "n_steps"), PAIRS)
def test_the_published_loop(family, predictor, corrector, n_steps, continuous, flow, denoise):
    """From the same seed, and the generator is left where score_sde leaves it."""
    sde = SDES[family]
    if predictor == "ancestral_sampling" and (flow or family == "subVP"):
        pytest.skip("refused")
    options = {"continuous": continuous, "denoise": denoise}
    sampler = pc_sampler(
        sde, predictor, corrector, lambda x: 2 * x, n_steps, probability_flow=flow, **options
    )
    model = Model(sde, continuous)
    torch.manual_seed(3)
    samples, nfe = sampler(model)
    after = torch.randn(3)
    torch.manual_seed(3)
    expected = published(
        sde, Model(sde, continuous).eval(), predictor, corrector, n_steps, flow, **options
    )
    assert torch.equal(after, torch.randn(3))
    assert samples.dtype == torch.float32 and nfe == N * (n_steps + 1)
    per_step = (predictor != "none") + (n_steps if corrector != "none" else 0)
    assert len(model.labels) == N * per_step
    close(samples / 2, expected)


def test_no_predictor_and_no_corrector():
    torch.manual_seed(0)
    samples, _ = pc_sampler(VE, None, None)(lambda x, labels: 1 / 0)
    torch.manual_seed(0)
    assert torch.equal(samples, torch.randn(*SHAPE) * VE.sigma_max)


@pytest.mark.parametrize("steps", [1, 2, 1000, 3000])
def test_every_step_of_the_chain_is_taken_once(steps):
    """In float32 t (N - 1) can fall short of its step."""
    own = ours.VESDE(0.01, 50.0, steps)
    times = torch.linspace(1, 1e-5, steps, dtype=torch.float64).tolist()
    assert [own.index(t) for t in times] == list(range(steps - 1, -1, -1))
    variances = [own.step(t)[1] for t in times]
    assert sum(variances) == pytest.approx(50.0**2 if steps > 1 else 0.01**2)


class EulerMaruyamaPredictor:
    pass


class MyReverse(type("ReverseDiffusionPredictor", (), {})):
    pass


class AnnealedLangevinDynamics:
    pass


def test_classes_instead_of_names():
    def run(predictor, corrector):
        torch.manual_seed(1)
        return pc_sampler(VP, predictor, corrector, continuous=True)(Model(VP))[0]

    assert torch.equal(run(MyReverse, None), run("reverse_diffusion", "none"))
    assert torch.equal(run(EulerMaruyamaPredictor, AnnealedLangevinDynamics),
                       run("Euler_Maruyama", "ALD"))  # fmt: skip


class Mine(MyReverse):
    def update_fn(self, x, t):
        return x, x


class OwnDrift(type(VE)):
    def sde(self, x, t):
        return x, t


class OwnMarginals(type(VP)):
    @staticmethod
    def marginal_prob(x, t):
        return x, t


def patched(sde):
    sde.discretize = lambda x, t: (x, t)
    return sde


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pc_sampler(VP, Mine, None), "predictor: .*ReverseDiffusionPredictor, got Mine"),
        (lambda: pc_sampler(VP, None, type("C", (AnnealedLangevinDynamics,), {"update_fn": Mine})),
         "corrector: .* got C with update_fn of its own"),
        (lambda: ours.sdes.read(OwnDrift(**vars(VE))), "sde: .*VESDE, got OwnDrift with sde of"),
        (lambda: ours.sdes.read(OwnMarginals(**vars(VP))), "OwnMarginals with marginal_prob of"),
        (lambda: ours.sdes.read(patched(type(VP)(**vars(VP)))), "discretize"),
    ],
)  # fmt: skip
def test_code_that_would_not_be_called_is_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_numbers_of_ones_own_are_read():
    class Short(type(VE)):
        N = 7

    assert ours.sdes.read(Short(sigma_min=0.05, sigma_max=8.0)).N == 7


def configuration(method, **sampling):
    return SimpleNamespace(
        device="cpu", training=SimpleNamespace(continuous=True),
        sampling=SimpleNamespace(method=method, noise_removal=True, **sampling),
    )  # fmt: skip


def test_samplers_of_a_configuration():
    options = {"predictor": "Reverse_Diffusion", "corrector": "langevin", "snr": SNR}
    config = configuration("PC", n_steps_each=2, probability_flow=False, **options)

    def run(sampler):
        torch.manual_seed(1)
        return sampler(Model(VE))[0]

    pc = pc_sampler(VE, "reverse_diffusion", "langevin", n_steps=2, continuous=True)
    assert torch.equal(run(ours.get_sampling_fn(config, VE, SHAPE, identity, EPS)), run(pc))
    ode = ours.get_ode_sampler(VE, SHAPE, identity, True, eps=EPS, device="cpu")
    mine = ours.get_sampling_fn(configuration("ode"), VE, SHAPE, identity, EPS)
    assert torch.equal(run(mine), run(ode))
    with pytest.raises(ValueError, match="method: expected .*, got 'sde'"):
        ours.get_sampling_fn(configuration("sde"), VE, SHAPE, identity, EPS)


@pytest.mark.parametrize(
    ("process", "same"),
    [
        (processes.VP(schedules.VPLinear(0.2, 6.0)), ours.VPSDE(0.2, 6.0)),
        (processes.SubVP(schedules.SubVP(0.2, 6.0)), ours.subVPSDE(0.2, 6.0)),
        (processes.VE(schedules.VE(0.02, 9.0)), ours.VESDE(0.02, 9.0)),
    ],
)
def test_processes_of_ours(process, same):
    assert ours.sdes.read(process) == same and same.N == 1000
    assert ours.sdes.read(same) is same and same.process == process


def test_own_sdes_are_theirs():
    assert ours.sdes.read(VP) == ours.VPSDE(0.1, 6.0, N)
    assert ours.sdes.read(SUBVP) == ours.subVPSDE(0.1, 6.0, N)
    assert ours.sdes.read(VE) == ours.VESDE(0.05, 8.0, N)
    assert ours.VPSDE(0.1, 6.0, N) != ours.subVPSDE(0.1, 6.0, N)


def test_the_prior_of_the_object():
    class VPSDE:
        T, N, beta_0, beta_1 = 1, 3, 0.1, 2.0

        def prior_sampling(self, shape):
            return torch.full(shape, 7.0)

    samples, _ = pc_sampler(VPSDE(), "none", "none")(identity)
    assert torch.equal(samples, torch.full(SHAPE, 7.0))


def test_samples_of_gaussian_data():
    """Song et al. 2021, section 4.2: the samples have the law of the data."""
    sde, c = ours.VPSDE(0.1, 10.0, 200), 0.3
    process = sde.process

    def model(x, labels):
        t = labels.reshape(-1, 1) / 999
        alpha, sigma = process.marginal(t)
        return sigma * x / (alpha**2 * c + sigma**2)

    sampler = ours.get_pc_sampler(
        sde, (20_000, 2), "reverse_diffusion", "langevin", identity, 0.1, continuous=True,
        device="cpu",
    )  # fmt: skip
    torch.manual_seed(0)
    samples, _ = sampler(model)
    assert float(samples.var()) == pytest.approx(c, rel=0.06)  # O(1 / N)
    assert abs(float(samples.mean())) < 5 * (c / 40_000) ** 0.5


DATA = 0.3  # the variance of Gaussian data


def gaussian(sde, size=DATA):
    """The model of N(0, size) data, continuous."""

    def model(x, labels):
        sigma = labels if sde is VE else labels / 999
        alpha = torch.ones_like(sigma)
        if sde is not VE:
            B = integral(sde, sigma)
            alpha, sigma = torch.exp(-B / 2), (-torch.expm1(-B)) ** (1 if sde is SUBVP else 0.5)
        alpha, sigma = (v.reshape(-1, *[1] * (x.dim() - 1)) for v in (alpha, sigma))
        score = -x / (alpha**2 * size + sigma**2)
        return score if sde is VE else -sigma * score

    return model


def variance(sde, t):
    """Of x_t."""
    alpha2 = 1.0 if sde is VE else math.exp(-integral(sde, t))
    return alpha2 * DATA + std(sde, t) ** 2


@pytest.mark.parametrize("denoise", [False, True])
@pytest.mark.parametrize("family", SDES)
def test_the_flow_of_gaussian_data(family, denoise):
    """x_eps = sqrt(v_eps / v_1) x_1; then one step of reverse diffusion without noise."""
    sde = SDES[family]
    sampler = ours.get_ode_sampler(
        sde, SHAPE, lambda x: 2 * x, denoise, 1e-7, 1e-7, eps=EPS, device="cpu"
    )
    torch.manual_seed(2)
    samples, nfe = sampler(gaussian(sde))
    after = torch.randn(3)
    torch.manual_seed(2)
    latent = torch.randn(*SHAPE) * (sde.sigma_max if sde is VE else 1.0)
    expected = (latent * math.sqrt(variance(sde, EPS) / variance(sde, 1.0))).double()
    if denoise:
        score = score_fn(sde, gaussian(sde), True)
        expected, _ = predict(sde, "reverse_diffusion", score, expected, EPS, 0, False)
    assert torch.equal(after, torch.randn(3))
    assert samples.dtype == torch.float32 and isinstance(nfe, int) and 20 < nfe < 1000
    close(samples / 2, expected)
    again, _ = sampler(gaussian(sde), latent)
    assert torch.equal(again, samples)


def test_tolerances_of_the_ode_sampler():
    latent = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)).double()
    expected = latent * math.sqrt(variance(VP, EPS) / variance(VP, 1.0))
    errors, counts = [], []
    for tolerance in (1e-2, 1e-4, 1e-6):
        sampler = ours.get_ode_sampler(
            VP, SHAPE, identity, rtol=tolerance, atol=tolerance, device="cpu"
        )
        samples, nfe = sampler(gaussian(VP), latent)
        errors.append(float((samples - expected).abs().max()))
        counts.append(nfe)
        assert errors[-1] < 10 * tolerance
    assert errors[0] > errors[1] > errors[2] and counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize("kind", ["Rademacher", "Gaussian"])
@pytest.mark.parametrize("family", SDES)
def test_likelihood_of_gaussian_data(family, kind):
    """log N(x_1; 0, prior) + sum log(v_1 / v_eps) / 2 is exact for Rademacher probes, since the
    Jacobian is diagonal; for the probe z it is weighted with z^2."""
    sde, eps = SDES[family], 1e-3
    data = DATA**0.5 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    fn = ours.get_likelihood_fn(sde, lambda x: (x + 1) / 2, kind, 1e-7, 1e-7, eps=eps)
    torch.manual_seed(4)
    bits, latent, nfe = fn(gaussian(sde), data)
    after = torch.randn(3)
    torch.manual_seed(4)
    probe = torch.randn_like(data) if kind == "Gaussian" else torch.randint_like(data, 0, 2) * 2 - 1
    assert torch.equal(after, torch.randn(3))
    ratio = variance(sde, 1.0) / variance(sde, eps)
    x = data * math.sqrt(ratio)
    close(latent, x.double())
    prior = torch.distributions.Normal(0.0, sde.sigma_max if sde is VE else 1.0)
    # the drift is linear in x: its divergence is the mean of z^2 times the exact one
    change = 0.5 * math.log(ratio) * probe.square().flatten(1).sum(1)
    log_prob = prior.log_prob(x).flatten(1).sum(1) + change
    expected = -log_prob / math.log(2) / data[0].numel() + 7
    torch.testing.assert_close(bits, expected, rtol=0, atol=2e-5)
    assert bits.shape == (3,) and bits.dtype == latent.dtype == torch.float32
    assert isinstance(nfe, int) and nfe > 20


def test_exact_likelihood_in_bits():
    """Unit-variance data stay what they are: -log2 N(x; 0, I) / D, and the width of a level."""
    data = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    density = torch.distributions.Normal(0.0, 1.0).log_prob(data).flatten(1).mean(1)
    for scaler, offset in [(lambda x: (x + 1) / 2, 7), (identity, 8)]:
        fn = ours.get_likelihood_fn(VP, scaler, rtol=1e-9, atol=1e-9, eps=1e-4)
        bits, latent, _ = fn(gaussian(VP, 1.0), data)
        torch.testing.assert_close(bits, -density / math.log(2) + offset, rtol=0, atol=1e-7)
        torch.testing.assert_close(latent, data, rtol=0, atol=1e-7)
        assert latent.dtype == torch.float64 and not latent.requires_grad


def test_there_and_back():
    """The sampler takes the latent of the likelihood to the data."""
    model, data = Model(SUBVP), 0.5 * torch.randn(SHAPE)
    tight = {"rtol": 1e-6, "atol": 1e-6, "eps": EPS}
    _, latent, _ = ours.get_likelihood_fn(SUBVP, identity, **tight)(model, data)
    sampler = ours.get_ode_sampler(SUBVP, SHAPE, identity, device="cpu", **tight)
    back, _ = sampler(model, latent)
    torch.testing.assert_close(back, data, rtol=0, atol=1e-4)


def test_signatures():
    expected = {
        "get_pc_sampler": "(sde, shape, predictor, corrector, inverse_scaler, snr, n_steps=1, "
        "probability_flow=False, continuous=False, denoise=True, eps=0.001, device='cuda')",
        "get_ode_sampler": "(sde, shape, inverse_scaler, denoise=False, rtol=1e-05, atol=1e-05, "
        "method='RK45', eps=0.001, device='cuda')",
        "get_sampling_fn": "(config, sde, shape, inverse_scaler, eps)",
        "get_likelihood_fn": "(sde, inverse_scaler, hutchinson_type='Rademacher', rtol=1e-05, "
        "atol=1e-05, method='RK45', eps=1e-05)",
    }
    for name, signature in expected.items():
        assert str(inspect.signature(getattr(ours, name))) == signature


def test_what_a_model_keeps_stays_as_it_was():
    kept, copies = [], []

    def model(x, labels):
        kept.extend([x, labels])
        copies.extend([x.clone(), labels.clone()])
        return gaussian(VP)(x, labels)

    pc_sampler(VP, "reverse_diffusion", "langevin", continuous=True)(model)
    ours.get_ode_sampler(VP, SHAPE, identity, True, device="cpu")(model)
    assert all(torch.equal(a, b) for a, b in zip(kept, copies, strict=True))


@pytest.mark.parametrize(
    ("error", "call", "message"),
    [
        (TypeError, lambda: pc_sampler("VPSDE", None, None), "sde: expected a VPSDE, subVPSDE or"),
        (TypeError, lambda: ours.sdes.read(processes.RectifiedFlow()), "sde: expected .*Rectified"),
        (TypeError, lambda: ours.sdes.read(like_theirs("VPSDE", N=3)), "attribute beta_0"),
        (
            ValueError,
            lambda: ours.sdes.read(like_theirs("VESDE", sigma_min=1, sigma_max=2, N=0)),
            "N must be an integer >= 1, got 0",
        ),
        (ValueError, lambda: ours.VPSDE(0.1, 20.0, 20), r"N must be > beta\(1\) = 20, got 20"),
        (ValueError, lambda: pc_sampler(VP, "euler", None), 'predictor: expected "euler_maruyama"'),
        (ValueError, lambda: pc_sampler(VP, None, int), 'corrector: expected "langevin"'),
        (
            ValueError,
            lambda: pc_sampler(SUBVP, "ancestral_sampling", None),
            "ancestral sampling is for VP and VE",
        ),
        (
            ValueError,
            lambda: pc_sampler(VP, "ancestral_sampling", None, probability_flow=True),
            "probability_flow: expected False",
        ),
        (ValueError, lambda: pc_sampler(VP, None, None, eps=0.0), r"eps: .*\(0, 1\), got 0.0"),
        (TypeError, lambda: pc_sampler(VP, None, None)(3), "model: expected a callable"),
        (
            ValueError,
            lambda: ours.get_ode_sampler(VP, SHAPE, identity, method="RK23"),
            "method: expected \"RK45\", got 'RK23'",
        ),
        (
            ValueError,
            lambda: ours.get_likelihood_fn(VP, identity, "Uniform"),
            'hutchinson_type: expected "Rademacher" or "Gaussian"',
        ),
    ],
)
def test_errors_name_the_argument(error, call, message):
    with pytest.raises(error, match=message):
        call()
