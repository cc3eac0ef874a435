"""Log-likelihoods in bits per dimension with the conventions of score_sde."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...arguments import choice, function
from ...elbo import bits_per_dim
from ...likelihood import Hutchinson, log_likelihood
from . import sdes
from .models import with_labels
from .sampling import check_eps, rk45, wide_or_single

KINDS = {"Rademacher": "rademacher", "Gaussian": "gaussian"}


@dataclass(frozen=True)
class OneProbe(Hutchinson):
    """A probe of torch's default generator, drawn in ``dtype`` as score_sde does for its data."""

    dtype: torch.dtype = torch.float32

    def probes(self, x: Tensor) -> Tensor:
        data = x.to(self.dtype)
        if self.kind == "gaussian":
            probe = torch.randn_like(data)
        else:
            probe = torch.randint_like(data, 2) * 2 - 1
        return probe.to(x)[None]


def get_likelihood_fn(
    sde, inverse_scaler, hutchinson_type="Rademacher", rtol=1e-5, atol=1e-5, method="RK45", eps=1e-5
):
    """The log-likelihood of the probability flow. Song et al. 2021, eq. 39, appendix D.2.

    Args:
        sde, inverse_scaler: see ``get_pc_sampler``. The data are taken to be of 8 bits, in [0, 1]
            where ``inverse_scaler`` puts them: levels are then 1/128 apart for data in [-1, 1] and
            1/256 for data in [0, 1], which adds 7 - inverse_scaler(-1) bits per dimension.
        hutchinson_type: "Rademacher" or "Gaussian".
        rtol, atol, method: see ``get_ode_sampler``.
        eps: the time at which the data are taken to live.

    Returns:
        likelihood_fn(model, data) -> (bits per dimension [B], latent [B, ...], evaluations of the
        slowest sample).

    Raises:
        TypeError, ValueError: an argument is not as described.
    """
    own = sdes.read(sde)
    choice("hutchinson_type", hutchinson_type, tuple(KINDS))
    function("inverse_scaler", inverse_scaler)
    schedule, solver, eps = own.schedule(True), rk45(method, rtol, atol), check_eps(eps)
    width = 2.0 ** (float(inverse_scaler(-1.0)) - 7.0)

    def likelihood_fn(model, data):
        """Bits per dimension, latents, and the number of evaluations."""
        dtype = wide_or_single(data)
        probe = OneProbe(KINDS[hutchinson_type], dtype=dtype)
        found = log_likelihood(
            with_labels(model, False, dtype), data.double(), schedule, prediction=own.prediction,
            divergence=probe, solver=solver, start=eps, end=1.0, prior_std=own.prior_std,
        )  # fmt: skip
        bits = bits_per_dim(-found.log_prob, data[0].numel(), width)
        return bits.to(dtype), found.latent.to(dtype), int(found.nfe.max())

    return likelihood_fn
