"""A learned monotone noise schedule, gamma(t) = -log SNR."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from ..arguments import flag, number, sequence, tensor, whole
from ..schedules import LogSNR


class Gamma(nn.Module):
    """gamma(t) = gamma_0 + (gamma_1 - gamma_0) (m(t) - m(0)) / (m(1) - m(0)) with increasing m.

    m(t) = t + sum_j c_j sigmoid(w_j (t - t_j)) with positive c and w: Kingma et al. 2021,
    "Variational diffusion models", appendix H, with one hidden layer and the positive weights as
    exponentials, so that steps of an optimizer are relative ones. It starts (nearly) linear.

    The ends and the shape are trained by different losses: see ``fraction``.

    Args:
        ends: gamma_0 and gamma_1 at the start.
        hidden: number of sigmoids.
        learned: False freezes all of it, at the straight line.
    """

    def __init__(self, ends: tuple[float, float], hidden: int = 64, learned: bool = True):
        super().__init__()
        low, high = sequence("ends", ends, "a pair (gamma(0), gamma(1))", 2)
        low, high = number("ends[0]", low), number("ends[1]", high)
        learned = flag("learned", learned)
        whole("hidden", hidden, least=1 if learned else 0, most=2**16)
        if not low < high:
            raise ValueError(f"ends: expected gamma(0) < gamma(1), got {low:g} and {high:g}")
        self.ends = nn.Parameter(torch.tensor([low, high]), requires_grad=learned)
        self.learned = learned
        if learned:
            self.log_height = nn.Parameter(torch.full((hidden,), -math.log(4 * hidden)))
            self.log_width = nn.Parameter(torch.full((hidden,), math.log(10.0)))
            self.centre = nn.Parameter(torch.linspace(0, 1, hidden))

    def fraction(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(gamma - gamma_0) / (gamma_1 - gamma_0) and its derivative in t, both of t's shape.

        The bound in continuous time depends on the ends only, so what is between them is free to
        minimise the variance of its estimate: put ``scale_gradient`` on these two.
        """
        if not self.learned:
            return t, torch.ones_like(t)
        (m, dm), (low, _), (high, _) = (self._m(v) for v in (t, 0 * t, 0 * t + 1))
        return (m - low) / (high - low), dm / (high - low)

    def _m(self, t: Tensor) -> tuple[Tensor, Tensor]:
        height, width = torch.exp(self.log_height), torch.exp(self.log_width)
        s = torch.sigmoid(width * (t[..., None] - self.centre))
        return t + s @ height, 1 + (s * (1 - s)) @ (height * width)

    def forward(self, t: Tensor) -> Tensor:
        """gamma(t)."""
        tensor("t", t)
        return self.ends[0] + (self.ends[1] - self.ends[0]) * self.fraction(t)[0]

    def schedule(self) -> LogSNR:
        """The schedule as it is now, for sampling and evaluation."""
        frozen = {name: value.detach().double().cpu() for name, value in self.state_dict().items()}
        copy = Gamma((-1.0, 1.0), len(frozen.get("centre", [])), self.learned).double()
        copy.load_state_dict(frozen)
        copy.requires_grad_(False)

        def gamma(t):
            if isinstance(t, Tensor):
                return copy(t.double().cpu()).to(t)
            return copy(torch.as_tensor(np.asarray(t, np.float64))).numpy()

        return LogSNR(gamma)


def scale_gradient(tensor: Tensor, factor: list[Tensor]) -> Tensor:
    """The tensor itself, whose gradient is multiplied by ``factor[0]``, filled in before the
    backward pass. With factor 2 L_i the gradient of the mean of a loss L_i becomes that of the mean
    of L_i^2, of which the variance is all that the schedule's shape can change."""
    if not tensor.requires_grad:
        return tensor
    tensor = tensor.view_as(tensor)
    tensor.register_hook(lambda gradient: gradient * factor[0])
    return tensor
