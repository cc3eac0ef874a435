"""Noise levels, and the small functions around them, with k-diffusion's names."""

import numpy as np
import torch
from torch import Tensor

from ...grids import Exponential, Karras, PolyExponential
from ...schedules import VPLinear


def append_zero(x: Tensor) -> Tensor:
    """A last level 0."""
    return torch.cat([x, x.new_zeros([1])])


def get_sigmas_karras(n, sigma_min, sigma_max, rho=7.0, device="cpu"):
    """[n + 1] levels, the last 0. Karras et al. 2022, eq. 5. ``grids.Karras``."""
    return _spaced(Karras(rho=float(rho)), n, sigma_min, sigma_max, device)


def get_sigmas_exponential(n, sigma_min, sigma_max, device="cpu"):
    """[n + 1] levels whose logarithms are apart alike, the last 0. ``grids.Exponential``."""
    return _spaced(Exponential(), n, sigma_min, sigma_max, device)


def get_sigmas_polyexponential(n, sigma_min, sigma_max, rho=1.0, device="cpu"):
    """[n + 1] levels, the last 0. ``grids.PolyExponential``."""
    return _spaced(PolyExponential(rho=float(rho)), n, sigma_min, sigma_max, device)


def get_sigmas_vp(n, beta_d=19.9, beta_min=0.1, eps_s=1e-3, device="cpu"):
    """[n + 1] sigma / alpha of uniform times of the VP process, the last 0. ``schedules.VPLinear``
    with beta from beta_min to beta_min + beta_d."""
    schedule = VPLinear(float(beta_min), float(beta_min + beta_d))
    return _levels(np.exp(-schedule.lam(np.linspace(1, eps_s, n))), device)


def _spaced(grid, n, sigma_min, sigma_max, device):
    low, high = float(sigma_min), float(sigma_max)
    return _levels(grid.spacing(high, low, np.linspace(0, 1, n)), device)


def _levels(sigmas, device):
    sigmas = torch.as_tensor(sigmas, dtype=torch.get_default_dtype())
    return append_zero(sigmas).to(device)


def to_d(x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
    """The slope dx / dsigma. Karras et al. 2022, eq. 1."""
    return (x - denoised) / sigma.reshape(sigma.shape + (1,) * (x.dim() - sigma.dim()))


def get_ancestral_step(sigma_from, sigma_to, eta=1.0):
    """(sigma_down, sigma_up): the level to step down to, and the noise from there to sigma_to."""
    if not eta:
        return sigma_to, 0.0
    kept = (1 - sigma_to**2 / sigma_from**2) ** 0.5
    up = min(sigma_to, eta * sigma_to * kept)
    return (sigma_to**2 - up**2) ** 0.5, up
