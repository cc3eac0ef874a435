"""Predictors and correctors: which there are, and what they make of a score."""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from ...sampling import Langevin
from ...solvers.base import Stage
from ...solvers.euler_maruyama import EulerMaruyama
from ...tables.lin import M, X, Z
from .own import refuse_own_code
from .sdes import SDE, VPSDE

PREDICTORS = {
    "EulerMaruyamaPredictor": "euler_maruyama",
    "ReverseDiffusionPredictor": "reverse_diffusion",
    "AncestralSamplingPredictor": "ancestral_sampling",
    "NonePredictor": "none",
}
CORRECTORS = {
    "LangevinCorrector": "langevin",
    "AnnealedLangevinDynamics": "ald",
    "NoneCorrector": "none",
}


def name_of(what: str, given, known: dict[str, str]) -> str:
    """The name of a predictor or corrector that is given by it, as a class, or as None."""
    if given is None:
        return "none"
    if isinstance(given, str) and given.lower() in known.values():
        return given.lower()
    base = next((c for c in getattr(given, "__mro__", ()) if c.__name__ in known), None)
    if base is not None:
        refuse_own_code(what, given, base)
        return known[base.__name__]
    names = ", ".join(f'"{name}"' for name in known.values())
    raise ValueError(f"{what}: expected {names} or score_sde's class of one, got {given!r}")


@dataclass(frozen=True)
class Predictor(EulerMaruyama):
    """The reverse SDE (``eta`` = 1) or ODE (0) in steps of score_sde. Song et al. 2021, appendices
    E and F.

    Attributes:
        sde: the numbers of the steps.
        name: "euler_maruyama", "reverse_diffusion", "ancestral_sampling" or "none".
    """

    sde: SDE = VPSDE()
    name: str = "reverse_diffusion"

    def forward(self, path, t, s):
        return self.sde.euler(t.t) if self.name == "euler_maruyama" else self.sde.step(t.t)

    def steps(self, path):
        own = {"ancestral_sampling": self._ancestral, "none": self._none}
        return own.get(self.name, super().steps)(path)

    def _ancestral(self, path):
        for i, t, s in path.steps():
            growth, variance = self.forward(path, t, s)
            score = (t.alpha * M - X) / t.sigma**2
            x = (X + variance * score) / (1 + growth)
            if not (self.denoise and i + 1 == len(path)):
                x += sqrt(self.sde.ancestral_variance(t.t)) * Z
            yield Stage(x=x, at=s)

    def _none(self, path):
        return (Stage(x=X, at=s) for _, _, s in path.steps())


@dataclass(frozen=True)
class Corrector(Langevin):
    """Langevin steps whose sizes are multiplied by given ``factors``, one for each level."""

    factors: tuple[float, ...] = ()

    def factor(self, table, k):
        return self.factors[k - 1]

    @classmethod
    def of(cls, name: str, snr: float, n_steps: int, sde: SDE, table) -> "Corrector":
        """Algorithms 4 and 5 with mean norms over the batch ("langevin"), or with sigma(t) of the
        process for the ratio of the norms ("ald")."""
        if name == "none":
            return cls(steps=0)
        factors = [sde.shrinkage(t) for t in table.t[1:-1]]
        if name == "ald":  # the level of a discrete model need not be that of the process
            pairs = zip(table.t[1:-1], table.sigma[1:-1], strict=True)
            ratios = [float(sde.process.schedule.sigma(t)) / sigma for t, sigma in pairs]
            factors = [f * r**2 for f, r in zip(factors, ratios, strict=True)]
        return cls(snr, n_steps, "batch" if name == "langevin" else "level", tuple(factors))


class Draws:
    """The draws of torch's default generator in the order in which score_sde makes them, also those
    that it has no use for: ``corrections`` a step, then one of the predictor.

    Args:
        predicted: how many predictor draws the table reads; those of the corrections are numbered
            behind them.
    """

    def __init__(self, device, corrections: int, predictor: bool, predicted: int):
        self.device, self.corrections, self.predicted = device, corrections, predicted
        self.period, self.made = corrections + predictor, 0

    def __call__(self, number: int, shape) -> Tensor:
        if number <= self.predicted:
            return self.up_to((number - 1) * self.period + self.corrections, shape)
        step, j = divmod(number - self.predicted - 1, self.corrections)
        return self.up_to(step * self.period + j, shape)

    def up_to(self, last: int, shape) -> Tensor:
        """Draw until draw ``last`` (from 0) has been made; return it, if it was made now."""
        z = torch.empty(0, device=self.device)
        while self.made <= last:
            z, self.made = torch.randn(shape, device=self.device), self.made + 1
        return z
