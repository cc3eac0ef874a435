"""Solvers: each lowers to a table of rows known before the first model call."""

from .base import Solver as Solver
from .base import Stage as Stage
from .ddim import DDIM as DDIM
from .ddpm import DDPM as DDPM
from .dpmpp_2m import DPMpp2M as DPMpp2M
from .dpmpp_2m_sde import DPMpp2MSDE as DPMpp2MSDE
from .euler import Euler as Euler
from .euler_ancestral import EulerAncestral as EulerAncestral
from .heun import Heun as Heun
from .table import StepTable as StepTable
from .unipc import UniPC as UniPC


def names() -> tuple[str, ...]:
    """Names of the solvers, sorted."""
    solvers = (
        v
        for v in globals().values()
        if isinstance(v, type) and issubclass(v, Solver) and v is not Solver
    )
    return tuple(sorted(solver.__name__ for solver in solvers))


def get(name: str) -> type[Solver]:
    """The solver class called ``name``."""
    if name not in names():
        raise ValueError(f"name must be one of {', '.join(names())}, got {name!r}")
    return globals()[name]
