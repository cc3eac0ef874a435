"""The SDEs of score_sde: a process in t from 0 to 1, its chain of N steps, and the model's labels.

Song et al. 2021, "Score-based generative modeling through SDEs", appendix C.
"""

from dataclasses import dataclass
from math import floor, log, sqrt
from typing import Any

import numpy as np

from ... import processes, schedules
from ...arguments import whole
from ...schedules.base import namespace
from ...typing import Prediction
from .own import refuse_own_code


class SDE:
    """Base class of the three. ``t`` are numbers in [0, 1]; ``N`` is the number of steps.

    Attributes:
        N: number of steps.
        process: the equation.
        prediction: what models return.
        prior_std: standard deviation of the noise that sampling starts from.
    """

    prediction: Prediction = "eps"  # -sigma(t) times the score
    N: int

    @property
    def process(self) -> processes.Process:
        raise NotImplementedError

    @property
    def prior_std(self) -> float:
        return 1.0

    def __post_init__(self):
        count = self.N
        if isinstance(count, float) and float(count).is_integer():
            count = int(count)
        object.__setattr__(self, "N", whole("N", count, least=1, most=2**24))
        self.process  # noqa: B018  # raises unless the numbers are those of an equation

    def schedule(self, continuous: bool) -> schedules.Schedule:
        """What a model was trained for, with its labels as its conditioning times."""
        raise NotImplementedError

    def index(self, t: float) -> int:
        """The step of the chain that starts at t. A float64 t that is exactly one has its own."""
        return floor(t * (self.N - 1) + 1e-9)

    def euler(self, t: float) -> tuple[float, float]:
        """(F - 1, G^2) of a step x_{i+1} = F x_i + G z by Euler-Maruyama."""
        return float(self.process.drift(t)) / self.N, float(self.process.diffusion2(t)) / self.N

    def step(self, t: float) -> tuple[float, float]:
        """(F - 1, G^2) of the step of the chain."""
        return self.euler(t)

    def ancestral_variance(self, t: float) -> float:
        """Of the noise of the ancestral sampler. Appendix F."""
        raise ValueError(f"predictor: ancestral sampling is for VP and VE, got {self!r}")

    def shrinkage(self, t: float) -> float:
        """1 - beta, by which the sizes of Langevin steps are multiplied. Algorithm 5."""
        return 1.0


@dataclass(frozen=True)
class subVPSDE(SDE):
    """Sub-variance preserving, with beta from beta(0) to beta(1). Its chain is Euler-Maruyama's."""

    beta_min: float = 0.1
    beta_max: float = 20.0
    N: int = 1000

    @property
    def process(self) -> processes.Process:
        return processes.SubVP(schedules.SubVP(self.beta_min, self.beta_max))

    def schedule(self, continuous):
        return SubVPLabels(self.beta_min, self.beta_max)  # there are no others

    @property
    def betas(self) -> np.ndarray:
        """[N] of the chain of the VP SDE."""
        return np.linspace(self.beta_min, self.beta_max, self.N) / self.N

    def shrinkage(self, t):
        return 1 - float(self.betas[self.index(t)])


@dataclass(frozen=True)
class VPSDE(subVPSDE):
    """Variance preserving, with beta from beta(0) to beta(1). The chain is DDPM's: its betas are
    beta(i / (N - 1)) / N."""

    def __post_init__(self):
        super().__post_init__()
        if not self.beta_max < self.N:
            raise ValueError(f"N: expected more than beta(1) = {self.beta_max:g}, got {self.N}")

    @property
    def process(self):
        return processes.VP(schedules.VPLinear(self.beta_min, self.beta_max))

    def schedule(self, continuous):
        if not continuous:
            return Discrete(schedules.DiscreteBetas(self.betas))
        return VPLabels(self.beta_min, self.beta_max)

    def step(self, t):
        return sqrt(self.shrinkage(t)) - 1, 1 - self.shrinkage(t)

    def ancestral_variance(self, t):
        return 1 - self.shrinkage(t)


