"""The fused schedulers: which plan, and in what the stock classes differ from each other."""

import diffusers as stock
import torch
from diffusers import SchedulerMixin as SchedulerMixin

from . import flow, multistep, sigmas, timesteps
from .fused import Fused
from .run import Habits

PROMOTES = Habits(upcasts=False)
INF = float("inf")


class _Step(Fused):
    """Steps that take nothing but the model's output."""

    def step(self, model_output, timestep, sample, return_dict=True):
        done = self._advance(model_output, timestep, sample, return_dict)
        if done is None:
            return self.stock.step(self, model_output, timestep, sample, return_dict=return_dict)
        return done


class _Noisy(Fused):
    """Steps that take a generator."""

    def step(self, model_output, timestep, sample, generator=None, return_dict=True):
        done = self._advance(model_output, timestep, sample, return_dict, generator)
        if done is None:
            return self.stock.step(
                self, model_output, timestep, sample, generator=generator, return_dict=return_dict
            )
        return done


class _Given(Fused):
    """Steps that take a generator, or the noise."""

    def step(
        self, model_output, timestep, sample, generator=None, variance_noise=None, return_dict=True
    ):
        done = self._advance(model_output, timestep, sample, return_dict, generator, variance_noise)
        if done is None:
            return self.stock.step(
                self, model_output, timestep, sample, generator, variance_noise, return_dict
            )
        return done


class _Eta(Fused):
    """The steps of DDIM."""

    def step(
        self, model_output, timestep, sample, eta=0.0, use_clipped_model_output=False,
        generator=None, variance_noise=None, return_dict=True,
    ):  # fmt: skip
        done = None
        if generator is None or variance_noise is None:
            done = self._advance(
                model_output, timestep, sample, return_dict, generator, variance_noise,
                self._chosen(eta, use_clipped_model_output),
            )  # fmt: skip
        if done is None:
            return self.stock.step(
                self, model_output, timestep, sample, eta, use_clipped_model_output, generator,
                variance_noise, return_dict,
            )  # fmt: skip
        return done

    def _chosen(self, eta, clipped):
        return eta, clipped


class _TwoStage(Fused):
    """Schedulers with two evaluations in a step."""

    _looks_back = True

    def _count(self, place, sample):
        index = self._step_index
        first = place % 2 == 0
        self.dt = self.sigmas[index + 1] - self.sigmas[index] if first else None
        self._step_index = index + 1


class _Midpoint(Fused):
    """Those that keep the sample between the two."""

    _looks_back = True

    def _count(self, place, sample):
        self.sample = sample if place % 2 == 0 else None
        self._step_index += 1


class _Churned(Fused):
    """Steps with the churn of Karras et al."""

    def step(
        self, model_output, timestep, sample, s_churn=0.0, s_tmin=0.0, s_tmax=INF, s_noise=1.0,
        generator=None, return_dict=True,
    ):  # fmt: skip
        options = (s_churn, s_tmin, s_tmax, s_noise) if s_churn else ()
        done = self._advance(model_output, timestep, sample, return_dict, generator, None, options)
        if done is None:
            return self.stock.step(
                self, model_output, timestep, sample, s_churn, s_tmin, s_tmax, s_noise,
                generator=generator, return_dict=return_dict,
            )  # fmt: skip
        return done


# -- told a timestep -----------------------------------------------------------------------------


class DDPMScheduler(_Noisy, stock.DDPMScheduler):
    _planner, _levels, _counter, _told = timesteps.ddpm, "alphas_cumprod", None, True
    _reads = ("variance_type", "custom_timesteps", "num_inference_steps")
    _habits, _second = PROMOTES, True


class DDPMParallelScheduler(_Noisy, stock.DDPMParallelScheduler):
    _planner, _levels, _counter, _told = timesteps.ddpm, "alphas_cumprod", None, True
    _reads = ("variance_type", "custom_timesteps", "num_inference_steps")
    _habits, _second = PROMOTES, True


class DDPMWuerstchenScheduler(_Noisy, stock.DDPMWuerstchenScheduler):
    _planner, _levels, _counter, _told = timesteps.wuerstchen, "timesteps", None, True
    _reads = ("scaler",)


class UnCLIPScheduler(Fused, stock.UnCLIPScheduler):
    _planner, _levels, _counter, _told = timesteps.unclip, "alphas_cumprod", None, True
    _reads = ("variance_type",)
    _habits, _second = PROMOTES, True

    def step(
        self, model_output, timestep, sample, prev_timestep=None, generator=None, return_dict=True
    ):
        done = None
        if timesteps.follows(timestep, prev_timestep, self.timesteps):
            done = self._advance(model_output, timestep, sample, return_dict, generator)
        if done is None:
            return self.stock.step(
                self, model_output, timestep, sample, prev_timestep, generator, return_dict
            )
        return done


