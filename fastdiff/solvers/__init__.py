"""Solvers: each lowers to a table of rows known before the first model call."""

from ..arguments import attributes, close, describe, did_you_mean
from ..tables.table import StepTable as StepTable
from ..tables.threshold import DynamicThreshold as DynamicThreshold
from .ancestral_sde import AncestralSDE as AncestralSDE
from .annealed_langevin import AnnealedLangevin as AnnealedLangevin
from .base import Solver as Solver
from .base import Stage as Stage
from .consistency import Consistency as Consistency
from .ddim import DDIM as DDIM
from .ddim_cfgpp import DDIMCFGpp as DDIMCFGpp
from .ddim_inverse import DDIMInverse as DDIMInverse
from .ddpm import DDPM as DDPM
from .deis import DEIS as DEIS
from .dpm2 import DPM2 as DPM2
from .dpm2 import DPM2Ancestral as DPM2Ancestral
from .dpm_fast import DPMFast as DPMFast
from .dpm_solver import DPMSolver as DPMSolver
from .dpm_solver_singlestep import DPMSolverSinglestep as DPMSolverSinglestep
from .dpmpp_2m import DPMpp2M as DPMpp2M
from .dpmpp_2m_sde import DPMpp2MSDE as DPMpp2MSDE
from .dpmpp_2s import DPMpp2S as DPMpp2S
from .dpmpp_2s_ancestral import DPMpp2SAncestral as DPMpp2SAncestral
from .dpmpp_2s_rf import DPMpp2SRF as DPMpp2SRF
from .dpmpp_3m import DPMpp3M as DPMpp3M
from .dpmpp_3m_sde import DPMpp3MSDE as DPMpp3MSDE
from .dpmpp_sde import DPMppSDE as DPMppSDE
from .edm_heun import EDMHeun as EDMHeun
from .euler import Euler as Euler
from .euler_ancestral import EulerAncestral as EulerAncestral
from .euler_ancestral_rf import EulerAncestralRF as EulerAncestralRF
from .euler_maruyama import EulerMaruyama as EulerMaruyama
from .flow_euler import FlowEuler as FlowEuler
from .flow_heun import FlowHeun as FlowHeun
from .flow_lcm import FlowLCM as FlowLCM
from .flow_map import FlowMap as FlowMap
from .heun import Heun as Heun
from .inpaint import Inpaint as Inpaint
from .ipndm import IPNDM as IPNDM
from .kdpm2 import KDPM2 as KDPM2
from .kdpm2_ancestral import KDPM2Ancestral as KDPM2Ancestral
from .kdpm2_ancestral_rf import KDPM2AncestralRF as KDPM2AncestralRF
from .lcm import LCM as LCM
from .lms import LMS as LMS
from .plms import PLMS as PLMS
from .repaint import RePaint as RePaint
from .res_multistep import RESMultistep as RESMultistep
from .reverse_diffusion import ReverseDiffusion as ReverseDiffusion
from .sa_solver import SASolver as SASolver
from .scm import SCM as SCM
from .tcd import TCD as TCD
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
    if not isinstance(name, str) or name not in names():
        meant = close(name, names()) if isinstance(name, str) else None
        raise ValueError(
            f"name must be one of {', '.join(names())}, got {describe(name)}{did_you_mean(meant)}"
        )
    return globals()[name]


__getattr__ = attributes(__name__)
