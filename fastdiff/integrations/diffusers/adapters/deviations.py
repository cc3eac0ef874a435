"""Schedulers of diffusers that differ from the method they are named after: the difference."""

from dataclasses import dataclass, replace
from math import log, sqrt

from ....solvers import DDPM, IPNDM, LCM, PLMS, DPMpp2M, KDPM2Ancestral, Solver, Stage, UniPC
from ....solvers.kappa import FirstOrder, first_order
from ....solvers.kdpm2 import midpoint
from ....solvers.lms import along, bashforth
from ....tables.lin import H, M, O, S, X, Z
from ....tables.path import decay


@dataclass(frozen=True)
class Known:
    """A function of time that is known at some times; elsewhere None."""

    times: tuple[float, ...]
    values: tuple[float, ...]

    def __call__(self, t):
        return self.values[self.times.index(t)] if t in self.times else None


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
class Mixed(Posterior):
    """Posterior with the beta of some steps given: it was not computed from the levels."""

    betas: "Known" = None
    exact_on_point_mass = "none"

    def steps(self, path):
        for stage, (_, t, s) in zip(super().steps(path), path.steps(), strict=True):
            beta = self.betas(t.t)
            if beta is not None:
                variance = s.sigma**2 / t.sigma**2
                mean = s.alpha * beta / t.sigma**2 * M + sqrt(1 - beta) * variance * X
                stage = replace(stage, x=mean + stage.x["z"] * Z)
            yield stage


@dataclass(frozen=True)
class Told(LCM):
    """LCM where the times that the model is told are not those of the schedule."""

    told: tuple[float, ...] = ()

    def steps(self, path):
        for (_, t, s), told in zip(path.steps(), self.told, strict=True):
            u = self.timestep_scaling * told
            total = u * u + self.sigma_data**2
            x0 = self.sigma_data**2 / total * X + u / sqrt(total) * M
            yield Stage(x=s.alpha * x0 + self.noise(t, s) * Z, at=s)


@dataclass(frozen=True)
class Beyond(FirstOrder):
    """TCD where the time to which each step goes first is given."""

    beyond: tuple[float, ...] = ()
    stochastic = True

    def steps(self, path):
        for (_, t, s), time in zip(path.steps(), self.beyond, strict=True):
            kappa = 1.0 if s.is_clean else min(decay(s, path.at(time)), 1.0)
            noise = s.sigma * sqrt(1 - kappa * kappa)
            yield Stage(x=first_order(t, s, kappa) + noise * Z, at=s)


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
    """Steps x' = a x + b out + c z with (a, b, c) given."""

    factors: tuple[tuple[float, float, float], ...] = ()
    exact_on_point_mass = "none"
    stochastic = True

    def steps(self, path):
        for (_, _, s), (a, b, c) in zip(path.steps(), self.factors, strict=True):
            yield Stage(x=a * X + b * O + c * Z, at=s)


@dataclass(frozen=True)
class Masked(Affine):
    """Affine where part of the sample is known."""

    inpaints = True

    def steps(self, path):
        for stage in super().steps(path):
            yield replace(stage, known=(1.0, 0.0))


@dataclass(frozen=True)
class Landing(DPMpp2M):
    """DPMpp2M whose steps may end elsewhere than where the next one starts: at the times ``ends``
    of a walk as long as that; any other walk is a single step."""

    ends: tuple[float, ...] = ()
    exact_on_point_mass = "none"

    def steps(self, path):
        ends = self.ends if len(path) == len(self.ends) else [path[1].t]
        for (i, t, after), end in zip(path.steps(), ends, strict=True):
            step = self.step(t, path.at(end))
            last = self.euler_at_final and i + 1 == len(path)
            nodes = [(path[i - 1], H(1))] if path.known(i) > 1 and not last else []
            yield Stage(x=step.drift(nodes, rule=self.kind) + step.noise, at=after, remember=M)


@dataclass(frozen=True)
class Corrected(UniPC):
    """UniPC that hands out the corrected samples, too."""

    always_save_state = True


@dataclass(frozen=True)
class ByHand(Solver):
    """Heun's method in rho whose churn the caller adds: from the raised levels given, of models of
    -eps. Remembers the slope, from which the corrector finds back; leaves x0 in the anchor."""

    raised: tuple[float, ...] = ()
    exact_on_point_mass = "none"
    always_save_state = True

    def steps(self, path):
        for (_, _, s), rho in zip(path.steps(), self.raised, strict=True):
            length = rho - s.rho
            yield Stage(x=X + length * O, at=s, s=X + rho * O, remember=-O)
            if not s.is_clean:
                yield Stage(x=X + length / 2 * (H(1) + O), at=s, s=X + s.rho * O)
