"""The schedulers of Helios."""

import diffusers as stock

from ..fused import Fused
from ..habits import OF_SAMPLE, Habits
from ..plans import helios as plans
from ..run import Declined
from .memory import Corrected

if hasattr(stock, "HeliosScheduler"):

    class HeliosScheduler(Corrected, stock.HeliosScheduler):
        _planner = plans.helios
        _reads = ("predict_x0", "disable_corrector", "solver_p")

        @property
        def _is_unipc(self):
            return self.config.scheduler_type == "unipc"

        @property
        def _habits(self):
            return OF_SAMPLE if self._is_unipc else Habits()

        @property
        def _floating(self):
            return not self._is_unipc

        def _are_unset(self, attributes):
            return self._is_unipc and "num_inference_steps" not in attributes

        def _init_step_index(self, timestep):
            self._step_index = 0  # whatever the timestep

        def step(self, model_output, timestep=None, sample=None, generator=None, return_dict=True):
            done = self._advance(model_output, timestep, sample, False)
            if done is None:
                return self._stock_step(
                    "step", model_output, timestep, sample, generator, return_dict
                )
            if self._is_unipc:
                sample, last_sample = done
                done = sample, None, last_sample, self.this_order
            return self._result(*done) if return_dict else done

        def _memory(self, buffers, rows, begin):
            return super()._memory(buffers, rows, begin) if self._is_unipc else {}

        def _count(self, place, sample):
            config, index = self.config, self._step_index
            left = len(self.timesteps) - index if config.lower_order_final else config.solver_order
            self.this_order = min(config.solver_order, left, index + 1)
            self._step_index = index + 1

    class HeliosDMDScheduler(Fused, stock.HeliosDMDScheduler):
        _planner, _counter, _told, _given = plans.helios_dmd, None, True, True
        _astray = "a timestep that is not that of cur_sampling_step"

        def step(
            self, model_output, timestep=None, sample=None, generator=None, return_dict=True,
            cur_sampling_step=0, dmd_noisy_tensor=None, dmd_sigmas=None, dmd_timesteps=None,
            all_timesteps=None,
        ):  # fmt: skip
            done = None
            tables = dmd_sigmas, dmd_timesteps, all_timesteps
            last = cur_sampling_step + 1 >= len(self.timesteps)
            if reason := self._unlike(model_output, sample, dmd_noisy_tensor, tables, last):
                self._decline(Declined(reason))
            else:
                told = timestep, cur_sampling_step
                done = self._advance(
                    model_output, told, sample, return_dict, noise=dmd_noisy_tensor
                )
            if done is None:
                return self._stock_step(
                    "step", model_output, timestep, sample, generator, return_dict,
                    cur_sampling_step, dmd_noisy_tensor, dmd_sigmas, dmd_timesteps, all_timesteps,
                )  # fmt: skip
            return done

        def _unlike(self, output, sample, noise, tables, last):
            """What a call has that none of the pipelines' has."""
            sigmas, *timesteps = tables
            if sigmas is not self.sigmas or any(t is not self.timesteps for t in timesteps):
                return "other sigmas or timesteps than its own"
            if sample.dim() != 5:
                return f"a sample of {sample.dim()} dimensions"
            if not last and (noise is None or noise.dtype is not output.dtype):
                return "noise of another dtype than the model's output, or none"
            return ""

        def _place(self, now, attributes, timestep):
            timestep, step = timestep
            return step if now.place_of(timestep) == step else None