class DDIMScheduler(_Eta, stock.DDIMScheduler):
    _planner, _levels, _counter, _told = timesteps.ddim, "alphas_cumprod", None, True
    _reads = ("final_alpha_cumprod", "num_inference_steps")
    _habits, _second = PROMOTES, True


class DDIMParallelScheduler(_Eta, stock.DDIMParallelScheduler):
    _planner, _levels, _counter, _told = timesteps.ddim, "alphas_cumprod", None, True
    _reads = ("final_alpha_cumprod", "num_inference_steps")
    _habits, _second = PROMOTES, True


class CogVideoXDDIMScheduler(_Eta, stock.CogVideoXDDIMScheduler):
    _planner, _levels, _counter, _told = timesteps.cogvideox_ddim, "alphas_cumprod", None, True
    _reads = ("final_alpha_cumprod", "num_inference_steps")
    _habits, _second = PROMOTES, True

    def _chosen(self, eta, clipped):
        return ()  # takes the arguments, and ignores them


class DDIMInverseScheduler(_Step, stock.DDIMInverseScheduler):
    _planner, _levels, _counter, _told = timesteps.ddim_inverse, "alphas_cumprod", None, True
    _reads = ("initial_alpha_cumprod", "num_inference_steps")
    _habits, _second = PROMOTES, True


class RePaintScheduler(Fused, stock.RePaintScheduler):
    _planner, _levels, _counter, _told = timesteps.repaint, "alphas_cumprod", None, True
    _reads = ("final_alpha_cumprod", "num_inference_steps", "eta")
    _habits, _second = PROMOTES, True

    def _keys(self, timesteps):
        return sorted(set(timesteps), reverse=True)

    def step(
        self, model_output, timestep, sample, original_image, mask, generator=None, return_dict=True
    ):
        done = self._advance(
            model_output, timestep, sample, return_dict, generator, known=(original_image, mask)
        )
        if done is None:
            return self.stock.step(
                self, model_output, timestep, sample, original_image, mask, generator, return_dict
            )
        return done


class PNDMScheduler(_Step, stock.PNDMScheduler):
    _planner, _levels, _counter = timesteps.pndm, "alphas_cumprod", "counter"
    _reads = ("final_alpha_cumprod", "num_inference_steps")
    _habits, _looks_back = PROMOTES, True

    def _planned(self, host, begin, options, timestep):
        timesteps.check_first(timestep, self.timesteps)
        return timesteps.pndm(host, begin)


# -- sigmas ----------------------------------------------------------------------------------------


class EulerDiscreteScheduler(_Churned, stock.EulerDiscreteScheduler):
    _planner = sigmas.euler
    _second = _floating = _scales = True


class EulerAncestralDiscreteScheduler(_Noisy, stock.EulerAncestralDiscreteScheduler):
    _planner = sigmas.euler_ancestral
    _second = _floating = _scales = True


class HeunDiscreteScheduler(_TwoStage, _Step, stock.HeunDiscreteScheduler):
    _planner = sigmas.heun
    _habits, _second = PROMOTES, True


class KDPM2DiscreteScheduler(_Midpoint, _Step, stock.KDPM2DiscreteScheduler):
    _planner = sigmas.kdpm2
    _habits, _second = PROMOTES, True


class KDPM2AncestralDiscreteScheduler(_Midpoint, _Noisy, stock.KDPM2AncestralDiscreteScheduler):
    _planner, _also = sigmas.kdpm2_ancestral, ("sigmas_down",)
    _habits, _second = PROMOTES, True


class LMSDiscreteScheduler(Fused, stock.LMSDiscreteScheduler):
    _planner, _looks_back = sigmas.lms, True
    _habits, _second, _scales = PROMOTES, True, True

    def step(self, model_output, timestep, sample, order=4, return_dict=True):
        done = self._advance(model_output, timestep, sample, return_dict, options=(order,))
        if done is None:
            return self.stock.step(self, model_output, timestep, sample, order, return_dict)
        return done


class IPNDMScheduler(_Step, stock.IPNDMScheduler):
    _planner, _levels, _also, _looks_back = sigmas.ipndm, "betas", ("alphas",), True
    _habits = PROMOTES


class EDMEulerScheduler(Fused, stock.EDMEulerScheduler):
    _planner = sigmas.edm_euler
    _second = _floating = _scales = True

    def step(
        self, model_output, timestep, sample, s_churn=0.0, s_tmin=0.0, s_tmax=INF, s_noise=1.0,
        generator=None, return_dict=True, pred_original_sample=None,
    ):  # fmt: skip
        done = None
        if pred_original_sample is None:
            options = (s_churn,) if s_churn else ()
            done = self._advance(model_output, timestep, sample, return_dict, options=options)
        if done is None:
            return self.stock.step(
                self, model_output, timestep, sample, s_churn, s_tmin, s_tmax, s_noise, generator,
                return_dict, pred_original_sample,
            )  # fmt: skip
        return done


