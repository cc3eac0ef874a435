"""Schedulers in lam = log(alpha / sigma) that look back."""

import diffusers as stock
import torch

from ..habits import OF_SAMPLE, PROMOTES, Habits
from ..noising import ByRatio, BySigma, ByTimestep
from ..plans import lam as plans
from .memory import Adams, Corrected, Multistep, Stages
from .steps import Given, Noisy, Step


class DPMSolverMultistepScheduler(Multistep, Given, ByRatio, stock.DPMSolverMultistepScheduler):
    _planner = plans.dpm_solver
    _habits = Habits("converted", torch.float32)


class DPMSolverMultistepInverseScheduler(
    Multistep, Given, ByRatio, stock.DPMSolverMultistepInverseScheduler
):
    _planner = plans.dpm_solver_inverse
    _habits = PROMOTES
    begin_index = None  # it has none, and looks up timesteps as the other one does
    index_for_timestep = stock.DPMSolverMultistepScheduler.index_for_timestep


class DPMSolverSinglestepScheduler(Stages, Noisy, ByRatio, stock.DPMSolverSinglestepScheduler):
    _planner = plans.singlestep
    _reads, _habits = ("order_list",), PROMOTES


class EDMDPMSolverMultistepScheduler(
    Multistep, Noisy, BySigma, stock.EDMDPMSolverMultistepScheduler
):
    _planner = plans.edm_dpm_solver
    _habits = PROMOTES


class DEISMultistepScheduler(Multistep, Step, ByRatio, stock.DEISMultistepScheduler):
    _planner = plans.deis
    _habits = PROMOTES


class UniPCMultistepScheduler(Corrected, Step, ByRatio, stock.UniPCMultistepScheduler):
    _planner = plans.unipc
    _reads = ("predict_x0", "disable_corrector", "solver_p")
    _habits = OF_SAMPLE


class SASolverScheduler(Adams, Noisy, ByTimestep, stock.SASolverScheduler):
    _planner, _told_too = plans.sa_solver, True
    _reads, _habits = ("predict_x0", "tau_func"), OF_SAMPLE
