"""The schedulers of diffusers that have a fused twin: one record for each.

A scheduler that works as one of these does needs no more than its record, and an adapter.
"""

import torch

from ..adapters import flow, log_snr, sigmas, timesteps
from ..add_noise import ByFlow, ByRatio, BySigma, ByTimestep, WithVelocity
from ..dtypes import OF_SAMPLE, PROMOTES, DtypePolicy
from . import special
from .memory import Adams, Corrected, Midpoint, Multistep, Plms, Slopes, Stages, TwoStage
from .spec import Spec

#: What they return is a blend of the sample and the output, noised in its own dtype.
BLENDS = DtypePolicy("promoted", "promoted", "promoted", hands_on=False)
WIDE = DtypePolicy("wide", "sample", "wide")
CHURN = ("s_churn", "s_tmin", "s_tmax", "s_noise")

#: Of schedulers with a table of alphas, of which each step looks up that of its timestep.
BY_TIMESTEP = {"index": "timestep", "counter": None, "levels": "alphas_cumprod"}
#: Of those that return x0, too.
X0_TOO = {"dtypes": PROMOTES, "returns": 2}
#: Of those that follow k-diffusion in what they expect of a loop.
KARRAS = {"floating_timesteps": True, "scales_input": True}
FINAL = ("final_alpha_cumprod", "num_inference_steps")
#: Of those that follow score_sde.
SCORE_SDE = {"index": "timestep", "counter": None, "dtypes": WIDE, "returns": 2}
#: Of samplers of consistency models: they count, and look up the level of a timestep all the same.
CONSISTENCY = {
    "add_noise": WithVelocity,
    "index": "both",
    "levels": "alphas_cumprod",
    "depends_on": FINAL,
    "dtypes": BLENDS,
    "returns": 2,
}

DDPM = Spec(
    **BY_TIMESTEP,
    adapter=timesteps.ddpm,
    add_noise=WithVelocity,
    depends_on=("variance_type", "custom_timesteps", "num_inference_steps"),
    **X0_TOO,
    needs_timesteps=False,
)
DDIM = Spec(
    **BY_TIMESTEP,
    adapter=timesteps.ddim,
    add_noise=WithVelocity,
    depends_on=FINAL,
    **X0_TOO,
    options=("eta", "use_clipped_model_output"),
    one_noise=True,
)

