"""Schedulers that are told the timestep."""

import diffusers as stock
from torch.compiler import is_compiling

from ..fused import Fused
from ..habits import PROMOTES
from ..noising import ByTimestep, WithVelocity
from ..plans import timesteps as plans
from ..run import Declined
from .memory import Remembers, items
from .steps import Eta, Noisy, Step


class DDPMScheduler(Noisy, WithVelocity, stock.DDPMScheduler):
    _needs_timesteps = False
    _planner, _levels, _counter, _told = plans.ddpm, "alphas_cumprod", None, True
    _reads = ("variance_type", "custom_timesteps", "num_inference_steps")
    _habits, _second = PROMOTES, True


class DDPMParallelScheduler(Noisy, WithVelocity, stock.DDPMParallelScheduler):
    _needs_timesteps = False
    _planner, _levels, _counter, _told = plans.ddpm, "alphas_cumprod", None, True
    _reads = ("variance_type", "custom_timesteps", "num_inference_steps")
    _habits, _second = PROMOTES, True


class DDPMWuerstchenScheduler(Noisy, stock.DDPMWuerstchenScheduler):
    _planner, _levels, _counter, _told = plans.wuerstchen, "timesteps", None, True
    _reads = ("scaler",)


class UnCLIPScheduler(Fused, ByTimestep, stock.UnCLIPScheduler):
    _needs_timesteps = False
    _planner, _levels, _counter, _told = plans.unclip, "alphas_cumprod", None, True
    _reads = ("variance_type",)
    _habits, _second = PROMOTES, True

    def step(
        self, model_output, timestep, sample, prev_timestep=None, generator=None, return_dict=True
    ):
        done = None
        if is_compiling() or plans.follows(timestep, prev_timestep, self.timesteps):
            done = self._advance(model_output, timestep, sample, return_dict, generator)
        else:
            reason = Declined("prev_timestep {} after {}", prev_timestep, timestep)
            self._decline(reason)
        if done is None:
            return self._stock_step(
                "step", model_output, timestep, sample, prev_timestep, generator, return_dict
            )
        return done


class DDIMScheduler(Eta, WithVelocity, stock.DDIMScheduler):
    _planner, _levels, _counter, _told = plans.ddim, "alphas_cumprod", None, True
    _reads = ("final_alpha_cumprod", "num_inference_steps")
    _habits, _second = PROMOTES, True


class DDIMParallelScheduler(Eta, WithVelocity, stock.DDIMParallelScheduler):
    _planner, _levels, _counter, _told = plans.ddim, "alphas_cumprod", None, True
    _reads = ("final_alpha_cumprod", "num_inference_steps")
    _habits, _second = PROMOTES, True


class CogVideoXDDIMScheduler(Eta, WithVelocity, stock.CogVideoXDDIMScheduler):
    _planner, _levels, _counter, _told = plans.cogvideox_ddim, "alphas_cumprod", None, True
    _reads = ("final_alpha_cumprod", "num_inference_steps")
    _habits, _second = PROMOTES, True

    def _chosen(self, eta, clipped):
        return ()  # takes the arguments, and ignores them


class DDIMInverseScheduler(Step, stock.DDIMInverseScheduler):
    _planner, _levels, _counter, _told = plans.ddim_inverse, "alphas_cumprod", None, True
    _reads = ("initial_alpha_cumprod", "num_inference_steps")
    _habits, _second = PROMOTES, True


class RePaintScheduler(Fused, stock.RePaintScheduler):
    _planner, _levels, _counter, _told = plans.repaint, "alphas_cumprod", None, True
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
            return self._stock_step(
                "step", model_output, timestep, sample, original_image, mask, generator, return_dict
            )
        return done


class PNDMScheduler(Remembers, Step, ByTimestep, stock.PNDMScheduler):
    _planner, _levels, _counter = plans.pndm, "alphas_cumprod", "counter"
    _reads = ("final_alpha_cumprod", "num_inference_steps")
    _habits, _told_too, _stored = PROMOTES, True, ("ets", "cur_sample")

    def _planned(self, host, begin, options, timestep):
        plans.check_first(timestep, self.timesteps)
        return plans.pndm(host, begin)

    def _is_fresh(self):
        return not self.__dict__["ets"]

    def _memory(self, buffers, rows, begin):
        cur_sample = buffers.remembered() if len(rows) == 1 else None
        return {"ets": items(buffers, rows, buffers.rows.slots), "cur_sample": cur_sample}
