"""Schedulers whose calls, memory or counts are like those of no other."""

from dataclasses import replace
from typing import Any

import diffusers
import torch
from diffusers.schedulers.scheduling_utils import SchedulerOutput
from diffusers.utils import is_torchsde_available

from ....sampling.langevin import Langevin
from ..adapters import sigmas
from ..adapters.lowering import Unsupported
from ..noise import normal
from ..spec import OF_SAMPLE, Spec
from ..step_index import Host, index_of, version_of
from .base import UNSET, Fused, generic_step
from .memory import Corrected, Midpoint, Multistep

if is_torchsde_available():  # without it there are no stock schedulers of Brownian paths
    from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler


class UnCLIP(Fused):
    """The caller says which timestep comes next."""

    def _call(  # type: ignore[override]  # another step
        self, model_output, timestep, sample, prev_timestep=None, generator=None, return_dict=True
    ):
        host = Host(self).timesteps
        at = index_of(timestep, self.timesteps, host)
        after: int | None = len(host)
        if prev_timestep is not None:
            after = index_of(prev_timestep, self.timesteps, host)
        if at is None or after != at + 1:
            raise Unsupported("prev_timestep {} after {}", prev_timestep, timestep)
        values = self._execute(model_output, timestep, sample, generator=generator)
        return self._build(values) if return_dict else values


class RePaint(Fused):
    """Part of the image is known; timesteps are gone through several times."""

    def _call(  # type: ignore[override]  # another step
        self, model_output, timestep, sample, original_image, mask, generator=None, return_dict=True
    ):
        known = original_image, mask
        values = self._execute(model_output, timestep, sample, generator=generator, known=known)
        return self._build(values) if return_dict else values


class Inverse(Multistep):
    """It has no ``begin_index``, and looks up timesteps as the scheduler that it inverts does."""

    begin_index = None
    index_for_timestep = diffusers.DPMSolverMultistepScheduler.index_for_timestep


class MiniMaxH3(Fused):
    def _init_step_index(self, timestep):
        begin = self.begin_index
        self._step_index = self.index_for_timestep(timestep) if begin is None else begin


class RFD4Proteina(Fused):
    """Atoms that are not emitted keep where they are."""

    def _call(self, model_output, timestep, sample, emit_mask, generator=None, return_dict=True):  # type: ignore[override]
        generators = self._generators(generator, len(sample))  # raises as the stock step does
        if self._step_index is None:  # the stock step raises
            raise UNSET
        generator = None if generators is None else list(generators)
        known = sample.new_zeros(()), ~emit_mask[..., None]
        values = self._execute(model_output, timestep, sample, generator=generator, known=known)
        return self._build(values) if return_dict else values

    def _row(self, now, attributes, timestep):
        row = now.row_of(timestep)
        return row if row == attributes["_step_index"] else None


class CogVideoXDPM(Fused):
    """The caller keeps x0 of the step before, and its timestep. The stock step ignores eta,
    use_clipped_model_output and variance_noise."""

    def _call(  # type: ignore[override]  # another step
        self, model_output, old_pred_original_sample, timestep, timestep_back, sample, eta=0.0,
        use_clipped_model_output=False, generator=None, variance_noise=None, return_dict=False,
    ):  # fmt: skip
        if isinstance(timestep, torch.Tensor) and timestep.dim():
            raise Unsupported("a timestep with dimensions")
        old = old_pred_original_sample
        times = timestep, timestep_back, old is not None
        values = self._execute(model_output, times, sample, generator=generator, before=old)
        run = self._trajectory.run
        second_order = run.draws[run.row - 1] == 2  # else it is always a tuple
        return self._build(values) if return_dict and second_order else values

    def _row(self, now, attributes, timestep):
        timestep, back, has_old = timestep
        k, many = now.row_of(timestep), len(now.order)
        if k is None or not has_old:
            return k
        follows = k > 0 and (now.run.draws[many + k] == 1 or now.row_of(back) == k - 1)
        return many + k if follows else None


