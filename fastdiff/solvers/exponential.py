"""One step of an exponential integrator in lam = log(alpha / sigma), for models of x0 or of eps.

The probability flow (eta = 0), the reverse SDE (eta = 1) and what lies between are linear in x, so
from t to s, h = lam_s - lam_t, E = e^{-h}, their solution is

    "x0"   x_s = (sigma_s / sigma_t) E^eta x
                 + alpha_s (1 + eta) int e^{(1 + eta) (lam - lam_s)} x0 dlam
                 + sigma_s sqrt(1 - E^{2 eta}) z
    "eps"  x_s = (alpha_s / alpha_t) x
                 - sigma_s (1 + eta) int e^{lam_s - lam} eps dlam
                 + sigma_s sqrt(eta (E^{-2} - 1)) z

and all that a method has to choose is a polynomial for the model's output on the way (``adams``).
Lu et al. 2022, "DPM-Solver", eq. 3.4 (eps), "DPM-Solver++", eq. 8 and appendix A; Xue et al. 2023,
"SA-Solver", propositions 4.2 and A.1, where eta is tau^2.

A step from pure noise or to clean data is infinitely long in lam; of an output that is known once
it is exact for constant x0, whatever the method works in.

Over 60 lines: the steps of twelve solvers; all their coefficients are here.
"""

from dataclasses import dataclass, field
from math import factorial, inf, isinf, sqrt

from ..tables.lin import NOTHING, X0, Lin, M, X, Z
from ..tables.path import Point, decay, gap
from ..typing import PredictionTarget
from .adams import integral
from .base import Solver
from .options import check_eta, check_range
from .phi import I, J


@dataclass(frozen=True)
class Step:
    """The step from t to s. ``rule``: how one node beside t enters, i.e. what c_1 is taken to be.

    "heun"      the integral of r itself: exact for linear outputs
    "midpoint"  c_0 / 2: the mean of the outputs' change, "bh2" of UniPC
    "bh1"       the limit of both for short steps (UniPC, SA-Solver)
    "published" as "heun"; but of two nodes c_2 is half the integral of r^2 (``DPMpp3M``)

    Of more nodes the integrals are exact but for "published".

    Attributes:
        h: the length in lam.
        endless: whether it is infinite.
        of_x0: whether the step is that of x0, as an endless one always is.
        keep: E^eta, the fraction of the noise that is not refreshed.
        a: the factor of x.

    A number of the points may also be a tensor, finite, with one of each sample, and the outputs
    tensors that go with it (``fastdiff.sampling.DPMAdaptive``).
    """

    prediction_target: PredictionTarget
    t: Point
    s: Point
    eta: float = 0.0
    h: float = field(init=False, repr=False, compare=False)
    endless: bool = field(init=False, repr=False, compare=False)
    of_x0: bool = field(init=False, repr=False, compare=False)
    keep: float = field(init=False, repr=False, compare=False)
    a: float = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        t, s = self.t, self.s
        h = gap(t, s)
        endless = isinstance(h, float) and isinf(h)
        of_x0 = endless or self.prediction_target == "x0"
        keep = decay(t, s) ** self.eta if self.eta else 1.0
        a = keep * s.sigma / t.sigma if of_x0 else s.alpha / t.alpha
        vars(self).update(h=h, endless=endless, of_x0=of_x0, keep=keep, a=a)

    @property
    def noise(self) -> Lin:
        """The fresh noise."""
        if self.eta == 0:
            return NOTHING
        fresh = I(0, 2 * self.eta * self.h) if self.of_x0 else self.eta * J(0, 2 * self.h)
        return self.s.sigma * sqrt(fresh) * Z

    @property
    def c_0(self) -> float:
        """The factor of an output that is constant on the way."""
        if not isinstance(self.h, float) or abs(self.h) < 1:
            return self._moment(0)  # of a short step what follows is a difference of equals
        if self.of_x0:
            return self.s.alpha - self.a * self.t.alpha
        return (1 + self.eta) * (self.s.sigma - self.a * self.t.sigma)

    def drift(self, nodes=(), base: Lin = X, m: Lin = M, rule: str = "heun") -> Lin:
        """x_s without the fresh noise, from x = ``base`` at t and outputs as in ``integral``."""
        return self.a * base + self.integral(m, nodes, rule)

    def integral(self, m: Lin, nodes=(), rule: str = "heun") -> Lin:
        """What the outputs contribute: ``m`` at t, and the (point, output) ``nodes``."""
        if self.endless:
            return self.c_0 * X0
        h = self.h
        if isinstance(h, float) and h == 0:
            return NOTHING
        positions = []
        for point, output in nodes:
            positions.append((gap(self.t, point) / h, output))
        c_0 = self.c_0
        rest = self._moments(len(nodes), rule, c_0) if nodes else []
        return integral(m, positions, [c_0, *rest])

    def _moments(self, n, rule, c_0):
        if n == 1 and rule in ("midpoint", "bh2"):
            return [c_0 / 2]
        if n == 1 and rule == "bh1":
            return [self._edge * ((1 + self.eta) * self.h) / 2]
        if n == 2 and rule == "published":
            return [self._moment(1), self._moment(2) / 2]
        return [self._moment(k) for k in range(1, n + 1)]

    @property
    def _edge(self):
        return self.s.alpha if self.prediction_target == "x0" else -self.s.sigma

    def _moment(self, k):
        h, eta = self.h, self.eta
        phi = I(k, (1 + eta) * h) if self.prediction_target == "x0" else (1 + eta) * J(k, h)
        return self._edge * factorial(k) * phi


@dataclass(frozen=True)
class Exponential(Solver):
    """Base class of the solvers made of such steps.

    Attributes:
        eta: noise: 0 for the probability-flow ODE, 1 for the reverse SDE.
        s_noise: factor of the fresh noise.
    """

    eta: float = field(default=0.0, kw_only=True)
    s_noise: float = field(default=1.0, kw_only=True)

    def __post_init__(self):
        check_eta(self, high=inf)
        check_range(self, "s_noise", inf)

    @property
    def stochastic(self):
        return self.eta > 0 and self.s_noise > 0

    @property
    def exact_on_point_mass(self):
        exact = self.eta == 0 or (self.prediction_target == "x0" and self.s_noise == 1)
        return "full" if exact else "drift"

    def step(self, t: Point, s: Point) -> Step:
        return Step(self.prediction_target, t, s, self.eta)
