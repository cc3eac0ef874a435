"""Guidances that turn the difference of the two outputs: per sample, by inner products.

u and c are the unconditional and the conditional output, <a, b> sums over a sample. What each does
is linear in u and c, with weights that their inner products give: no pass but the one that makes
the five sums, and the fused step.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from ..arguments import flag, number, whole
from ..schedules.base import namespace
from .cfg import CFG


@dataclass(frozen=True)
class CFGZeroStar(CFG):
    """a u + scale (c - a u) with a = <c, u> / <u, u>, and nothing at all for the first evaluations.

    Fan et al. 2025, "CFG-Zero*: improved classifier-free guidance for flow matching models",
    eqs. 7 to 9 and section 3.2.

    Args:
        scale, rescale, interval: see ``CFG``.
        zero_steps: for how many evaluations at the start of a table the mix is zero.
    """

    zero_steps: int = 1

    data_dependent = True

    def __post_init__(self):
        super().__post_init__()
        whole("zero_steps", self.zero_steps, least=0)

    @property
    def needs_loop(self) -> bool:
        return self.zero_steps > 0 or super().needs_loop

    def is_conditional(self, batch: int) -> bool:
        return self.zero_steps == 0 and super().is_conditional(batch)

    def weights(self, noise_levels: np.ndarray, batch: int) -> np.ndarray:
        weights = super().weights(noise_levels, batch)
        if not self.zero_steps:
            return weights
        evaluations, since = np.zeros(len(noise_levels), int), 0
        for r, level in enumerate(noise_levels):  # a table begins behind a row without a level
            since = 0 if np.isnan(level) else since + 1
            evaluations[r] = since
        return np.where((evaluations > self.zero_steps)[:, None, None], weights, 0.0)

    def adjust_weights(self, weights, sums, count: int):
        xp, _ = namespace(sums)
        nothing = (weights == 0).all(-1)[:, None]  # has no deviation to rescale, and stays it
        return xp.where(nothing, weights, super().adjust_weights(weights, sums, count))

    def _directed(self, weights, sums):
        xp, _ = namespace(sums)
        uu, uc = sums[:, 2], sums[:, 3]
        return xp.stack([uc / (uu + 1e-8) * weights[:, 0], weights[:, 1]], 1)


@dataclass(frozen=True)
class APG(CFG):
    """c + (scale - 1) (d_orthogonal + eta d_parallel): adaptive projected guidance.

    d is the difference c - u with momentum: c - u + momentum d of the evaluation before. It is
    shortened to the length ``norm`` where it is longer, and split into the part along c and the
    rest. Sadat et al. 2024, "Eliminating oversaturation and artifacts of high guidance scales in
    diffusion models", algorithm 1. The paper projects predictions of x0; here the outputs are taken
    as they come.

    Args:
        scale, rescale, interval: see ``CFG``, to which eta = 1, an infinite norm and no momentum
            lead back. Evaluations outside of the interval leave the running difference as it is.
        eta: how much of the parallel part stays.
        norm: the greatest length of d.
        from_uncond: add scale times the turned d to u instead, as diffusers' guider does unless
            told to take the original formulation. Scale 1 stays c.
        momentum: beta of the paper, -0.75 to -0.25 there; with it a tensor like the sample is kept.
    """

    eta: float = 0.0
    norm: float = math.inf
    from_uncond: bool = False
    momentum: float = 0.0

    data_dependent = True

    def __post_init__(self):
        super().__post_init__()
        number("eta", self.eta)
        number("norm", self.norm, above=0, finite=False)
        flag("from_uncond", self.from_uncond)
        number("momentum", self.momentum)
        if self.momentum and self.from_uncond and self.rescale:
            raise ValueError(
                "rescale: expected 0 beside from_uncond and momentum, whose deviation takes more "
                f"sums than one pass makes, got {self.rescale!r}"
            )

    @property
    def needs_loop(self) -> bool:
        return self.momentum != 0 or super().needs_loop

    def init_state(self, x):
        return torch.zeros_like(x) if self.momentum else None

    def update_state(self, state, outputs, weights):
        u, c = (out.to(state.dtype) for out in outputs)
        guided = (weights[:, 0] != 0).reshape(-1, *[1] * (state.dim() - 1))
        state.copy_(torch.where(guided, torch.add(c - u, state, alpha=self.momentum), state))

    def _directed(self, weights, sums):
        xp, _ = namespace(sums)
        scale, cc = weights[:, 1], sums[:, 4]
        if self.momentum:  # the sums are those of d and c
            dd, dc = sums[:, 2], sums[:, 3]
        else:
            dd, dc = cc - 2 * sums[:, 3] + sums[:, 2], cc - sums[:, 3]
        length = xp.sqrt(dd.clip(min=_TINY))
        short = (self.norm / length).clip(max=1.0)
        parallel = (self.eta - 1) * (dc / cc.clip(min=_TINY))  # of c, which is to be added to d
        if self.momentum:
            turned = xp.stack([xp.zeros_like(short), short * parallel, short], 1)  # of (u, c, d)
        else:
            turned = xp.stack([-short, short * (1 + parallel)], 1)  # of (u, c)
        onto_c = (scale - 1)[:, None] * turned
        onto_c[:, 1] += 1
        if not self.from_uncond:
            return onto_c
        onto_u = scale[:, None] * turned
        onto_u[:, 0] += 1
        return xp.where((scale == 1)[:, None], onto_c, onto_u)


@dataclass(frozen=True)
class TCFG(CFG):
    """u' + scale (c - u') with u' the part of u along the first right-singular vector of [c; u].

    Kwon et al. 2025, "TCFG: tangential damping classifier-free guidance", algorithm 1. The vector
    is e_c c + e_u u with the first eigenvector e of the 2 x 2 matrix of inner products.
    """

    data_dependent = True

    def _directed(self, weights, sums):
        xp, _ = namespace(sums)
        uu, uc, cc = sums[:, 2], sums[:, 3], sums[:, 4]
        angle = 0.5 * xp.arctan2(2 * uc, cc - uu)
        e_c, e_u = xp.cos(angle), xp.sin(angle)
        largest = e_c * e_c * cc + 2 * e_c * e_u * uc + e_u * e_u * uu
        part = (e_c * uc + e_u * uu) / largest.clip(min=_TINY)  # u' = part (e_c c + e_u u)
        return xp.stack([weights[:, 0] * part * e_u, weights[:, 1] + weights[:, 0] * part * e_c], 1)


_TINY = 1e-300  # in place of a zero that is divided by: what it divides is zero, too
