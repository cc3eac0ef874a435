"""Noise levels, and the small functions around them, with k-diffusion's names."""

import numpy as np
import torch
from torch import Tensor

from ...arguments import device as known_device
from ...arguments import number, on_device, tensor, whole
from ...grids import Exponential, Karras, PolyExponential
from ...schedules import VPLinear

MOST = 2**24  # levels, of which each would be a step


def append_zero(x: Tensor) -> Tensor:
    """A last level 0."""
    if tensor("x", x, floating=False).dim() != 1:
        raise ValueError(f"x: expected levels [steps], got {list(x.shape)}")
    return torch.cat([x, x.new_zeros([1])])


def get_sigmas_karras(n, sigma_min, sigma_max, rho=7.0, device="cpu"):
    """[n + 1] levels, the last 0. Karras et al. 2022, eq. 5. ``grids.Karras``."""
    return _spaced(Karras(rho=number("rho", rho)), n, sigma_min, sigma_max, device)


def get_sigmas_exponential(n, sigma_min, sigma_max, device="cpu"):
    """[n + 1] levels whose logarithms are apart alike, the last 0. ``grids.Exponential``."""
    return _spaced(Exponential(), n, sigma_min, sigma_max, device)


def get_sigmas_polyexponential(n, sigma_min, sigma_max, rho=1.0, device="cpu"):
    """[n + 1] levels, the last 0. ``grids.PolyExponential``."""
    return _spaced(PolyExponential(rho=number("rho", rho)), n, sigma_min, sigma_max, device)


def get_sigmas_vp(n, beta_d=19.9, beta_min=0.1, eps_s=1e-3, device="cpu"):
    """[n + 1] sigma / alpha of uniform times of the VP process, the last 0. ``schedules.VPLinear``
    with beta from beta_min to beta_min + beta_d."""
    low, rise = number("beta_min", beta_min, above=0), number("beta_d", beta_d, least=0)
    last = number("eps_s", eps_s, above=0, most=1)
    times = np.linspace(1, last, whole("n", n, least=0, most=MOST))
    return _levels(np.exp(-VPLinear(low, low + rise).lam(times)), device)


def _spaced(grid, n, sigma_min, sigma_max, device):
    low, high = number("sigma_min", sigma_min, above=0), number("sigma_max", sigma_max, above=0)
    fractions = np.linspace(0, 1, whole("n", n, least=0, most=MOST))
    return _levels(grid.spacing(high, low, fractions), device)


def _levels(sigmas, device):
    sigmas = torch.as_tensor(sigmas, dtype=torch.get_default_dtype())
    return append_zero(sigmas).to(known_device("device", device))


def to_d(x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
    """The slope dx / dsigma. Karras et al. 2022, eq. 1."""
    tensor("x", x)
    on_device("denoised", tensor("denoised", denoised), "x", x)
    on_device("sigma", tensor("sigma", sigma, floating=False), "x", x)
    try:
        return (x - denoised) / sigma.reshape(sigma.shape + (1,) * (x.dim() - sigma.dim()))
    except RuntimeError as error:
        raise ValueError(
            f"sigma, denoised: expected one of [batch] and one like x {list(x.shape)}, got "
            f"{list(sigma.shape)} and {list(denoised.shape)}"
        ) from error


def get_ancestral_step(sigma_from, sigma_to, eta=1.0):
    """(sigma_down, sigma_up): the level to step down to, and the noise from there to sigma_to."""
    eta = number("eta", eta)
    if not eta:
        return sigma_to, 0.0
    if number("sigma_from", sigma_from, least=0) < number("sigma_to", sigma_to, least=0):
        raise ValueError(f"sigma_to: expected at most sigma_from = {sigma_from}, got {sigma_to}")
    kept = (1 - sigma_to**2 / sigma_from**2) ** 0.5
    up = min(sigma_to, eta * sigma_to * kept)
    return (sigma_to**2 - up**2) ** 0.5, up
