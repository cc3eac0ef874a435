"""Schedulers of flow models and of consistency models."""

import diffusers as stock
import torch
from diffusers.schedulers import ConsistencyDecoderScheduler as stock_decoder

from ..fused import Fused
from ..habits import PROMOTES, Habits
from ..noising import ByFlow, BySigma, WithVelocity
from ..plans import flow as plans
from ..run import Declined
from .memory import TwoStage
from .steps import INF, Churned, Noisy, Step

#: What they return is a blend of the sample and the output, noised in its own dtype.
BLENDS = Habits("promoted", "promoted", "promoted", hands_on=False)


class FlowMatchEulerDiscreteScheduler(Fused, ByFlow, stock.FlowMatchEulerDiscreteScheduler):
    _planner, _floating = plans.flow_match_euler, True
    _habits = Habits(noise=torch.float32)

    def step(
        self, model_output, timestep, sample, s_churn=0.0, s_tmin=0.0, s_tmax=INF, s_noise=1.0,
        generator=None, per_token_timesteps=None, return_dict=True,
    ):  # fmt: skip
        done = None
        if per_token_timesteps is None:
            done = self._advance(model_output, timestep, sample, return_dict, generator)
        else:
            self._decline(Declined("per_token_timesteps"))
        if done is None:
            return self._stock_step(
                "step", model_output, timestep, sample, s_churn, s_tmin, s_tmax, s_noise, generator,
                per_token_timesteps, return_dict,
            )  # fmt: skip
        return done


class FlowMatchHeunDiscreteScheduler(TwoStage, Churned, stock.FlowMatchHeunDiscreteScheduler):
    _planner, _floating = plans.flow_match_heun, True


class FlowMatchLCMScheduler(Noisy, ByFlow, stock.FlowMatchLCMScheduler):
    _planner, _floating = plans.flow_match_lcm, True
    _reads = ("_scale_factors", "_upscale_mode")
    _habits = Habits(noise="single")


if hasattr(stock, "LTXEulerAncestralRFScheduler"):

    class LTXEulerAncestralRFScheduler(Noisy, stock.LTXEulerAncestralRFScheduler):
        _planner, _floating = plans.ltx_ancestral, True
        _habits = Habits("sample", noise=torch.float32)


if hasattr(stock, "FlowMapEulerDiscreteScheduler"):

    class FlowMapEulerDiscreteScheduler(Fused, stock.FlowMapEulerDiscreteScheduler):
        _planner, _told = plans.flow_map, True

        def step(self, model_output, timestep, sample, r_timestep=None, return_dict=True):
            done = None
            if r_timestep is None:
                done = self._advance(model_output, timestep, sample, return_dict)
            else:
                self._decline(Declined("r_timestep"))
            if done is None:
                return self._stock_step(
                    "step", model_output, timestep, sample, r_timestep, return_dict
                )
            return done


if hasattr(stock, "MiniMaxH3Scheduler"):

    class MiniMaxH3Scheduler(Step, stock.MiniMaxH3Scheduler):
        _planner, _told_too, _floating = plans.minimax_h3, True, True
        _habits = Habits("sample")

        def _init_step_index(self, timestep):
            begin = self.begin_index
            self._step_index = self.index_for_timestep(timestep) if begin is None else begin


class CMStochasticIterativeScheduler(Noisy, BySigma, stock.CMStochasticIterativeScheduler):
    _planner, _needs_timesteps = plans.consistency, False
    _floating = _scales = True
    _habits = PROMOTES


class ConsistencyDecoderScheduler(Noisy, stock_decoder):
    _planner, _levels, _counter, _told = plans.consistency_decoder, "c_skip", None, True
    _also = ("c_out", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod")
    _habits = BLENDS


class LCMScheduler(Noisy, WithVelocity, stock.LCMScheduler):
    _planner, _levels, _told_too = plans.lcm, "alphas_cumprod", True
    _reads = ("final_alpha_cumprod", "num_inference_steps")
    _habits, _second = BLENDS, True


class TCDScheduler(Fused, WithVelocity, stock.TCDScheduler):
    _planner, _levels, _told_too = plans.tcd, "alphas_cumprod", True
    _reads = ("final_alpha_cumprod", "num_inference_steps")
    _habits, _second = BLENDS, True

    def step(self, model_output, timestep, sample, eta=0.3, generator=None, return_dict=True):
        done = self._advance(model_output, timestep, sample, return_dict, generator, options=(eta,))
        if done is None:
            return self._stock_step(
                "step", model_output, timestep, sample, eta, generator, return_dict
            )
        return done


class SCMScheduler(Noisy, stock.SCMScheduler):
    _planner, _levels = plans.scm, "timesteps"
    _habits, _second = Habits("wide", torch.float32, "promoted"), True


if hasattr(stock, "RFD4ProteinaScheduler"):

    class RFD4ProteinaScheduler(Fused, stock.RFD4ProteinaScheduler):
        _planner, _levels, _told = plans.rfd4_proteina, "_times", True
        _habits = Habits("wide", "sample")
        _astray = "timesteps that do not follow each other"

        def step(self, model_output, timestep, sample, emit_mask, generator=None, return_dict=True):
            generators = self._generators(generator, len(sample))  # raises
            if generators is not None:
                generators = list(generators)
            left = sample.new_zeros(()), ~emit_mask[..., None]
            done = None
            if self._step_index is not None:  # else the stock step raises
                done = self._advance(
                    model_output, timestep, sample, return_dict, generators, known=left
                )
            if done is None:
                return self._stock_step(
                    "step", model_output, timestep, sample, emit_mask, generator, return_dict
                )
            return done

        def _place(self, now, attributes, timestep):
            place = now.place_of(timestep)
            return place if place == attributes["_step_index"] else None
