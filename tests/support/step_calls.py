"""Steps that are called in another way than others, as the pipelines call them."""

import torch
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput


def plainly(scheduler, out, t, x, results, every, options):
    return scheduler.step(out, t, x, **options)


def with_old_x0(scheduler, out, t, x, results, every, options):
    """CogVideoX: the caller keeps x0, and the timestep before."""
    old, back = None, None
    if results:
        old, back = results[-1][1], every[len(results) - 1]
    values = scheduler.step(out, old, t, back, x, **{**options, "return_dict": False})
    return values if options.get("return_dict") is False else DDIMSchedulerOutput(*values)


def with_noise(scheduler, out, t, x, results, every, options):
    """The distilled Helios: the caller has the noise."""
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(7))
    noise = noise.bfloat16().to(out.dtype)  # numbers that all dtypes have
    place = len(scheduler.timesteps) - len(every) + len(results)
    return scheduler.step(
        out, t, x, cur_sampling_step=place, dmd_noisy_tensor=noise, dmd_sigmas=scheduler.sigmas,
        dmd_timesteps=scheduler.timesteps, all_timesteps=scheduler.timesteps, **options,
    )  # fmt: skip


CALLS = {"CogVideoXDPMScheduler": with_old_x0, "HeliosDMDScheduler": with_noise}
