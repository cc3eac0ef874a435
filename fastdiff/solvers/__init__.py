"""Solvers: each lowers to a table of rows known before the first model call."""

from .base import Solver as Solver
from .base import Stage as Stage
from .consistency import Consistency as Consistency
from .ddim import DDIM as DDIM
from .ddim_inverse import DDIMInverse as DDIMInverse
from .ddpm import DDPM as DDPM
from .dpmpp_2m import DPMpp2M as DPMpp2M
from .dpmpp_2m_sde import DPMpp2MSDE as DPMpp2MSDE
from .edm_heun import EDMHeun as EDMHeun
from .euler import Euler as Euler
from .euler_ancestral import EulerAncestral as EulerAncestral
from .euler_ancestral_rf import EulerAncestralRF as EulerAncestralRF
from .flow_euler import FlowEuler as FlowEuler
from .flow_heun import FlowHeun as FlowHeun
from .flow_lcm import FlowLCM as FlowLCM
from .flow_map import FlowMap as FlowMap
from .heun import Heun as Heun
from .kdpm2 import KDPM2 as KDPM2
from .kdpm2_ancestral import KDPM2Ancestral as KDPM2Ancestral
from .lcm import LCM as LCM
from .scm import SCM as SCM
from .table import StepTable as StepTable
from .tcd import TCD as TCD
from .threshold import DynamicThreshold as DynamicThreshold
from .unipc import UniPC as UniPC
from .vdm import VDM as VDM


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
