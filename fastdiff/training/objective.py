"""The training objective: v-prediction at low-discrepancy times."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastdiff.schedules import VPCosine


def low_discrepancy_times(batch: int, generator: torch.Generator) -> Tensor:
    """Stratified uniform times t_i = (u + i / B) mod 1, shape [B], float32 in [0, 1).

    One uniform u for the batch; each t_i alone is uniform, and the batch covers [0, 1] evenly,
    which lowers the variance of the loss (Kingma et al. 2021, "VDM", appendix I.1).
    """
    u = torch.rand((), generator=generator)
    return torch.remainder(u + torch.arange(batch) / batch, 1.0)


def noise_and_target(x0: Tensor, eps: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """The noisy images and the v target (Salimans & Ho 2022, section 4 and appendix D).

    x_t = alpha x0 + sigma eps and v = alpha eps - sigma x0 with alpha = cos(pi t / 2),
    sigma = sin(pi t / 2); so x0 = alpha x_t - sigma v and eps = sigma x_t + alpha v.

    Args:
        x0: clean images, [B, C, H, W].
        eps: standard normal noise of the same shape.
        t: times in [0, 1], [B].

    Returns:
        x_t and v, both [B, C, H, W].
    """
    schedule = VPCosine()
    alpha = schedule.alpha(t).view(-1, 1, 1, 1)
    sigma = schedule.sigma(t).view(-1, 1, 1, 1)
    return alpha * x0 + sigma * eps, alpha * eps - sigma * x0


def drop_labels(y: Tensor, null: int, probability: float, generator: torch.Generator) -> Tensor:
    """Replace each label by ``null`` with the given probability, so that the network also
    learns the unconditional score (Ho & Salimans 2021, classifier-free guidance)."""
    dropped = torch.rand(y.shape, generator=generator) < probability
    return torch.where(dropped, null, y)


def v_loss(model: nn.Module, x0: Tensor, y: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    """Mean squared error of the predicted v over all pixels of the batch, a scalar."""
    x_t, v = noise_and_target(x0, eps, t)
    return (model(x_t, t, y).float() - v).square().mean()
