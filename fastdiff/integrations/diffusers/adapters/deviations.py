"""Schedulers of diffusers that differ from the method they are named after: the difference.

``second`` says where the rows of a solver leave what a step returns besides the sample: "saved" is
the anchor, a number a slot of the history.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log, sqrt
from typing import Any

from ....solvers import DDPM, IPNDM, LCM, PLMS, DPMpp2M, KDPM2Ancestral, Solver, Stage, UniPC
from ....solvers.kappa import FirstOrder, first_order
from ....solvers.kdpm2 import midpoint
from ....solvers.lms import along, bashforth
from ....tables.lin import EPS, X0, H, Lin, M, O, S, X, Z
from ....tables.path import Point, decay

#: What a solver around another one has from that.
SHARED = (
    "prediction_target", "order", "stochastic", "exact_on_point_mass", "inpaints",
    "starts_clean", "entry",
)  # fmt: skip


@dataclass(frozen=True)
class Returning(Solver):
    """A solver with what a step returns besides the sample, in the anchor, or in a slot of the
    history where the solver itself needs the anchor."""

    solver: Solver
    result: Callable[[Stage], Lin]
    slot: int | None = None
    always_save_state = True

    def __post_init__(self):
        vars(self).update({name: getattr(self.solver, name) for name in SHARED})
        vars(self)["second"] = "saved" if self.slot is None else self.slot

    def steps(self, path):
        name = "s" if self.slot is None else "remember"
        for stage in self.solver.steps(path):
            result: dict[str, Any] = {name: self.result(stage)}
            yield replace(stage, **result)


def x0(stage: Stage) -> Lin:
    return X0


def mean(stage: Stage) -> Lin:
    """The next sample without its noise."""
    return Lin({**stage.x.terms, "z": 0.0})


def denoised(stage: Stage) -> Lin:
    """The x0 to which noise is added, of a step that keeps none of the old noise."""
    return mean(stage) * (1 / stage.at.alpha)


def churned(stage: Stage) -> Lin:
    """x0 of a state that ``Euler(late=True)`` has raised, with alpha = 1: x' = x0 + sigma' eps."""
    return stage.x - stage.at.sigma * EPS


SMALLEST = 1e-20  # variance that is added where there is none


@dataclass(frozen=True)
class Posterior(DDPM):
    """DDPM that adds noise on a step to clean data, too: of the variances of ``DDPM`` as they are
    there, but at least 1e-20."""

    exact_on_point_mass = "drift"

    def noise(self, t, s):
        if self.is_large:
            return self.large(t, s)
        return max(s.sigma * sqrt(1 - decay(t, s) ** 2), sqrt(SMALLEST))

    def gain(self, t, s):
        small, large = log(Posterior().noise(t, s)), log(self.large(t, s))
        return (large + small) / 2, (large - small) / 2

    def steps(self, path):
        for _, t, s in path.steps():
            mean = first_order(t, s, decay(t, s))
            if self.variance == "learned_range":
                yield Stage(x=mean + Z, at=s, gain=self.gain(t, s))
            else:
                yield Stage(x=mean + self.noise(t, s) * Z, at=s)


@dataclass(frozen=True)
class GivenBetas(Posterior):
    """Posterior with the beta of some steps given, as it was not computed from the levels."""

    betas: tuple[float | None, ...] = ()
    exact_on_point_mass = "none"

    def steps(self, path):
        for stage, (i, t, s) in zip(super().steps(path), path.steps(), strict=True):
            beta = self.betas[i]
            if beta is not None:
                variance = s.sigma**2 / t.sigma**2
                mean = s.alpha * beta / t.sigma**2 * M + sqrt(1 - beta) * variance * X
                stage = replace(stage, x=mean + stage.x["z"] * Z)
            yield stage


@dataclass(frozen=True)
class TimestepLCM(LCM):
    """LCM on a path whose times are those of the model."""

    def model_time(self, path, t):
        return t.t


@dataclass(frozen=True)
class Beyond(FirstOrder):
    """TCD where the level (alpha, sigma) to which each step goes first is given. The step returns
    the sample there, too."""

    levels: tuple[tuple[float, float], ...] = ()
    stochastic = always_save_state = True
    second = "saved"

    def steps(self, path):
        for i, t, s in path.steps():
            alpha, sigma = self.levels[i]
            kept = 1.0 if s.is_clean else min(s.alpha * sigma / (alpha * s.sigma), 1.0)
            x = first_order(t, s, kept)
            yield Stage(x=x + s.sigma * sqrt(1 - kept * kept) * Z, at=s, s=alpha / s.alpha * x)


@dataclass(frozen=True)
class Below(KDPM2Ancestral):
    """KDPM2Ancestral with sigma_down as it was computed, in float32: a difference that has lost its
    digits where a step is long."""

    kept: tuple[float, ...] = ()  # sigma_down / sigma of each step

    def steps(self, path):
        for i, t, s in path.steps():
            if s.is_clean:
                yield Stage(x=first_order(t, s), at=s)
                continue
            half, x = midpoint(path, t, s, self.kept[i])
            yield half
            yield Stage(x=x + s.sigma * sqrt(1 - self.kept[i] ** 2) * Z, at=s)


@dataclass(frozen=True)
class VelocityPLMS(PLMS):
    """PLMS that extrapolates the outputs of a v model, and turns the result to eps."""

    exact_on_point_mass = "none"

    def steps(self, path):
        for i, t, s in path.steps():
            if i == 0 and len(path) > 1:
                yield Stage(x=self._to(t, s, O), at=s, s=X, remember=O)
                yield Stage(x=self._to(t, s, (H(1) + O) / 2, S), at=s)
            else:
                nodes = [(-k, H(k)) for k in range(1, min(4, i + 1))]
                mean = bashforth(nodes).substitute("m", O)
                yield Stage(x=self._to(t, s, mean), at=s, remember=O)

    def _to(self, t, s, v, base=X):
        return along(t, s, t.alpha * v + t.sigma * base, base)


@dataclass(frozen=True)
class FromNoise(IPNDM):
    """IPNDM that takes x0 = 0 on a first step from pure noise, and remembers it."""

    exact_on_point_mass = "none"

    def steps(self, path):
        for i, t, s in path.steps():
            nodes = [(-k, H(k)) for k in range(1, min(self.order, i + 1))]
            x = s.sigma * M if t.is_pure_noise else along(t, s, bashforth(nodes))
            yield Stage(x=x, at=s, remember=M)


@dataclass(frozen=True)
class Affine(Solver):
    """Steps x' = a x + b out + c z with (a, b, c) given. ``inpaints``: part of the sample is known,
    and put back."""

    factors: tuple[tuple[float, float, float], ...] = ()
    inpaints: bool = False
    exact_on_point_mass = "none"
    stochastic = True

    def steps(self, path):
        known = (1.0, 0.0) if self.inpaints else None
        for (_, _, s), (a, b, c) in zip(path.steps(), self.factors, strict=True):
            yield Stage(x=a * X + b * O + c * Z, at=s, known=known)


@dataclass(frozen=True)
class ElsewhereDPMpp2M(DPMpp2M):
    """DPMpp2M whose steps may end elsewhere than where the next one starts: at the points ``ends``
    of a path as long as that; any other path is a single step. What it remembers, x0, is the other
    result of a step."""

    ends: tuple[Point, ...] = ()
    exact_on_point_mass = "none"
    second = 0

    def steps(self, path):
        ends = self.ends if len(path) == len(self.ends) else path[1:]
        for (i, t, after), end in zip(path.steps(), ends, strict=True):
            step = self.step(t, end)
            last = self.euler_at_final and i + 1 == len(path)
            ages = path.ages(i, 1 if last else min(path.known(i), 2))
            nodes = [(path[i - age], H(age)) for age in ages]
            yield Stage(x=step.drift(nodes, rule=self.kind) + step.noise, at=after, remember=M)


@dataclass(frozen=True)
class Corrected(UniPC):
    """UniPC that hands out the corrected samples, too."""

    always_save_state = True
    second = "saved"


@dataclass(frozen=True)
class HeunByHand(Solver):
    """Heun's method in rho whose churn the caller adds: from the raised levels given, of models of
    -eps. Remembers the slope, from which the corrector finds back; leaves x0 in the anchor."""

    raised: tuple[float, ...] = ()
    exact_on_point_mass = "none"
    always_save_state = True
    second = "saved"

    def steps(self, path):
        for (_, _, s), rho in zip(path.steps(), self.raised, strict=True):
            length = rho - s.rho
            yield Stage(x=X + length * O, at=s, s=X + rho * O, remember=-O)
            if not s.is_clean:
                yield Stage(x=X + length / 2 * (H(1) + O), at=s, s=X + s.rho * O)
