from dataclasses import dataclass, field
from math import sqrt

from ..tables.lin import ZP, M, S, X, Z
from .base import Stage
from .exponential import Exponential
from .kappa import first_order, noise_retention
from .options import check_eta, check_range


@dataclass(frozen=True)
class DPMppSDE(Exponential):
    """DPM-Solver++ for the reverse SDE, singlestep; k-diffusion's ``dpmpp_sde``.

    Two evaluations per step, the second at the fraction r of it in lam; the step is taken with

        (1 - 1 / 2r) x0(lam_t) + (1 / 2r) x0(lam_t + r h)

    The levels are those of ``EulerAncestral``. Both noises, to the middle and to the end, are of
    one Brownian path in rho = sigma / alpha: the second is made of the first and of a fresh draw,
    unless the draws themselves are increments of a path (``independent=False``). Steps from or to
    pure noise and to clean data are of first order.

    Attributes:
        r: where the second evaluation is, 0 < r <= 1.
        eta, s_noise: noise, 0 to 1, and the factor of what is fresh.
        independent: of each other are the draws, or, False, of one path, to the middle and to s.
    """

    r: float = 0.5
    eta: float = field(default=1.0, kw_only=True)
    independent: bool = field(default=True, kw_only=True)
    order = 2

    def __post_init__(self):
        super().__post_init__()
        check_eta(self)
        check_range(self, "r")
        if self.r == 0:
            raise ValueError(f"DPMppSDE: r must be in (0, 1], got {self.r!r}")

    def steps(self, path):
        for _, t, s in path.steps():
            x, noise = self._euler(t, s)
            if self.step(t, s).endless:
                yield Stage(x=x + noise * Z, at=s)
                continue
            middle = path.between(t, s, self.r) if self.r < 1 else s
            half, first = self._euler(t, middle)
            part = 1 / (2 * self.r)
            saved = x["x"] * X + (1 - part) * x["m"] * M
            yield Stage(x=half + first * Z, at=middle, s=saved)
            walked = (t.rho - middle.rho) / (t.rho - s.rho) if self.independent else 0.0
            brownian = sqrt(walked) * ZP + sqrt(1 - walked) * Z
            yield Stage(x=S + part * x["m"] * M + noise * brownian, at=s)

    def _euler(self, t, s):
        """The step of ``EulerAncestral`` and the standard deviation of its noise."""
        kappa = noise_retention(self.eta, t, s)
        return first_order(t, s, kappa), self.s_noise * s.sigma * sqrt(1 - kappa**2)
