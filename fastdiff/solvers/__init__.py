"""Solvers: each lowers to a table of rows known before the first model call."""

from typing import TYPE_CHECKING

from ..arguments import attributes, close, describe, did_you_mean
from ..tables.table import StepTable
from ..tables.threshold import DynamicThreshold
from .ancestral_sde import AncestralSDE
from .annealed_langevin import AnnealedLangevin
from .base import Solver, Stage
from .consistency import Consistency
from .ddim import DDIM
from .ddim_cfgpp import DDIMCFGpp
from .ddim_inverse import DDIMInverse
from .ddpm import DDPM
from .deis import DEIS
from .dpm2 import DPM2, DPM2Ancestral
from .dpm_fast import DPMFast
from .dpm_solver import DPMSolver
from .dpm_solver_singlestep import DPMSolverSinglestep
from .dpmpp_2m import DPMpp2M
from .dpmpp_2m_sde import DPMpp2MSDE
from .dpmpp_2s import DPMpp2S
from .dpmpp_2s_ancestral import DPMpp2SAncestral
from .dpmpp_2s_rf import DPMpp2SRF
from .dpmpp_3m import DPMpp3M
from .dpmpp_3m_sde import DPMpp3MSDE
from .dpmpp_sde import DPMppSDE
from .edm_heun import EDMHeun
from .euler import Euler
from .euler_ancestral import EulerAncestral
from .euler_ancestral_rf import EulerAncestralRF
from .euler_maruyama import EulerMaruyama
from .flow_euler import FlowEuler
from .flow_heun import FlowHeun
from .flow_lcm import FlowLCM
from .flow_map import FlowMap
from .heun import Heun
from .inpaint import Inpaint
from .ipndm import IPNDM
from .kdpm2 import KDPM2
from .kdpm2_ancestral import KDPM2Ancestral
from .kdpm2_ancestral_rf import KDPM2AncestralRF
from .lcm import LCM
from .lms import LMS
from .plms import PLMS
from .repaint import RePaint
from .res_multistep import RESMultistep
from .reverse_diffusion import ReverseDiffusion
from .sa_solver import SASolver
from .scm import SCM
from .tcd import TCD
from .unipc import UniPC
from .vdm import VDM

__all__ = [
    "AncestralSDE",
    "AnnealedLangevin",
    "Consistency",
    "DDIM",
    "DDIMCFGpp",
    "DDIMInverse",
    "DDPM",
    "DEIS",
    "DPM2",
    "DPM2Ancestral",
    "DPMFast",
    "DPMSolver",
    "DPMSolverSinglestep",
    "DPMpp2M",
    "DPMpp2MSDE",
    "DPMpp2S",
    "DPMpp2SAncestral",
    "DPMpp2SRF",
    "DPMpp3M",
    "DPMpp3MSDE",
    "DPMppSDE",
    "DynamicThreshold",
    "EDMHeun",
    "Euler",
    "EulerAncestral",
    "EulerAncestralRF",
    "EulerMaruyama",
    "FlowEuler",
    "FlowHeun",
    "FlowLCM",
    "FlowMap",
    "Heun",
    "IPNDM",
    "Inpaint",
    "KDPM2",
    "KDPM2Ancestral",
    "KDPM2AncestralRF",
    "LCM",
    "LMS",
    "PLMS",
    "RESMultistep",
    "RePaint",
    "ReverseDiffusion",
    "SASolver",
    "SCM",
    "Solver",
    "Stage",
    "StepTable",
    "TCD",
    "UniPC",
    "VDM",
    "get",
    "names",
]


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


if not TYPE_CHECKING:  # or no checker would find a wrong name
    __getattr__ = attributes(__name__)
