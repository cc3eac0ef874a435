from dataclasses import dataclass, field

from ..row import HISTORY
from ..tables.lin import X0, H, M, X
from .adams import integral
from .base import Solver, Stage
from .kappa import first_order
from .options import check_flag


def along(t, s, slope, base=X):
    """From t to s, where d(x / alpha) / d rho = eps has the mean ``slope`` on the way."""
    return (s.alpha / t.alpha) * base + s.alpha * (s.rho - t.rho) * slope


def bashforth(nodes):
    """The mean over the next interval of eps, extrapolated from M and the older ``nodes``:
    (r, eps), r < 0 in intervals."""
    return integral(M, nodes, [1 / (k + 1) for k in range(len(nodes) + 1)])


@dataclass(frozen=True)
class LMS(Solver):
    """Linear multistep, Adams-Bashforth in rho = sigma / alpha; k-diffusion's ``lms``.

    x_s / alpha_s = x / alpha_t + sum_j eps_j int l_j(rho) drho,   l_j the Lagrange polynomials

    with the exact integrals, for any spacing.

    Attributes:
        order: how many outputs are used, 1 to 5; the first steps have as many as there are.
        final_denoise: the step to clean data is the model's x0; False: it extrapolates, too.
    """

    order: int = 4
    final_denoise: bool = field(default=False, kw_only=True)
    prediction_target = "eps"

    def __post_init__(self):
        self.check_choice("order", *range(1, HISTORY + 2))
        check_flag(self, "final_denoise")

    @property
    def convergence(self):
        return min(self.order, 2)  # the lower-order start-up limits the others

    def age(self, path, i, k) -> float:
        """How far the start of step i - k lies behind that of step i, in lengths of step i."""
        t, s = path[i], path[i + 1]
        return (path[i - k].rho - t.rho) / (s.rho - t.rho)

    def steps(self, path):
        for i, t, s in path.steps():
            if t.is_pure_noise or s.is_pure_noise or (s.is_clean and self.final_denoise):
                x = first_order(t, s).substitute("m", X0)
            else:
                order = min(self.order, path.known(i))
                nodes = [(self.age(path, i, k), H(k)) for k in range(1, order)]
                x = along(t, s, bashforth(nodes))
            yield Stage(x=x, at=s, remember=M)