class ScoreSdeVe(Fused):
    def _correct(self, model_output, sample, generator=None, return_dict=True):
        if torch.is_grad_enabled() and (model_output.requires_grad or sample.requires_grad):
            raise Unsupported("a gradient through step_correct")
        if self.timesteps is None or not self.config.snr > 0:
            raise Unsupported("this call")
        dtype = torch.promote_types(sample.dtype, model_output.dtype)
        dtype = torch.promote_types(dtype, torch.float32)
        score, z = model_output.to(dtype), normal(sample, generator, self.noise).to(dtype)
        size = Langevin(self.config.snr, norm="batch").step_size(score, z, 0.0, 1.0)
        x = sample.to(dtype).addcmul(score, size).addcmul_(z, (2 * size).sqrt_())
        return SchedulerOutput(prev_sample=x) if return_dict else (x,)

    step_correct = generic_step("step_correct", "_correct")


class ScoreSdeVp(Fused):
    def _call(self, score, x, t, generator=None):  # type: ignore[override]
        return self._execute(score, t, x, generator=generator)


class Brownian(Fused):
    """Noise is the increments of the Brownian path of the stock scheduler. A path is as rough as
    float32, so the times are computed as they are there."""

    noise_sampler: Any

    def _ends(self, timestep):
        if self._step_index is None:
            self._init_step_index(timestep)
        first = self._step_index - (0 if getattr(self, "state_in_first_order", True) else 1)
        ends = self.sigmas[first : first + 2]
        return None if len(ends) < 2 or ends[1] == 0 else ends


class DPMSolverSDE(Midpoint, Brownian):
    def _call(self, model_output, timestep, sample, return_dict=True, s_noise=1.0):  # type: ignore[override]
        generator = noise = None
        if self.noise == "torch":
            noise = self._increment(timestep, sample)
        elif self.noise_sampler_seed is not None:
            generator = _seeded(self.noise_sampler_seed)
        values = self._execute(model_output, timestep, sample, (s_noise,), generator, noise)
        return self._build(values) if return_dict else values

    def _increment(self, timestep, sample):
        """None at the end."""
        ends = self._ends(timestep)
        if ends is None:
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

    def _count(self, row, sample):
        index = self._step_index
        first = row % 2 == 0 and self.sigmas[index + 1] > 0
        sigma = (self.sigmas[index : index + 2].log().mean()).exp() if first else None
        self.__dict__.update(sample=sample if first else None, mid_point_sigma=sigma)
        self._step_index = index + 1


class CosineDPMSolver(Multistep, Brownian):
    def _call(self, model_output, timestep, sample, generator=None, return_dict=True):  # type: ignore[override]
        noise = None
        if self.noise == "torch" and self.num_inference_steps is not None:
            noise = self._increment(model_output, timestep, sample, generator)
        values = self._execute(model_output, timestep, sample, (), generator, noise)
        return self._build(values) if return_dict else values

    def _increment(self, model_output, timestep, sample, generator):
        """None at the end."""
        ends = self._ends(timestep)
        if ends is None:
            return None
        if self.noise_sampler is None:
            dtype = torch.promote_types(sample.dtype, model_output.dtype)
            self.noise_sampler = BrownianTreeNoiseSampler(
                torch.empty_like(sample, dtype=dtype),
                self.config.sigma_min,
                self.config.sigma_max,
                _seeds_of(generator),
            )
        return self.noise_sampler(*ends).to(sample.device)


def _seeds_of(generator):
    if isinstance(generator, list):
        return [g.initial_seed() for g in generator]
    return None if generator is None else generator.initial_seed()


def _seeded(seed):
    seeds = seed if isinstance(seed, (list, tuple)) else [seed]
    return [torch.Generator().manual_seed(s) for s in seeds]


class ByType:
    """The record of a class, or of an instance, whose config says which method it is."""

    def __init__(self, spec):
        self.spec, self.unipc = spec, replace(spec, dtypes=OF_SAMPLE)
        self.euler = replace(spec, floating_timesteps=True)

    def __get__(self, instance, owner):
        if instance is None:
            return self.spec
        return self.unipc if instance._is_unipc else self.euler


class Helios(Corrected):
    """The flow method or UniPC."""

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        if isinstance(spec := vars(cls).get("spec"), Spec):
            cls.spec = ByType(spec)

    @property
    def _is_unipc(self):
        return self.config.scheduler_type == "unipc"

    def _are_unset(self, attributes):
        return self._is_unipc and "num_inference_steps" not in attributes

    def _init_step_index(self, timestep):
        self._step_index = 0  # whatever the timestep

    def _call(self, model_output, timestep=None, sample=None, generator=None, return_dict=True):  # type: ignore[override]
        values = self._execute(model_output, timestep, sample)
        if self._is_unipc:
            sample, last_sample = values
            values = sample, None, last_sample, self.this_order
        return self._result(*values) if return_dict else values

    def _memory(self, buffers, rows, begin):
        return super()._memory(buffers, rows, begin) if self._is_unipc else {}

    def _count(self, row, sample):
        config, index = self.config, self._step_index
        left = len(self.timesteps) - index if config.lower_order_final else config.solver_order
        self.this_order = min(config.solver_order, left, index + 1)
        self._step_index = index + 1


