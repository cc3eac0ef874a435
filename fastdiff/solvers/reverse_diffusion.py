from dataclasses import dataclass

from .. import processes
from .reverse_time import ReverseTime


@dataclass(frozen=True)
class ReverseDiffusion(ReverseTime):
    """The reverse diffusion sampler. Song et al. 2021, appendix E: the noising step, reversed.

    x_s = (2 - F) x + (1 + eta) / 2 G^2 score + sqrt(eta) G z,   x_t = F x_s + G z

    F and G are those of the exact transition from s to t: in a table of betas F = sqrt(1 - beta),
    G^2 = beta, and for VE F = 1, G^2 the difference of sigma^2.

    Attributes:
        eta, denoise: see ``ReverseTime``.
    """

    def forward(self, path, t, s):
        factor, deviation = processes.of(path.on_schedule(self)).transition(s.t, t.t)
        return float(factor) - 1, float(deviation) ** 2
