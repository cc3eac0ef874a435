from dataclasses import dataclass
from math import expm1, factorial

import numpy as np

from .base import Solver, Stage
from .linear import H, M, S, X
from .path import gap
from .phi import phi


@dataclass(frozen=True)
class UniPC(Solver):
    """UniPC-p for x0. Zhao et al. 2023, "UniPC: a unified predictor-corrector framework".

    One model evaluation per step. The output at the predicted x_i first corrects x_i, starting
    again from x_{i-1} (UniC-p), then carries the corrected x_i to the next point (UniP-p). One row
    does both, with the corrected x_i as the anchor. The last point is not corrected, which would
    take one more evaluation.

    Attributes:
        order: p of the predictor, 1 to 3. The corrector adds one to the order of the method.
        variant: the paper's B(h): "bh1", B = -h, or "bh2", B = e^{-h} - 1. They differ where one
            equation fixes the weights (predictor of order 2, corrector of order 1) and the paper
            takes 1/2 instead of solving it.
        lower_order_final: decrease the order to one towards the end, for few steps.
    """

    order: int = 2
    variant: str = "bh2"
    lower_order_final: bool = False

    def __post_init__(self):
        if isinstance(self.order, bool) or self.order not in (1, 2, 3):
            raise ValueError(f"UniPC: order must be 1, 2 or 3, got {self.order!r}")
        if self.variant not in ("bh1", "bh2"):
            raise ValueError(f'UniPC: variant must be "bh1" or "bh2", got {self.variant!r}')

    @property
    def convergence(self):
        return min(self.order + 1, 3)  # the lower-order start-up limits order 3

    def steps(self, path):
        previous = 1
        for i, t, s in path.steps():
            x = X
            if i > 0 and not path[i - 1].is_pure_noise:
                nodes = [(path[i - 1 - k], H(k + 1)) for k in range(1, previous)]
                x = self._step(S, path[i - 1], t, H(1), [*nodes, (t, M)])
            previous = path.order(i, self.order, taper=self.lower_order_final)
            nodes = [(path[i - k], H(k)) for k in range(1, previous)]
            yield Stage(x=self._step(x, t, s, M, nodes), at=s, s=x, remember=M)

    def _step(self, base, t, s, m, nodes):
        """From t to s with x0 = m at t and the (point, x0) nodes: UniP, or UniC with s a node."""
        a = s.sigma / t.sigma
        x = a * base + (s.alpha - a * t.alpha) * m
        if nodes:
            z = -gap(t, s)
            B = z if self.variant == "bh1" else expm1(z)
            r = np.array([gap(t, node) / -z for node, _ in nodes])
            for (_, value), r_k, weight in zip(nodes, r, self._weights(r, z, B), strict=True):
                x -= s.alpha * B * weight / r_k * (value - m)
        return x

    @staticmethod
    def _weights(r, z, B):
        if len(r) == 1:
            return [0.5]
        powers = range(len(r))
        moments = [z * phi(j + 2, z) * factorial(j + 1) / B for j in powers]
        return np.linalg.solve([r**j for j in powers], moments)
