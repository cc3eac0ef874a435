from dataclasses import dataclass, field

from ..tables.lin import X0, H, M, S, X
from .base import Solver, Stage
from .kappa import first_order
from .lms import along, bashforth
from .options import check_flag


@dataclass(frozen=True)
class PLMS(Solver):
    """Pseudo linear multistep. Liu et al. 2022, "Pseudo numerical methods for diffusion models".

    Adams-Bashforth of order 4 for eps, with the weights of an even spacing (``IPNDM``), and

        warm_up = "euler"  a first step with the mean of the slopes at its start and at its Euler
                           prediction, two evaluations, then orders 2 and 3 (Stable Diffusion)
        warm_up = "prk"    three Runge-Kutta steps of four evaluations each (the paper's F-PNDM)

    Steps from or to pure noise are Euler's, and the warm-up comes after. ``final_denoise`` is that
    of ``LMS``.
    """

    warm_up: str = "euler"
    final_denoise: bool = field(default=False, kw_only=True)
    prediction_target = "eps"
    order = 4

    def __post_init__(self):
        self.check_choice("warm_up", "euler", "prk")
        check_flag(self, "final_denoise")

    @property
    def convergence(self):
        return 2  # the weights are not those of the steps

    def steps(self, path):
        for i, t, s in path.steps():
            known = path.known(i)
            if t.is_pure_noise or s.is_pure_noise or (s.is_clean and self.final_denoise):
                yield Stage(x=first_order(t, s).substitute("m", X0), at=s)
            elif self.warm_up == "prk" and known <= 3 and not s.is_clean:
                yield from _runge_kutta(t, path.at((t.t + s.t) / 2), s)
            elif self.warm_up == "euler" and known == 1 and i + 1 < len(path):
                yield Stage(x=along(t, s, M), at=s, s=X, remember=M)
                yield Stage(x=along(t, s, (H(1) + M) / 2, S), at=s)
            else:
                nodes = [(-k, H(k)) for k in range(1, min(4, known))]
                yield Stage(x=along(t, s, bashforth(nodes)), at=s, remember=M)


def _runge_kutta(t, middle, s):
    """Slopes e_1 .. e_4 at t, twice at ``middle``, at s. Only e_1 is remembered: the anchor is x,
    then x_s as far as it is known, and e_2 is computed from where it led."""
    yield Stage(x=along(t, middle, M), at=middle, s=X, remember=M)
    yield Stage(x=along(t, middle, M, S), at=middle)
    e_2 = (X - (middle.alpha / t.alpha) * S) / (middle.alpha * (middle.rho - t.rho))
    three = along(t, s, (H(1) + 2 * e_2 + 2 * M) / 6, S)
    yield Stage(x=along(t, s, M, S), at=s, s=three)
    yield Stage(x=S + s.alpha * (s.rho - t.rho) / 6 * M, at=s)
