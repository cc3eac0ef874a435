"""Schedulers of reverse SDEs."""

import diffusers as stock
import torch
from diffusers.schedulers.deprecated.scheduling_sde_vp import ScoreSdeVpScheduler as StockVp
from diffusers.schedulers.scheduling_utils import SchedulerOutput
from diffusers.utils import is_torchsde_available

from ....sampling.langevin import Langevin
from ..fused import Fused
from ..habits import PROMOTES, Habits
from ..noise import normal
from ..noising import BySigma, WithVelocity
from ..plans import sde as plans
from ..run import Declined
from .memory import Midpoint, Multistep

NOISE_OF_SAMPLE = Habits("promoted", "sample", "promoted")
WIDE = Habits("wide", "sample", "wide")


class CogVideoXDPMScheduler(Fused, WithVelocity, stock.CogVideoXDPMScheduler):
    _planner, _levels, _counter, _told = plans.cogvideox_dpm, "alphas_cumprod", None, True
    _reads = ("final_alpha_cumprod", "num_inference_steps")
    _habits, _second = NOISE_OF_SAMPLE, True
    _astray = "timesteps that do not follow each other"

    def step(
        self, model_output, old_pred_original_sample, timestep, timestep_back, sample, eta=0.0,
        use_clipped_model_output=False, generator=None, variance_noise=None, return_dict=False,
    ):  # fmt: skip
        # it ignores eta, use_clipped_model_output and variance_noise
        old = old_pred_original_sample
        done = None
        if isinstance(timestep, torch.Tensor) and timestep.dim():
            self._decline(Declined("a timestep with dimensions"))
        else:
            told = timestep, timestep_back, old is not None
            done = self._advance(model_output, told, sample, False, generator, before=old)
        if done is None:
            return self._stock_step(
                "step", model_output, old, timestep, timestep_back, sample, eta,
                use_clipped_model_output, generator, variance_noise, return_dict,
            )  # fmt: skip
        if return_dict and self._is_of_second_order():
            return self._build(done)
        return done  # of first order it is always a tuple

    def _place(self, now, attributes, timestep):
        timestep, back, has_old = timestep
        k, many = now.place_of(timestep), len(now.order)
        if k is None or not has_old:
            return k
        follows = k > 0 and (now.run.draws[many + k] == 1 or now.place_of(back) == k - 1)
        return many + k if follows else None

    def _is_of_second_order(self):
        run = self._trajectory.run
        return run.draws[run.place - 1] == 2


class ScoreSdeVeScheduler(Fused, stock.ScoreSdeVeScheduler):
    _planner, _levels, _counter, _told = plans.score_sde_ve, "discrete_sigmas", None, True
    _habits, _second = WIDE, True

    def step_pred(self, model_output, timestep, sample, generator=None, return_dict=True):
        done = self._advance(model_output, timestep, sample, return_dict, generator)
        if done is None:
            return self._stock_step(
                "step_pred", model_output, timestep, sample, generator, return_dict
            )
        return done

    def step_correct(self, model_output, sample, generator=None, return_dict=True):
        recorded = torch.is_grad_enabled() and (model_output.requires_grad or sample.requires_grad)
        if recorded:
            self._decline(Declined("a gradient through step_correct"))
        if recorded or self.timesteps is None or not self.config.snr > 0:
            return self._stock_step("step_correct", model_output, sample, generator, return_dict)
        dtype = torch.promote_types(sample.dtype, model_output.dtype)
        dtype = torch.promote_types(dtype, torch.float32)
        score, z = model_output.to(dtype), normal(sample, generator, self.noise).to(dtype)
        size = Langevin(self.config.snr, norm="batch").step_size(score, z, 0.0, 1.0)
        x = sample.to(dtype).addcmul(score, size).addcmul_(z, (2 * size).sqrt_())
        return SchedulerOutput(prev_sample=x) if return_dict else (x,)


