from dataclasses import dataclass
from math import sqrt

from ..tables.lin import Z
from .base import Stage
from .kappa import FirstOrder, first_order, noise_retention
from .options import check_count, check_eta


@dataclass(frozen=True)
class RePaint(FirstOrder):
    """Inpainting that goes back and forth. Lugmayr et al. 2022, "RePaint: inpainting using
    denoising diffusion probabilistic models", algorithm 1.

    Every ``jump_length`` steps the sample is noised again by as many levels, ``jumps - 1`` times,
    so that the unknown part can fit itself to the known one. Noising again follows the step in
    the same row: its Gaussian and the step's are one, equal in law.

    Attributes:
        eta: as in DDIM; 1 is the paper's DDPM.
        jump_length: the paper's j.
        jumps: the paper's r: how often each stretch is gone through.
    """

    eta: float = 1.0
    jump_length: int = 10
    jumps: int = 10
    stochastic = True
    inpaints = True
    starts_clean = False

    def __post_init__(self):
        check_eta(self)
        for name in ("jump_length", "jumps"):
            check_count(self, name)

    def kappa(self, t, s):
        return noise_retention(self.eta, t, s)

    def steps(self, path):
        last = len(path)
        back = {last - k: self.jumps - 1
                for k in range(0, last - self.jump_length, self.jump_length)}  # fmt: skip
        at = 0
        while at < last:
            t, s = path[at], path[at + 1]
            x, variance = first_order(t, s, self.kappa(t, s)), self.noise(t, s) ** 2
            at += 1
            if back.get(at, 0):
                back[at] -= 1
                at -= self.jump_length
                up = path[at].alpha / s.alpha  # q(x_up | x_s)
                x, variance = up * x, up**2 * variance + path[at].sigma ** 2 - (up * s.sigma) ** 2
            to = path[at]
            yield Stage(x=x + sqrt(variance) * Z, at=to, known=(to.alpha, to.sigma))
