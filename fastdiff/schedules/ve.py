"""Variance-exploding schedules: alpha = 1."""

from dataclasses import dataclass, field

import numpy as np

from .base import Schedule, level, namespace, reals


@dataclass(frozen=True)
class VE(Schedule):
    """alpha = 1, sigma = sigma_min (sigma_max / sigma_min)^t, t in [0, 1]. Song et al. 2021, eq.
    30.

    sigma = 0 is at t = -inf, which the formula gives exactly; grids use it for a last jump to clean
    data.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    t_clean = -np.inf

    def __post_init__(self):
        level("VE", sigma_min=self.sigma_min, sigma_max=self.sigma_max)
        if self.sigma_max <= self.sigma_min:
            raise ValueError(
                f"VE: sigma_max must be > sigma_min = {self.sigma_min}, got {self.sigma_max}"
            )

    @property
    def _log_ratio(self):
        return np.log(self.sigma_max) - np.log(self.sigma_min)

    def alpha(self, t):
        xp, t = namespace(t)
        return xp.ones_like(t)[()]

    def sigma(self, t):
        xp, t = namespace(t)
        return self.sigma_min * xp.exp(t * float(self._log_ratio))

    def dalpha(self, t):
        return 0 * self.alpha(t)

    def dsigma(self, t):
        return float(self._log_ratio) * self.sigma(t)

    def lam(self, t):
        return -float(np.log(self.sigma_min)) - float(self._log_ratio) * namespace(t)[1]

    def t_of_lam(self, lam):
        return (-reals("lam", lam) - np.log(self.sigma_min)) / self._log_ratio

    @property
    def t_smallest(self):
        return self.t_min


@dataclass(frozen=True)
class EDM(Schedule):
    """alpha = 1, sigma = t. Karras et al. 2022, "Elucidating the design space of diffusion-based
    generative models".

    ``sigma_min`` is where grids place the last model evaluation and ``sigma_max`` the first; t = 0
    is clean, and a model can be conditioned on any sigma (churn may lead above ``sigma_max``). With
    ``precondition=True`` the model is EDM's raw network F: it is fed c_in x and c_noise =
    log(sigma)/4 (table 1), and prediction "edm" reads its output as D = c_skip x + c_out F.
    Otherwise the model is fed x and sigma, as a wrapped denoiser is.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    sigma_data: float = 0.5
    precondition: bool = False
    t_max: float = field(init=False, repr=False, compare=False)
    t_limit = np.inf

    def __post_init__(self):
        level("EDM", sigma_min=self.sigma_min, sigma_max=self.sigma_max, sigma_data=self.sigma_data)
        if self.sigma_max <= self.sigma_min:
            raise ValueError(
                f"EDM: sigma_max must be > sigma_min = {self.sigma_min}, got {self.sigma_max}"
            )
        object.__setattr__(self, "t_max", float(self.sigma_max))

    def alpha(self, t):
        xp, t = namespace(t)
        return xp.ones_like(t)[()]

    def sigma(self, t):
        return namespace(t)[1][()]

    def dalpha(self, t):
        return 0 * self.alpha(t)

    def dsigma(self, t):
        return self.alpha(t)

    def t_of_lam(self, lam):
        return np.exp(-reals("lam", lam))

    def input_scale(self, t):
        if not self.precondition:
            return super().input_scale(t)
        xp, t = namespace(t)
        return 1 / xp.sqrt(t * t + self.sigma_data**2)

    def model_time(self, t):
        if not self.precondition:
            return super().model_time(t)
        xp, t = namespace(t)
        with np.errstate(divide="ignore"):
            return xp.log(t) / 4

    @property
    def t_smallest(self):
        return self.sigma_min


@dataclass(frozen=True)
class VarianceExploding(Schedule):
    """Another schedule seen in the variable y = x / alpha, whose noise is sigma / alpha.

    This is how k-diffusion drives VP models: the model still gets x = alpha y and its own time.
    Undefined at a time where the base has alpha = 0.
    """

    base: Schedule

    def __post_init__(self):
        if not isinstance(self.base, Schedule):
            raise TypeError(f"VarianceExploding: base must be a schedule, got {self.base!r}")
        for name in ("t_max", "t_min", "t_clean"):
            object.__setattr__(self, name, getattr(self.base, name))

    @property
    def T(self):  # type: ignore[override]  # of other schedules a constant
        return self.base.T

    @property
    def t_limit(self):
        return self.base.t_limit

    def alpha(self, t):
        return 0 * self.base.sigma(t) + 1

    def sigma(self, t):
        with np.errstate(divide="ignore"):
            return self.base.sigma(t) / self.base.alpha(t)

    def dalpha(self, t):
        return 0 * self.base.sigma(t)

    def dsigma(self, t):
        alpha, sigma = self.base.alpha(t), self.base.sigma(t)
        with np.errstate(divide="ignore", invalid="ignore"):
            return (self.base.dsigma(t) * alpha - sigma * self.base.dalpha(t)) / alpha**2

    def lam(self, t):
        return self.base.lam(t)

    def t_of_lam(self, lam):
        return self.base.t_of_lam(lam)

    def input_scale(self, t):
        return self.base.alpha(t) * self.base.input_scale(t)

    def model_time(self, t):
        return self.base.model_time(t)

    @property
    def t_smallest(self):
        return self.base.t_smallest

    @property
    def t_largest(self):
        return self.base.t_largest
