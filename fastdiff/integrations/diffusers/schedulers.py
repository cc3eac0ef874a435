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
        done = self._advance(
            model_output, timestep, sample, return_dict, generator, variance_noise
        )
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


class _Churned(Fused):
    """Steps with the churn of Karras et al."""

    def step(
        self, model_output, timestep, sample, s_churn=0.0, s_tmin=0.0, s_tmax=INF, s_noise=1.0,
        generator=None, return_dict=True,
    ):  # fmt: skip
        options = (s_churn, s_tmin, s_tmax, s_noise) if s_churn else ()
        done = self._advance(
            model_output, timestep, sample, return_dict, generator, None, options
        )
        if done is None:
            return self.stock.step(
                self, model_output, timestep, sample, s_churn, s_tmin, s_tmax, s_noise,
                generator=generator, return_dict=return_dict,
            )  # fmt: skip
        return done


class DDPMScheduler(_Noisy, stock.DDPMScheduler):
    _planner, _levels, _counter = timesteps.ddpm, "alphas_cumprod", None
    _reads = ("variance_type", "custom_timesteps", "num_inference_steps")
    _habits, _second = PROMOTES, True


class DDIMScheduler(_Eta, stock.DDIMScheduler):
    _planner, _levels, _counter = timesteps.ddim, "alphas_cumprod", None
    _reads = ("final_alpha_cumprod", "num_inference_steps")
    _habits, _second = PROMOTES, True


class DPMSolverMultistepScheduler(_Given, stock.DPMSolverMultistepScheduler):
    _planner, _looks_back = multistep.dpm_solver, True
    _habits = Habits(noise=torch.float32)


class UniPCMultistepScheduler(_Step, stock.UniPCMultistepScheduler):
    _planner, _looks_back = multistep.unipc, True
    _reads = ("predict_x0", "disable_corrector", "solver_p")
    _habits = PROMOTES


class EulerDiscreteScheduler(_Churned, stock.EulerDiscreteScheduler):
    _planner = sigmas.euler
    _second = _floating = True


class EulerAncestralDiscreteScheduler(_Noisy, stock.EulerAncestralDiscreteScheduler):
    _planner = sigmas.euler_ancestral
    _second = _floating = True