class ScoreSdeVpScheduler(Fused, StockVp):
    _planner, _levels, _counter, _told = plans.score_sde_vp, "timesteps", None, True
    _habits, _second = WIDE, True

    def step_pred(self, score, x, t, generator=None):
        done = self._advance(score, t, x, False, generator)
        return self._stock_step("step_pred", score, x, t, generator) if done is None else done


if is_torchsde_available():  # without it there are no stock ones
    from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler

    class DPMSolverSDEScheduler(Midpoint, BySigma, stock.DPMSolverSDEScheduler):
        _planner = plans.dpm_solver_sde
        _habits, _second = PROMOTES, True

        def step(self, model_output, timestep, sample, return_dict=True, s_noise=1.0):
            generator = noise = None
            if self.noise == "torch":
                noise = self._increment(timestep, sample)
            elif self.noise_sampler_seed is not None:
                generator = _seeded(self.noise_sampler_seed)
            done = self._advance(
                model_output, timestep, sample, return_dict, generator, noise, (s_noise,)
            )
            if done is None:
                return self._stock_step(
                    "step", model_output, timestep, sample, return_dict, s_noise
                )
            return done

        def _increment(self, timestep, sample):
            """That of the path of the stock scheduler; None at the end. A path is as rough as
            float32: the times are computed as there."""
            if self._step_index is None:
                self._init_step_index(timestep)
            first = self._step_index if self.state_in_first_order else self._step_index - 1
            ends = self.sigmas[first : first + 2]
            if len(ends) < 2 or ends[1] == 0:
                return None
            if self.noise_sampler is None:
                low, high = self.sigmas[self.sigmas > 0].min(), self.sigmas.max()
                self.noise_sampler = BrownianTreeNoiseSampler(
                    sample, low.item(), high.item(), self.noise_sampler_seed
                )
            t, s = (sigma.log().neg() for sigma in ends)
            if self.state_in_first_order:
                s = t + (s - t) * 0.5
            return self.noise_sampler(t.neg().exp(), s.neg().exp())

        def _count(self, place, sample):
            index = self._step_index
            first = place % 2 == 0 and self.sigmas[index + 1] > 0
            sigma = (self.sigmas[index : index + 2].log().mean()).exp() if first else None
            self.__dict__.update(sample=sample if first else None, mid_point_sigma=sigma)
            self._step_index = index + 1

    class CosineDPMSolverMultistepScheduler(
        Multistep, BySigma, stock.CosineDPMSolverMultistepScheduler
    ):
        _planner = plans.cosine_dpm_solver
        _habits = PROMOTES

        def step(self, model_output, timestep, sample, generator=None, return_dict=True):
            noise = None
            if self.noise == "torch" and self.num_inference_steps is not None:
                noise = self._increment(model_output, timestep, sample, generator)
            done = self._advance(model_output, timestep, sample, return_dict, generator, noise)
            if done is None:
                return self._stock_step(
                    "step", model_output, timestep, sample, generator, return_dict
                )
            return done

        def _increment(self, model_output, timestep, sample, generator):
            """That of the path of the stock scheduler; None at the end."""
            if self._step_index is None:
                self._init_step_index(timestep)
            ends = self.sigmas[self._step_index : self._step_index + 2]
            if len(ends) < 2 or ends[1] == 0:
                return None
            if self.noise_sampler is None:
                like = torch.empty_like(
                    sample, dtype=torch.promote_types(sample.dtype, model_output.dtype)
                )
                self.noise_sampler = BrownianTreeNoiseSampler(
                    like, self.config.sigma_min, self.config.sigma_max, _seeds_of(generator)
                )
            return self.noise_sampler(*ends).to(sample.device)


def _seeds_of(generator):
    if isinstance(generator, list):
        return [g.initial_seed() for g in generator]
    return None if generator is None else generator.initial_seed()


def _seeded(seed):
    seeds = seed if isinstance(seed, (list, tuple)) else [seed]
    return [torch.Generator().manual_seed(s) for s in seeds]
