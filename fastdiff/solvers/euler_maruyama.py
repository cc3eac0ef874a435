from dataclasses import dataclass

from .. import processes
from .reverse_time import ReverseTime


@dataclass(frozen=True)
class EulerMaruyama(ReverseTime):
    """Euler-Maruyama for the reverse SDE in t. Song et al. 2021, eq. 6, predictor of algorithm 1.

    x_s = x - f x (t - s) + (1 + eta) / 2 g^2 (t - s) score + sqrt(eta (t - s)) g z

    with f, g of the schedule's process (``fastdiff.processes``).

    Attributes:
        eta, denoise: see ``ReverseTime``.
        uniform: take every step to be t_max / N long, as score_sde does, whose times end above
            zero.
    """

    uniform: bool = False

    def forward(self, path, t, s):
        process = processes.of(path.on_schedule(self))
        length = path.on_schedule(self).t_max / len(path) if self.uniform else t.t - s.t
        return float(process.drift(t.t)) * length, float(process.diffusion2(t.t)) * length