#: name -> record
SPECS = {
    "DDPMScheduler": DDPM,
    "DDPMParallelScheduler": DDPM,
    "DDPMWuerstchenScheduler": Spec(
        adapter=timesteps.wuerstchen,
        index="timestep",
        counter=None,
        levels="timesteps",
        depends_on=("scaler",),
    ),
    "UnCLIPScheduler": Spec(
        **BY_TIMESTEP,
        adapter=timesteps.unclip,
        kind=special.UnCLIP,
        add_noise=ByTimestep,
        depends_on=("variance_type",),
        **X0_TOO,
        needs_timesteps=False,
    ),
    "DDIMScheduler": DDIM,
    "DDIMParallelScheduler": DDIM,
    "CogVideoXDDIMScheduler": Spec(  # it takes the options of DDIM, and ignores them
        **BY_TIMESTEP,
        adapter=timesteps.cogvideox_ddim,
        add_noise=WithVelocity,
        depends_on=FINAL,
        **X0_TOO,
        one_noise=True,
    ),
    "DDIMInverseScheduler": Spec(
        **BY_TIMESTEP,
        adapter=timesteps.ddim_inverse,
        depends_on=("initial_alpha_cumprod", "num_inference_steps"),
        **X0_TOO,
    ),
    "RePaintScheduler": Spec(
        **BY_TIMESTEP,
        adapter=timesteps.repaint,
        kind=special.RePaint,
        depends_on=(*FINAL, "eta"),
        **X0_TOO,
    ),
    "PNDMScheduler": Spec(
        adapter=timesteps.pndm,
        kind=Plms,
        add_noise=ByTimestep,
        index="both",
        counter="counter",
        levels="alphas_cumprod",
        depends_on=FINAL,
        dtypes=PROMOTES,
    ),
    "EulerDiscreteScheduler": Spec(
        adapter=sigmas.euler,
        add_noise=BySigma,
        returns=2,
        options=CHURN,
        needs_timesteps=False,
        **KARRAS,
    ),
    "EulerAncestralDiscreteScheduler": Spec(
        adapter=sigmas.euler_ancestral,
        add_noise=BySigma,
        returns=2,
        needs_timesteps=False,
        **KARRAS,
    ),
    "HeunDiscreteScheduler": Spec(adapter=sigmas.heun, kind=TwoStage, add_noise=BySigma, **X0_TOO),
    "KDPM2DiscreteScheduler": Spec(
        adapter=sigmas.kdpm2, kind=Midpoint, add_noise=BySigma, **X0_TOO
    ),
    "KDPM2AncestralDiscreteScheduler": Spec(
        adapter=sigmas.kdpm2_ancestral,
        kind=Midpoint,
        add_noise=BySigma,
        tensors=("sigmas_down",),
        **X0_TOO,
    ),
    "LMSDiscreteScheduler": Spec(
        adapter=sigmas.lms,
        kind=Slopes,
        stored=("derivatives",),
        add_noise=BySigma,
        **X0_TOO,
        options=("order",),
        scales_input=True,
    ),
    "IPNDMScheduler": Spec(
        adapter=sigmas.ipndm,
        kind=Slopes,
        stored=("ets",),
        levels="betas",
        tensors=("alphas",),
        dtypes=PROMOTES,
    ),
    "EDMEulerScheduler": Spec(
        adapter=sigmas.edm_euler,
        add_noise=BySigma,
        returns=2,
        options=("s_churn",),
        refuses=("pred_original_sample",),
        **KARRAS,
    ),
    "DPMSolverMultistepScheduler": Spec(
        adapter=log_snr.dpm_solver,
        kind=Multistep,
        add_noise=ByRatio,
        dtypes=DtypePolicy("converted", torch.float32),
    ),
    "DPMSolverMultistepInverseScheduler": Spec(
        adapter=log_snr.dpm_solver_inverse, kind=special.Inverse, add_noise=ByRatio, dtypes=PROMOTES
    ),
    "DPMSolverSinglestepScheduler": Spec(
        adapter=log_snr.singlestep,
        kind=Stages,
        add_noise=ByRatio,
        depends_on=("order_list",),
        dtypes=PROMOTES,
    ),
    "EDMDPMSolverMultistepScheduler": Spec(
        adapter=log_snr.edm_dpm_solver, kind=Multistep, add_noise=BySigma, dtypes=PROMOTES
    ),
    "DEISMultistepScheduler": Spec(
        adapter=log_snr.deis, kind=Multistep, add_noise=ByRatio, dtypes=PROMOTES
    ),
    "UniPCMultistepScheduler": Spec(
        adapter=log_snr.unipc,
        kind=Corrected,
        add_noise=ByRatio,
        depends_on=("predict_x0", "disable_corrector", "solver_p"),
        dtypes=OF_SAMPLE,
    ),
    "SASolverScheduler": Spec(
        adapter=log_snr.sa_solver,
        kind=Adams,
        add_noise=ByTimestep,
        index="both",
        depends_on=("predict_x0", "tau_func"),
        dtypes=OF_SAMPLE,
    ),
    "FlowMatchEulerDiscreteScheduler": Spec(
        adapter=flow.flow_match_euler,
        add_noise=ByFlow,
        dtypes=DtypePolicy(noise=torch.float32),
        refuses=("per_token_timesteps",),
        floating_timesteps=True,
    ),
    "FlowMatchHeunDiscreteScheduler": Spec(
        adapter=flow.flow_match_heun, kind=TwoStage, options=CHURN, floating_timesteps=True
    ),
    "FlowMatchLCMScheduler": Spec(
        adapter=flow.flow_match_lcm,
        add_noise=ByFlow,
        depends_on=("_scale_factors", "_upscale_mode"),
        dtypes=DtypePolicy(noise="single"),
        floating_timesteps=True,
    ),
    "LTXEulerAncestralRFScheduler": Spec(
        adapter=flow.ltx_ancestral,
        dtypes=DtypePolicy("sample", noise=torch.float32),
        floating_timesteps=True,
    ),
    "FlowMapEulerDiscreteScheduler": Spec(
        adapter=flow.flow_map, index="timestep", refuses=("r_timestep",)
    ),
    "MiniMaxH3Scheduler": Spec(
        adapter=flow.minimax_h3,
        kind=special.MiniMaxH3,
        index="both",
        dtypes=DtypePolicy("sample"),
        floating_timesteps=True,
    ),
    "CMStochasticIterativeScheduler": Spec(
        adapter=flow.consistency,
        add_noise=BySigma,
        dtypes=PROMOTES,
        needs_timesteps=False,
        **KARRAS,
    ),
    "ConsistencyDecoderScheduler": Spec(
        adapter=flow.consistency_decoder,
        index="timestep",
        counter=None,
        levels="c_skip",
        tensors=("c_out", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod"),
        dtypes=BLENDS,
    ),
    "LCMScheduler": Spec(**CONSISTENCY, adapter=timesteps.lcm),
    "TCDScheduler": Spec(**CONSISTENCY, adapter=timesteps.tcd, options=("eta",)),
    "SCMScheduler": Spec(
        adapter=flow.scm,
        levels="timesteps",
        dtypes=DtypePolicy("wide", torch.float32, "promoted"),
        returns=2,
    ),
    "RFD4ProteinaScheduler": Spec(
        adapter=flow.rfd4_proteina,
        kind=special.RFD4Proteina,
        index="timestep",
        levels="_times",
        dtypes=DtypePolicy("wide", "sample"),
        astray="timesteps that do not follow each other",
    ),
    "CogVideoXDPMScheduler": Spec(
        **BY_TIMESTEP,
        adapter=timesteps.cogvideox_dpm,
        kind=special.CogVideoXDPM,
        add_noise=WithVelocity,
        depends_on=FINAL,
        dtypes=DtypePolicy("promoted", "sample", "promoted"),
        returns=2,
        astray="timesteps that do not follow each other",
    ),
    "ScoreSdeVeScheduler": Spec(
        **SCORE_SDE,
        adapter=flow.score_sde_ve,
        kind=special.ScoreSdeVe,
        levels="discrete_sigmas",
    ),
    "ScoreSdeVpScheduler": Spec(
        **SCORE_SDE,
        adapter=flow.score_sde_vp,
        kind=special.ScoreSdeVp,
        levels="timesteps",
    ),
    "DPMSolverSDEScheduler": Spec(
        adapter=sigmas.dpm_solver_sde,
        kind=special.DPMSolverSDE,
        add_noise=BySigma,
        **X0_TOO,
        options=("s_noise",),
    ),
    "CosineDPMSolverMultistepScheduler": Spec(
        adapter=log_snr.cosine_dpm_solver,
        kind=special.CosineDPMSolver,
        add_noise=BySigma,
        dtypes=PROMOTES,
    ),
    "HeliosScheduler": Spec(
        adapter=log_snr.helios,
        kind=special.Helios,
        depends_on=("predict_x0", "disable_corrector", "solver_p"),
    ),
    "HeliosDMDScheduler": Spec(
        adapter=flow.helios_dmd,
        kind=special.HeliosDMD,
        index="timestep",
        counter=None,
        noise_given=True,
        astray="a timestep that is not that of cur_sampling_step",
    ),
    "KarrasVeScheduler": Spec(
        adapter=sigmas.karras_ve,
        kind=special.KarrasVe,
        counter=None,
        levels="schedule",
        depends_on=("num_inference_steps",),
        **X0_TOO,
        astray="sigmas that are not two of its schedule",
    ),
}
