"""The schedulers of diffusers that have a fused twin: one record for each.

A scheduler that works as one of these does needs no more than its record, and an adapter.
"""

from dataclasses import replace
from typing import Any

import torch

from ..adapters import flow, log_snr, sigmas, timesteps
from ..add_noise import ByFlow, ByRatio, BySigma, ByTimestep, WithVelocity
from ..spec import OF_SAMPLE, PROMOTES, DtypePolicy, Spec
from . import special
from .memory import Adams, Corrected, Midpoint, Multistep, Plms, Slopes, Stages, TwoStage

#: What they return is a blend of the sample and the output, noised in its own dtype.
BLENDS = DtypePolicy("promoted", "promoted", "promoted", hands_on=False)
WIDE = DtypePolicy("wide", "sample", "wide")
CHURN = ("s_churn", "s_tmin", "s_tmax", "s_noise")
UNIPC = ("predict_x0", "disable_corrector", "solver_p")
UNORDERED = "timesteps that do not follow each other"
FINAL = ("final_alpha_cumprod", "num_inference_steps")

#: These return x0, too.
X0_TOO: dict[str, Any] = {"dtypes": PROMOTES, "returns": 2}
#: The step of these gets a timestep, and looks up what it needs.
NO_COUNT: dict[str, Any] = {"index": "timestep", "counter": None}
#: These look it up in a table of alphas.
ALPHAS: dict[str, Any] = {**NO_COUNT, "levels": "alphas_cumprod"}
#: These expect of a loop what k-diffusion's do.
KARRAS: dict[str, Any] = {"floating_timesteps": True, "scales_input": True}
#: These follow score_sde.
SCORE_SDE: dict[str, Any] = {**NO_COUNT, "dtypes": WIDE, "returns": 2}
#: Samplers of consistency models count, and look up the level of a timestep all the same.
CONSISTENCY: dict[str, Any] = {
    "add_noise": WithVelocity, "index": "both", "levels": "alphas_cumprod", "depends_on": FINAL,
    "dtypes": BLENDS, "returns": 2,
}  # fmt: skip

DDPM = Spec(
    timesteps.ddpm, **ALPHAS, **X0_TOO, add_noise=WithVelocity, needs_timesteps=False,
    depends_on=("variance_type", "custom_timesteps", "num_inference_steps"),
)  # fmt: skip
DDIM = Spec(
    timesteps.ddim, **ALPHAS, **X0_TOO, add_noise=WithVelocity, depends_on=FINAL,
    options=("eta", "use_clipped_model_output"), one_noise=True,
)  # fmt: skip