@dataclass(frozen=True)
class VESDE(SDE):
    """Variance exploding, with levels geometric from sigma(0) to sigma(1). The chain is NCSN's."""

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    N: int = 1000
    prediction = "score"

    @property
    def prior_std(self) -> float:
        return self.sigma_max

    @property
    def process(self) -> processes.Process:
        return processes.VE(schedules.VE(self.sigma_min, self.sigma_max))

    def schedule(self, continuous):
        if continuous:
            return VELabels(self.sigma_min, self.sigma_max)
        return VENumbers(self.sigma_min, self.sigma_max, self.N)

    def step(self, t):
        below, at = self._levels(t)
        return 0.0, at**2 - below**2

    def ancestral_variance(self, t):
        below, at = self._levels(t)
        return below**2 * (at**2 - below**2) / at**2

    def _levels(self, t):
        """Those between which the chain steps; below the first there is 0."""
        i, length = self.index(t), log(self.sigma_max / self.sigma_min) / max(self.N - 1, 1)
        at = self.sigma_min * np.exp(length * np.array([i - 1.0, i]))
        return (float(at[0]) if i > 0 else 0.0), float(at[1])


class VPLabels(schedules.VPLinear):
    def model_time(self, t):
        return 999 * namespace(t)[1]


class SubVPLabels(schedules.SubVP):
    def model_time(self, t):
        return 999 * namespace(t)[1]


class VELabels(schedules.VE):
    def model_time(self, t):
        return self.sigma(t)


@dataclass(frozen=True)
class VENumbers(schedules.VE):
    """Labels 0 .. N - 1 from the noisiest level on."""

    N: int = 1000

    def model_time(self, t):
        xp, t = namespace(t)
        return xp.round((1 - t) * (self.N - 1))


@dataclass(frozen=True)
class Discrete(schedules.Schedule):
    """Steps of a table on [0, 1], labels 0 .. N - 1 with a fraction that the levels do not know."""

    table: schedules.DiscreteBetas
    t_clean = None

    def _entry(self, t):
        return np.floor(self.model_time(t) + 1e-9)

    def alpha(self, t):
        return self.table.alpha(self._entry(t))

    def sigma(self, t):
        return self.table.sigma(self._entry(t))

    def model_time(self, t):
        return namespace(t)[1] * (self.table.T - 1)


OURS: dict[type, Any] = {schedules.VPLinear: VPSDE, schedules.SubVP: subVPSDE, schedules.VE: VESDE}
NAMES: dict[str, tuple[Any, tuple[str, str]]] = {
    "VPSDE": (VPSDE, ("beta_0", "beta_1")),
    "subVPSDE": (subVPSDE, ("beta_0", "beta_1")),
    "VESDE": (VESDE, ("sigma_min", "sigma_max")),
}
CALLED = ("__init__", "N", "T", "prior_sampling", "prior_logp")  # ... or of no use here


def read(sde) -> SDE:
    """The SDE that an object of score_sde, of ours or of ``fastdiff.processes`` stands for.

    Raises:
        TypeError: it is none of them, or has equations of its own.
        ValueError: its end is not T = 1.
    """
    if isinstance(sde, SDE):
        return sde
    if isinstance(sde, processes.Process) and type(sde.schedule) in OURS:
        own = sde.schedule
        ends = ("beta_min", "beta_max") if hasattr(own, "beta_min") else ("sigma_min", "sigma_max")
        first, second = (getattr(own, name) for name in ends)
        return OURS[type(own)](first, second)
    base = next((c for c in type(sde).__mro__ if c.__name__ in NAMES), None)
    if base is None:
        raise TypeError(
            f"sde: expected a VPSDE, subVPSDE or VESDE, or the fastdiff process of one, got {sde!r}"
        )
    refuse_own_code("sde", sde, base, CALLED)
    found = base.__name__
    kind, names = NAMES[found]
    for name in (*names, "N"):
        if not hasattr(sde, name):
            raise TypeError(f"sde: expected a {found} with an attribute {name}, got {sde!r}")
    if getattr(sde, "T", 1) != 1:
        raise ValueError(f"sde: expected T = 1, got {sde.T!r}")
    first, second = (float(getattr(sde, name)) for name in names)
    return kind(first, second, int(sde.N))
