"""t(lam) on tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..schedules import Schedule


class Inverse:
    """t(lam) on tensors, without leaving their device: a table of brackets, then Newton.

    Args:
        schedule: the noise schedule.
        ends: the two times between which it is inverted.
        device: where the tensors will be.
    """

    def __init__(self, schedule: Schedule, ends: tuple[float, float], device):
        low, high = min(ends), max(ends)
        # fine near the clean end, where lam may change by orders of magnitude in little time
        fractions = np.union1d(np.linspace(0, 1, 513), np.geomspace(1e-8, 1, 513))
        times = low + (high - low) * fractions
        if schedule.T is not None:  # a table: the brackets must not contain a kink
            times = np.union1d(times, np.arange(np.ceil(low), np.floor(high) + 1))
        self.schedule = schedule
        self.times = torch.tensor(times, device=device)
        self.rising = torch.tensor(-schedule.lam(times), device=device)

    def __call__(self, lam: Tensor) -> Tensor:
        """[B] float64 times of lam [B] float64; beyond the ends, the ends."""
        right = torch.searchsorted(self.rising, -lam).clamp(1, len(self.rising) - 1)
        low, high = self.times[right - 1], self.times[right]
        below, above = self.rising[right - 1], self.rising[right]
        t = low + (high - low) * ((-lam - below) / (above - below)).clamp(0, 1)
        for _ in range(4):
            schedule = self.schedule
            slope = schedule.dalpha(t) / schedule.alpha(t) - schedule.dsigma(t) / schedule.sigma(t)
            t = torch.minimum(torch.maximum(t - (schedule.lam(t) - lam) / slope, low), high)
        return t