#: name -> record
SPECS = {
    "DDPMScheduler": DDPM,
    "DDPMParallelScheduler": DDPM,
    "DDPMWuerstchenScheduler": Spec(
        timesteps.wuerstchen, **NO_COUNT, levels="timesteps", depends_on=("scaler",)
    ),
    "UnCLIPScheduler": Spec(
        timesteps.unclip, special.UnCLIP, **ALPHAS, **X0_TOO, add_noise=ByTimestep,
        depends_on=("variance_type",), needs_timesteps=False,
    ),
    "DDIMScheduler": DDIM,
    "DDIMParallelScheduler": DDIM,
    # it takes the options of DDIM, and ignores them
    "CogVideoXDDIMScheduler": replace(DDIM, adapter=timesteps.cogvideox_ddim, options=()),
    "DDIMInverseScheduler": Spec(
        timesteps.ddim_inverse, **ALPHAS, **X0_TOO,
        depends_on=("initial_alpha_cumprod", "num_inference_steps"),
    ),
    "RePaintScheduler": Spec(
        timesteps.repaint, special.RePaint, **ALPHAS, **X0_TOO, depends_on=(*FINAL, "eta")
    ),
    "PNDMScheduler": Spec(
        timesteps.pndm, Plms, add_noise=ByTimestep, index="both", counter="counter",
        levels="alphas_cumprod", depends_on=FINAL, dtypes=PROMOTES,
    ),
    "EulerDiscreteScheduler": Spec(
        sigmas.euler, **KARRAS, add_noise=BySigma, returns=2, options=CHURN, needs_timesteps=False
    ),
    "EulerAncestralDiscreteScheduler": Spec(
        sigmas.euler_ancestral, **KARRAS, add_noise=BySigma, returns=2, needs_timesteps=False
    ),
    "HeunDiscreteScheduler": Spec(sigmas.heun, TwoStage, **X0_TOO, add_noise=BySigma),
    "KDPM2DiscreteScheduler": Spec(sigmas.kdpm2, Midpoint, **X0_TOO, add_noise=BySigma),
    "KDPM2AncestralDiscreteScheduler": Spec(
        sigmas.kdpm2_ancestral, Midpoint, **X0_TOO, add_noise=BySigma, tensors=("sigmas_down",)
    ),
    "LMSDiscreteScheduler": Spec(
        sigmas.lms, Slopes, **X0_TOO, stored=("derivatives",), add_noise=BySigma,
        options=("order",), scales_input=True,
    ),
    "IPNDMScheduler": Spec(
        sigmas.ipndm, Slopes, stored=("ets",), levels="betas", tensors=("alphas",), dtypes=PROMOTES
    ),
    "EDMEulerScheduler": Spec(
        sigmas.edm_euler, **KARRAS, add_noise=BySigma, returns=2, options=("s_churn",),
        refuses=("pred_original_sample",),
    ),
    "DPMSolverMultistepScheduler": Spec(
        log_snr.dpm_solver, Multistep, add_noise=ByRatio,
        dtypes=DtypePolicy("converted", torch.float32),
    ),
    "DPMSolverMultistepInverseScheduler": Spec(
        log_snr.dpm_solver_inverse, special.Inverse, add_noise=ByRatio, dtypes=PROMOTES
    ),
    "DPMSolverSinglestepScheduler": Spec(
        log_snr.singlestep, Stages, add_noise=ByRatio, depends_on=("order_list",), dtypes=PROMOTES
    ),
    "EDMDPMSolverMultistepScheduler": Spec(
        log_snr.edm_dpm_solver, Multistep, add_noise=BySigma, dtypes=PROMOTES
    ),
    "DEISMultistepScheduler": Spec(log_snr.deis, Multistep, add_noise=ByRatio, dtypes=PROMOTES),
    "UniPCMultistepScheduler": Spec(
        log_snr.unipc, Corrected, add_noise=ByRatio, dtypes=OF_SAMPLE, depends_on=UNIPC
    ),
    "SASolverScheduler": Spec(
        log_snr.sa_solver, Adams, add_noise=ByTimestep, index="both", dtypes=OF_SAMPLE,
        depends_on=("predict_x0", "tau_func"),
    ),
    "FlowMatchEulerDiscreteScheduler": Spec(
        flow.flow_match_euler, add_noise=ByFlow, dtypes=DtypePolicy(noise=torch.float32),
        refuses=("per_token_timesteps",), floating_timesteps=True,
    ),
    "FlowMatchHeunDiscreteScheduler": Spec(
        flow.flow_match_heun, TwoStage, options=CHURN, floating_timesteps=True
    ),
    "FlowMatchLCMScheduler": Spec(
        flow.flow_match_lcm, add_noise=ByFlow, dtypes=DtypePolicy(noise="single"),
        depends_on=("_scale_factors", "_upscale_mode"), floating_timesteps=True,
    ),
    "LTXEulerAncestralRFScheduler": Spec(
        flow.ltx_ancestral, dtypes=DtypePolicy("sample", noise=torch.float32),
        floating_timesteps=True,
    ),
    "FlowMapEulerDiscreteScheduler": Spec(
        flow.flow_map, index="timestep", refuses=("r_timestep",)
    ),
    "MiniMaxH3Scheduler": Spec(
        flow.minimax_h3, special.MiniMaxH3, index="both", dtypes=DtypePolicy("sample"),
        floating_timesteps=True,
    ),
    "CMStochasticIterativeScheduler": Spec(
        flow.consistency, **KARRAS, add_noise=BySigma, dtypes=PROMOTES, needs_timesteps=False
    ),
    "ConsistencyDecoderScheduler": Spec(
        flow.consistency_decoder, **NO_COUNT, levels="c_skip", dtypes=BLENDS,
        tensors=("c_out", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod"),
    ),
    "LCMScheduler": Spec(timesteps.lcm, **CONSISTENCY),
    "TCDScheduler": Spec(timesteps.tcd, **CONSISTENCY, options=("eta",)),
    "SCMScheduler": Spec(
        flow.scm, levels="timesteps", returns=2,
        dtypes=DtypePolicy("wide", torch.float32, "promoted"),
    ),
    "RFD4ProteinaScheduler": Spec(
        flow.rfd4_proteina, special.RFD4Proteina, index="timestep", levels="_times",
        dtypes=DtypePolicy("wide", "sample"), no_row=UNORDERED,
    ),
    "CogVideoXDPMScheduler": Spec(
        timesteps.cogvideox_dpm, special.CogVideoXDPM, **ALPHAS, add_noise=WithVelocity,
        depends_on=FINAL, dtypes=DtypePolicy("promoted", "sample", "promoted"), returns=2,
        no_row=UNORDERED,
    ),
    "ScoreSdeVeScheduler": Spec(
        flow.score_sde_ve, special.ScoreSdeVe, **SCORE_SDE, levels="discrete_sigmas"
    ),
    "ScoreSdeVpScheduler": Spec(
        flow.score_sde_vp, special.ScoreSdeVp, **SCORE_SDE, levels="timesteps"
    ),
    "DPMSolverSDEScheduler": Spec(
        sigmas.dpm_solver_sde, special.DPMSolverSDE, **X0_TOO, add_noise=BySigma,
        options=("s_noise",),
    ),
    "CosineDPMSolverMultistepScheduler": Spec(
        log_snr.cosine_dpm_solver, special.CosineDPMSolver, add_noise=BySigma, dtypes=PROMOTES
    ),
    "HeliosScheduler": Spec(log_snr.helios, special.Helios, depends_on=UNIPC),
    "HeliosDMDScheduler": Spec(
        flow.helios_dmd, special.HeliosDMD, **NO_COUNT, noise_given=True,
        no_row="a timestep that is not that of cur_sampling_step",
    ),
    "KarrasVeScheduler": Spec(
        sigmas.karras_ve, special.KarrasVe, **X0_TOO, counter=None, levels="schedule",
        depends_on=("num_inference_steps",), no_row="sigmas that are not two of its schedule",
    ),
}  # fmt: skip
