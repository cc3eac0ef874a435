"""Predictor-corrector and ODE samplers with the conventions of score_sde."""

import numpy as np
import torch

from ... import sample
from ...arguments import choice, flag, function, number, sizes
from ...sampling import RK45, predictor_corrector, sample_adaptive
from . import sdes
from .models import start, with_labels
from .predictors import CORRECTORS, PREDICTORS, Corrector, Draws, Predictor, name_of


def get_pc_sampler(
    sde, shape, predictor, corrector, inverse_scaler, snr, n_steps=1, probability_flow=False,
    continuous=False, denoise=True, eps=1e-3, device="cuda",
):  # fmt: skip
    """A predictor-corrector sampler. Song et al. 2021, algorithms 1 to 5.

    Args:
        sde: see the package.
        shape: of the samples, [B, ...].
        predictor, corrector: a name, a class of score_sde, or None.
        inverse_scaler: applied to the samples.
        snr: the signal-to-noise ratio of the corrections.
        n_steps: corrections per step.
        probability_flow: predict with the ODE.
        continuous: the model was trained on continuous t (a sub-VP model always is).
        denoise: without the noise of the last step.
        eps: the time of the last evaluation, in (0, 1).
        device: where to sample.

    Returns:
        pc_sampler(model) -> (samples float32, N (n_steps + 1), the number of evaluations if there
        are both a predictor and a corrector).

    Raises:
        TypeError, ValueError: an argument is not as described.
    """
    own, shape = sdes.read(sde), sizes("shape", shape)
    function("inverse_scaler", inverse_scaler)
    options = {"probability_flow": probability_flow, "continuous": continuous, "denoise": denoise}
    for name, value in options.items():
        flag(name, value)
    predicts = name_of("predictor", predictor, PREDICTORS)
    corrects = name_of("corrector", corrector, CORRECTORS)
    if predicts == "ancestral_sampling":
        own.ancestral_variance(1.0)
        if probability_flow:
            raise ValueError("probability_flow: expected False for ancestral sampling, got True")
    solver = Predictor(
        eta=0.0 if probability_flow else 1.0, denoise=denoise, sde=own, name=predicts
    )
    grid = np.append(np.linspace(1, check_eps(eps), own.N), 0.0)
    table = solver.lower(own.schedule(continuous), None, prediction=own.prediction, grid=grid)
    corrector = Corrector.of(corrects, snr, n_steps, own, table)
    whole = own.prediction == "score" and not continuous

    def pc_sampler(model):
        """Samples, and the number of evaluations as score_sde counts them."""
        net = with_labels(model, whole)
        with torch.no_grad():
            x = start(sde, own, shape, device)
            draws = Draws(x.device, corrector.steps, predicts != "none", table.noise_draws)
            x = predictor_corrector(net, x, table, corrector, noise=draws)
            draws.up_to(own.N * draws.period - 1, x.shape)  # the last may be of no use
            return inverse_scaler(x), own.N * (n_steps + 1)

    return pc_sampler


def get_ode_sampler(
    sde, shape, inverse_scaler, denoise=False, rtol=1e-5, atol=1e-5, method="RK45", eps=1e-3,
    device="cuda",
):  # fmt: skip
    """A sampler of the probability flow. Song et al. 2021, section 4.3, appendix D.

    Args:
        sde, shape, inverse_scaler, eps, device: see ``get_pc_sampler``; the model is continuous.
        denoise: end with a step of reverse diffusion without its noise.
        rtol, atol: tolerances, see ``fastdiff.sampling.RK45``.
        method: "RK45".

    Returns:
        ode_sampler(model, z=None) -> (samples, evaluations of the slowest sample); ``z`` is a
        latent [B, ...] instead of a draw.

    Raises:
        TypeError, ValueError: an argument is not as described.
    """
    own, shape = sdes.read(sde), sizes("shape", shape)
    function("inverse_scaler", inverse_scaler)
    flag("denoise", denoise)
    schedule, solver, eps = own.schedule(True), rk45(method, rtol, atol), check_eps(eps)
    last = Predictor(sde=own).lower(
        schedule, None, prediction=own.prediction, grid=np.array([eps, 0.0])
    )

    def ode_sampler(model, z=None):
        """Samples, and the number of evaluations."""
        with torch.no_grad():
            x = start(sde, own, shape, device) if z is None else z
            net = with_labels(model, False, wide_or_single(x))
            solution = sample_adaptive(
                net, x.double(), schedule, solver, prediction=own.prediction, start=1.0, end=eps
            )
            out = solution.x.to(wide_or_single(x))
            if denoise:
                out = sample(net, out, last, graph=False)
                torch.randn_like(out)  # as score_sde does
            return inverse_scaler(out), int(solution.nfe.max())

    return ode_sampler


def get_sampling_fn(config, sde, shape, inverse_scaler, eps):
    """The sampler that a configuration of score_sde asks for.

    Args:
        config: with ``device``, ``training.continuous`` and ``sampling``: ``method`` ("pc" or
            "ode"), ``noise_removal`` and, for "pc", ``predictor``, ``corrector``, ``snr``,
            ``n_steps_each`` and ``probability_flow``.
        sde, shape, inverse_scaler, eps: see ``get_pc_sampler``.

    Returns:
        What ``get_pc_sampler`` or ``get_ode_sampler`` returns.

    Raises:
        TypeError, ValueError: an argument is not as described.
    """
    try:
        chosen, method = config.sampling, config.sampling.method
        last = {"denoise": chosen.noise_removal, "eps": eps, "device": config.device}
        if str(method).lower() == "ode":
            return get_ode_sampler(sde, shape, inverse_scaler, **last)
        if str(method).lower() != "pc":
            raise ValueError(f'config.sampling.method: expected "pc" or "ode", got {method!r}')
        own = (chosen.predictor, chosen.corrector, inverse_scaler, chosen.snr, chosen.n_steps_each)
        rest = chosen.probability_flow, config.training.continuous
    except AttributeError as error:
        raise TypeError(f"config: expected a configuration of score_sde, got {error}") from error
    return get_pc_sampler(sde, shape, *own, *rest, **last)


def wide_or_single(x) -> torch.dtype:
    """The dtype in which a model is called."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def rk45(method, rtol, atol) -> RK45:
    choice("method", method, ("RK45",))
    return RK45(rtol, atol)


def check_eps(eps) -> float:
    return float(number("eps", eps, above=0, below=1))