# -- lam -------------------------------------------------------------------------------------------


class DPMSolverMultistepScheduler(_Given, stock.DPMSolverMultistepScheduler):
    _planner, _looks_back = multistep.dpm_solver, True
    _habits = Habits(noise=torch.float32)


class DPMSolverSinglestepScheduler(_Noisy, stock.DPMSolverSinglestepScheduler):
    _planner, _looks_back = multistep.singlestep, True
    _reads, _habits = ("order_list",), PROMOTES


class EDMDPMSolverMultistepScheduler(_Noisy, stock.EDMDPMSolverMultistepScheduler):
    _planner, _looks_back = multistep.edm_dpm_solver, True
    _habits = PROMOTES


class DEISMultistepScheduler(_Step, stock.DEISMultistepScheduler):
    _planner, _looks_back = multistep.deis, True
    _habits = PROMOTES


class UniPCMultistepScheduler(_Step, stock.UniPCMultistepScheduler):
    _planner, _looks_back = multistep.unipc, True
    _reads = ("predict_x0", "disable_corrector", "solver_p")
    _habits = PROMOTES


class SASolverScheduler(_Noisy, stock.SASolverScheduler):
    _planner, _looks_back = multistep.sa_solver, True
    _reads, _habits = ("predict_x0", "tau_func"), PROMOTES


# -- flows and consistency models ------------------------------------------------------------------


class FlowMatchEulerDiscreteScheduler(Fused, stock.FlowMatchEulerDiscreteScheduler):
    _planner, _floating = flow.flow_match_euler, True
    _habits = Habits(noise=torch.float32)

    def step(
        self, model_output, timestep, sample, s_churn=0.0, s_tmin=0.0, s_tmax=INF, s_noise=1.0,
        generator=None, per_token_timesteps=None, return_dict=True,
    ):  # fmt: skip
        done = None
        if per_token_timesteps is None:
            done = self._advance(model_output, timestep, sample, return_dict, generator)
        if done is None:
            return self.stock.step(
                self, model_output, timestep, sample, s_churn, s_tmin, s_tmax, s_noise, generator,
                per_token_timesteps, return_dict,
            )  # fmt: skip
        return done


class FlowMatchHeunDiscreteScheduler(_TwoStage, _Churned, stock.FlowMatchHeunDiscreteScheduler):
    _planner, _floating = flow.flow_match_heun, True


class FlowMatchLCMScheduler(_Noisy, stock.FlowMatchLCMScheduler):
    _planner, _floating = flow.flow_match_lcm, True
    _reads = ("_scale_factors", "_upscale_mode")
    _habits = Habits(noise=torch.float32)


class LTXEulerAncestralRFScheduler(_Noisy, stock.LTXEulerAncestralRFScheduler):
    _planner, _floating = flow.ltx_ancestral, True
    _habits = Habits(returns_sample=True, noise=torch.float32)


class FlowMapEulerDiscreteScheduler(Fused, stock.FlowMapEulerDiscreteScheduler):
    _planner, _told = flow.flow_map, True

    def step(self, model_output, timestep, sample, r_timestep=None, return_dict=True):
        done = None
        if r_timestep is None:
            done = self._advance(model_output, timestep, sample, return_dict)
        if done is None:
            return self.stock.step(self, model_output, timestep, sample, r_timestep, return_dict)
        return done


class MiniMaxH3Scheduler(_Step, stock.MiniMaxH3Scheduler):
    _planner, _told, _floating = flow.minimax_h3, True, True
    _habits = Habits(returns_sample=True)

    def _init_step_index(self, timestep):
        begin = self.begin_index
        self._step_index = self.index_for_timestep(timestep) if begin is None else begin


class CMStochasticIterativeScheduler(_Noisy, stock.CMStochasticIterativeScheduler):
    _planner = flow.consistency
    _floating = _scales = True
    _habits = PROMOTES


class LCMScheduler(_Noisy, stock.LCMScheduler):
    _planner, _levels = flow.lcm, "alphas_cumprod"
    _reads = ("final_alpha_cumprod", "num_inference_steps")
    _habits, _second = PROMOTES, True


class TCDScheduler(Fused, stock.TCDScheduler):
    _planner, _levels = flow.tcd, "alphas_cumprod"
    _reads = ("final_alpha_cumprod", "num_inference_steps")
    _habits, _second = PROMOTES, True

    def step(self, model_output, timestep, sample, eta=0.3, generator=None, return_dict=True):
        done = self._advance(model_output, timestep, sample, return_dict, generator, options=(eta,))
        if done is None:
            return self.stock.step(
                self, model_output, timestep, sample, eta, generator, return_dict
            )
        return done


class SCMScheduler(_Noisy, stock.SCMScheduler):
    _planner, _levels = flow.scm, "timesteps"
    _habits, _second = Habits(upcasts=False, noise=torch.float32), True
