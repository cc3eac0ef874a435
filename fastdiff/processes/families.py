"""The processes with a name, in closed form where the general one loses digits near clean data."""

from dataclasses import dataclass, field
from typing import ClassVar

from .. import schedules
from ..schedules.base import namespace
from .base import Process


@dataclass(frozen=True)
class VP(Process):
    """Variance preserving: f = -beta / 2, g^2 = beta. Song et al. 2021, eq. 11."""

    schedule: schedules.VPLinear | schedules.SubVP = field(default_factory=schedules.VPLinear)
    family: ClassVar[type[schedules.Schedule]] = schedules.VPLinear

    def drift(self, t):
        return -0.5 * self.schedule.rate(t)

    def diffusion2(self, t):
        return self.schedule.rate(t)


@dataclass(frozen=True)
class SubVP(VP):
    """Sub-variance preserving: f = -beta / 2, g^2 = beta (1 - e^{-2 B}). Ibid., eq. 12."""

    schedule: schedules.SubVP = field(default_factory=schedules.SubVP)
    family = schedules.SubVP

    def diffusion2(self, t):
        xp, _ = namespace(t)
        return -xp.expm1(-2 * self.schedule.integral(t)) * self.schedule.rate(t)


@dataclass(frozen=True)
class VE(Process):
    """Variance exploding: f = 0, g^2 = d sigma^2 / dt. Song et al. 2021, eq. 9."""

    schedule: schedules.VE = field(default_factory=schedules.VE)
    family = schedules.VE

    def drift(self, t):
        return 0 * self.schedule.sigma(t)

    def diffusion2(self, t):
        return 2 * self.schedule.sigma(t) * self.schedule.dsigma(t)


@dataclass(frozen=True)
class RectifiedFlow(Process):
    """Straight lines: f = -sigma' / (1 - sigma), g^2 = 2 sigma sigma' / (1 - sigma).

    The one process with the marginals of Liu et al. 2022; its probability flow is theirs.
    """

    schedule: schedules.RectifiedFlow = field(default_factory=schedules.RectifiedFlow)
    family = schedules.RectifiedFlow


NAMED: dict[type, type[Process]] = {p.family: p for p in (VP, SubVP, VE, RectifiedFlow)}


def of(schedule: schedules.Schedule) -> Process:
    """The process of a schedule."""
    return NAMED.get(type(schedule), Process)(schedule)
