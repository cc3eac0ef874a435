"""Predictor-corrector samplers by score_sde's conventions, beside the published loop."""

from types import SimpleNamespace

import pytest
import torch

from fastdiff import processes, schedules
from fastdiff.integrations import score_sde as ours
from tests.integrations.score_sde_cases import (
    EPS,
    SDES,
    SHAPE,
    SNR,
    SUBVP,
    VE,
    VP,
    Model,
    N,
    close,
    identity,
    pc_sampler,
    published,
)

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
