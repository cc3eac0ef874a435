"""Schedulers in rho = sigma / alpha."""

import diffusers as stock

from ..fused import Fused
from ..habits import PROMOTES
from ..noising import BySigma
from ..plans import sigmas as plans
from .steps import INF, Churned, Midpoint, Noisy, Step, TwoStage


class EulerDiscreteScheduler(Churned, BySigma, stock.EulerDiscreteScheduler):
    _planner = plans.euler
    _second = _floating = _scales = True


class EulerAncestralDiscreteScheduler(Noisy, BySigma, stock.EulerAncestralDiscreteScheduler):
    _planner = plans.euler_ancestral
    _second = _floating = _scales = True


class HeunDiscreteScheduler(TwoStage, Step, BySigma, stock.HeunDiscreteScheduler):
    _planner = plans.heun
    _habits, _second = PROMOTES, True


class KDPM2DiscreteScheduler(Midpoint, Step, BySigma, stock.KDPM2DiscreteScheduler):
    _planner = plans.kdpm2
    _habits, _second = PROMOTES, True


class KDPM2AncestralDiscreteScheduler(
    Midpoint, Noisy, BySigma, stock.KDPM2AncestralDiscreteScheduler
):
    _planner, _also = plans.kdpm2_ancestral, ("sigmas_down",)
    _habits, _second = PROMOTES, True


class LMSDiscreteScheduler(Fused, BySigma, stock.LMSDiscreteScheduler):
    _planner, _looks_back = plans.lms, True
    _habits, _second, _scales = PROMOTES, True, True

    def step(self, model_output, timestep, sample, order=4, return_dict=True):
        done = self._advance(model_output, timestep, sample, return_dict, options=(order,))
        if done is None:
            return self._stock_step("step", model_output, timestep, sample, order, return_dict)
        return done


class IPNDMScheduler(Step, stock.IPNDMScheduler):
    _planner, _levels, _also, _looks_back = plans.ipndm, "betas", ("alphas",), True
    _habits = PROMOTES


class EDMEulerScheduler(Fused, BySigma, stock.EDMEulerScheduler):
    _planner = plans.edm_euler
    _second = _floating = _scales = True

    def step(
        self, model_output, timestep, sample, s_churn=0.0, s_tmin=0.0, s_tmax=INF, s_noise=1.0,
        generator=None, return_dict=True, pred_original_sample=None,
    ):  # fmt: skip
        done = None
        if pred_original_sample is None:
            options = (s_churn,) if s_churn else ()
            done = self._advance(model_output, timestep, sample, return_dict, options=options)
        else:
            self._say("a pred_original_sample that is given")
        if done is None:
            return self._stock_step(
                "step", model_output, timestep, sample, s_churn, s_tmin, s_tmax, s_noise, generator,
                return_dict, pred_original_sample,
            )  # fmt: skip
        return done
