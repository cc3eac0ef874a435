"""The scheduler of Karras et al., whose three methods the caller calls in turn."""

import torch
from diffusers.schedulers.deprecated.scheduling_karras_ve import KarrasVeScheduler as Stock

from ..fused import Fused
from ..habits import PROMOTES
from ..noise import normal
from ..plans import sde as plans
from ..run import Declined
from ..trajectory import Host, index_in


class KarrasVeScheduler(Fused, Stock):
    _planner, _levels, _counter = plans.karras_ve, "schedule", None
    _reads = ("num_inference_steps",)
    _habits, _second = PROMOTES, True
    _astray = "sigmas that are not two of its schedule"
    _raised = None, None  # the last sigma with churn, and its number

    def add_noise_to_input(self, sample, sigma, generator=None):
        i = None if self.schedule is None else _index(sigma, self.schedule, Host(self).schedule)
        if i is None:
            return self.stock.add_noise_to_input(self, sample, sigma, generator)
        host = Host(self)
        low, high = float(host.schedule[i]), float(plans.raised_levels(host)[i])
        noise = normal(sample, generator, self.noise)
        factor = self.config.s_noise * (high**2 - low**2) ** 0.5
        raised = sigma + (high / low - 1) * sigma if high > low else sigma
        self._raised = raised, i
        return sample.add(noise, alpha=factor), raised

    def step(self, model_output, sigma_hat, sigma_prev, sample_hat, return_dict=True):
        levels = sigma_hat, sigma_prev, 0
        done = self._advance(model_output, levels, sample_hat, False)
        if done is None:
            return self._stock_step(
                "step", model_output, sigma_hat, sigma_prev, sample_hat, return_dict
            )
        x, x0 = done
        slope = model_output.neg().to(x.dtype)
        run = self._trajectory.run
        run.handed = [(tensor, _version(tensor)) for tensor in (sample_hat, x, slope)]
        return self._result(x, slope, x0) if return_dict else (x, slope)

    def step_correct(
        self, model_output, sigma_hat, sigma_prev, sample_hat, sample_prev, derivative,
        return_dict=True,
    ):  # fmt: skip
        done = None
        if self._goes_on(sample_hat, sample_prev, derivative):
            levels = sigma_hat, sigma_prev, 1
            done = self._advance(model_output, levels, sample_prev, False)
        else:
            self._decline(Declined("samples and derivatives that are not those of the step before"))
        if done is None:
            return self._stock_step(
                "step_correct", model_output, sigma_hat, sigma_prev, sample_hat, sample_prev,
                derivative, return_dict,
            )  # fmt: skip
        x, x0 = done
        return self._result(x, derivative, x0) if return_dict else (x, derivative)

    def _goes_on(self, *tensors):
        now = self._trajectory
        handed = getattr(now and now.run, "handed", ())
        return len(handed) == len(tensors) and all(
            tensor is before and version is not None and _version(tensor) == version
            for tensor, (before, version) in zip(tensors, handed, strict=True)
        )

    def _place(self, now, attributes, timestep):
        sigma_hat, sigma_prev, correcting = timestep
        host = Host(self)
        raised, i = self._raised
        if i is None or raised is not sigma_hat:
            i = _index(sigma_hat, None, plans.raised_levels(host))
        if i is None:
            return None
        if i > 0 and _index(sigma_prev, self.schedule, host.schedule) != i - 1:
            return None
        if i == 0 and not (isinstance(sigma_prev, (int, float)) and sigma_prev == 0):
            return None
        return 2 * (len(host.schedule) - 1 - i) + correcting


def _index(sigma, levels, on_host):
    """Which of the levels one is; None if it is none, or would have to be read from a device."""
    if isinstance(sigma, torch.Tensor) and levels is not None:
        found = index_in(sigma, levels)
        if found is not None:
            return found
    if isinstance(sigma, torch.Tensor) and not sigma.is_cpu:
        return None
    values = on_host.tolist()
    return values.index(float(sigma)) if float(sigma) in values else None


def _version(tensor):
    return None if tensor.is_inference() else tensor._version