class HeliosDMD(Fused):
    """The caller has the noise, and says which step it is."""

    def _call(  # type: ignore[override]  # another step
        self, model_output, timestep=None, sample=None, generator=None, return_dict=True,
        cur_sampling_step=0, dmd_noisy_tensor=None, dmd_sigmas=None, dmd_timesteps=None,
        all_timesteps=None,
    ):  # fmt: skip
        noise, last = dmd_noisy_tensor, cur_sampling_step + 1 >= len(self.timesteps)
        tables = dmd_timesteps, all_timesteps
        if dmd_sigmas is not self.sigmas or any(t is not self.timesteps for t in tables):
            raise Unsupported("other sigmas or timesteps than its own")
        if sample.dim() != 5:
            raise Unsupported(f"a sample of {sample.dim()} dimensions")
        if not last and (noise is None or noise.dtype is not model_output.dtype):
            raise Unsupported("noise of another dtype than the model's output, or none")
        values = self._execute(model_output, (timestep, cur_sampling_step), sample, noise=noise)
        return self._build(values) if return_dict else values

    def _row(self, now, attributes, timestep):
        timestep, step = timestep
        return step if now.row_of(timestep) == step else None


class KarrasVe(Fused):
    """Three methods, which the caller calls in turn: churn, a step, and its correction."""

    _raised: tuple[Any, Any] = None, None  # the last sigma with churn, and its number

    def add_noise_to_input(self, sample, sigma, generator=None):
        i = None if self.schedule is None else index_of(sigma, self.schedule, Host(self).schedule)
        if i is None:
            return self.stock.add_noise_to_input(self, sample, sigma, generator)
        host = Host(self)
        low, high = float(host.schedule[i]), float(sigmas.raised_levels(host)[i])
        noise = normal(sample, generator, self.noise)
        factor = self.config.s_noise * (high**2 - low**2) ** 0.5
        raised = sigma + (high / low - 1) * sigma if high > low else sigma
        self._raised = raised, i
        return sample.add(noise, alpha=factor), raised

    def _call(self, model_output, sigma_hat, sigma_prev, sample_hat, return_dict=True):  # type: ignore[override]
        levels = sigma_hat, sigma_prev, 0
        x, x0 = self._execute(model_output, levels, sample_hat)
        slope = model_output.neg().to(x.dtype)
        handed = sample_hat, x, slope
        self._trajectory.run.handed = [(tensor, _version(tensor)) for tensor in handed]
        return self._result(x, slope, x0) if return_dict else (x, slope)

    def _correct(
        self, model_output, sigma_hat, sigma_prev, sample_hat, sample_prev, derivative,
        return_dict=True,
    ):  # fmt: skip
        if not self._goes_on(sample_hat, sample_prev, derivative):
            raise Unsupported("samples and derivatives that are not those of the step before")
        levels = sigma_hat, sigma_prev, 1
        x, x0 = self._execute(model_output, levels, sample_prev)
        return self._result(x, derivative, x0) if return_dict else (x, derivative)

    step_correct = generic_step("step_correct", "_correct")

    def _goes_on(self, *tensors):
        now = self._trajectory
        handed = getattr(now and now.run, "handed", ())
        return len(handed) == len(tensors) and all(
            tensor is before and version is not None and _version(tensor) == version
            for tensor, (before, version) in zip(tensors, handed, strict=True)
        )

    def _row(self, now, attributes, timestep):
        sigma_hat, sigma_prev, correcting = timestep
        host = Host(self)
        raised, i = self._raised
        if i is None or raised is not sigma_hat:
            i = index_of(sigma_hat, None, sigmas.raised_levels(host))
        if i is None:
            return None
        if i > 0 and index_of(sigma_prev, self.schedule, host.schedule) != i - 1:
            return None
        if i == 0 and not (isinstance(sigma_prev, (int, float)) and sigma_prev == 0):
            return None
        return 2 * (len(host.schedule) - 1 - i) + correcting


def _version(tensor):
    return None if tensor.is_inference() else version_of(tensor)
