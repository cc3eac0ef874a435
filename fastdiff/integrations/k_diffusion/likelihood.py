"""The log-likelihood of k-diffusion."""

import torch

from ...likelihood import log_likelihood as along_the_flow
from ...sampling import RK45
from ...schedules import EDM
from ..score_sde.likelihood import OneProbe
from .run import Call
from .samplers import check_ends


def log_likelihood(model, x, sigma_min, sigma_max, extra_args=None, atol=1e-4, rtol=1e-4):
    """log p(x) along the probability flow, in nats. Song et al. 2021, appendix D.2.

    The trace is estimated with one probe of torch's default generator, as there; each sample has a
    step size of its own (``fastdiff.sampling.RK45``), so the numbers agree within the tolerances.

    Returns:
        ([B] log-likelihoods, {"fevals": evaluations of the slowest sample}).

    Raises:
        TypeError, ValueError: an argument is not as described.
    """
    call = Call(model, x, extra_args, None, True)
    call.check()
    low, high = check_ends(sigma_min, sigma_max)
    wide = x.dtype == torch.float64

    def in_x(y, sigma):
        return call.evaluate(y.to(x.dtype), sigma.to(x.dtype)).to(y.dtype)

    found = along_the_flow(
        in_x, x if wide else x.float(), EDM(low, high), prediction="x0",
        divergence=OneProbe("rademacher", dtype=x.dtype), solver=RK45(rtol, atol), start=low,
        end=high, prior_std=high,
    )  # fmt: skip
    return found.log_prob.to(x.dtype), {"fevals": int(found.nfe.max())}
