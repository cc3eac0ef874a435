"""Schedulers in rho = sigma / alpha."""

import diffusers as stock

from ..fused import Fused
from ..habits import PROMOTES
from ..noising import BySigma
from ..plans import sigmas as plans
from ..run import Declined
from .memory import Midpoint, Slopes, TwoStage
from .steps import INF, Churned, Noisy, Step


class EulerDiscreteScheduler(Churned, BySigma, stock.EulerDiscreteScheduler):
    _planner, _needs_timesteps = plans.euler, False
    _second = _floating = _scales = True


class EulerAncestralDiscreteScheduler(Noisy, BySigma, stock.EulerAncestralDiscreteScheduler):
    _planner, _needs_timesteps = plans.euler_ancestral, False
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


class LMSDiscreteScheduler(Slopes, BySigma, stock.LMSDiscreteScheduler):
    _planner, _stored = plans.lms, ("derivatives",)
    _habits, _second, _scales = PROMOTES, True, True

    def step(self, model_output, timestep, sample, order=4, return_dict=True):
        done = self._advance(model_output, timestep, sample, return_dict, options=(order,))
        if done is None:
            return self._stock_step("step", model_output, timestep, sample, order, return_dict)
        return done


class IPNDMScheduler(Slopes, Step, stock.IPNDMScheduler):
    _planner, _levels, _also = plans.ipndm, "betas", ("alphas",)
    _habits, _stored = PROMOTES, ("ets",)


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
            self._decline(Declined("a pred_original_sample that is given"))
        if done is None:
            return self._stock_step(
                "step", model_output, timestep, sample, s_churn, s_tmin, s_tmax, s_noise, generator,
                return_dict, pred_original_sample,
            )  # fmt: skip
        return done
