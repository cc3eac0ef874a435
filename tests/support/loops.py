"""The loop around a scheduler, as pipelines write it, on models of unit-variance data."""

import inspect

import numpy as np
import torch

from tests.support.step_calls import CALLS, plainly

SHAPE = (2, 4, 6, 5)


def wave(y, t):
    return 0.3 * torch.sin(3 * y + t)


def model_for(scheduler):
    """(model input, timestep) -> model output, for what the scheduler says it predicts."""
    config = scheduler.config
    name = type(scheduler).__name__
    if "EDM" in name or name.startswith(("CMStochastic", "Cosine", "ConsistencyDecoder")):
        return lambda y, t: wave(y, float(t))
    if name.startswith("SCM"):
        return lambda y, t: config.sigma_data * wave(y, float(t))
    flow = name.startswith(("Flow", "LTX", "MiniMax", "Helios")) or config.get("use_flow_sigmas")
    kind = config.get("prediction_type", "flow_prediction" if flow else "epsilon")

    def model(y, t):
        alpha, sigma = levels_at(scheduler, t, flow)
        v = wave(y, float(t) / (200 if not flow else 500))
        if kind == "epsilon":
            out = sigma * y + alpha * v
        elif kind in ("sample", "original_sample"):
            out = alpha * y - sigma * v
        elif kind == "v_prediction":
            out = v
        else:
            out = (sigma - alpha) / (alpha**2 + sigma**2) * y + v
            out = -out if name.startswith("MiniMax") else out
        return out.to(y.dtype)

    return model


def levels_at(scheduler, t, flow):
    t = float(t)
    if flow:
        sigma = 1 - t if type(scheduler).__name__.startswith("MiniMax") else t / 1000
        return 1 - sigma, sigma
    if not hasattr(scheduler, "alphas_cumprod"):  # IPNDM, Wuerstchen
        return float(np.cos(np.pi / 2 * t)), float(np.sin(np.pi / 2 * t))
    table = scheduler.alphas_cumprod.double().cpu().numpy()
    t = np.clip(t, 0, len(table) - 1)
    alpha2 = float(np.interp(t, np.arange(len(table)), table))
    return alpha2**0.5, (1 - alpha2) ** 0.5


def start(scheduler, shape=SHAPE, dtype=torch.float32, seed=0):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if type(scheduler).__name__.startswith("Helios"):
        x = x.unsqueeze(2)  # of frames
    return (x * float(getattr(scheduler, "init_noise_sigma", 1.0))).to(dtype)


def takes(scheduler, name):
    return name in inspect.signature(scheduler.step).parameters


def loop(
    scheduler, x, timesteps=None, *, generator=None, between=None, model=None, grad=False, **options
):
    """Every result of the steps.

    Args:
        generator: a function that makes what ``step`` gets as such.
        between: called with (i, sample) after step i, returns the sample to go on with.
        grad: record what happens for ``backward``.
    """
    model = model or model_for(scheduler)
    if takes(scheduler, "generator"):
        options["generator"] = generator() if generator else torch.Generator().manual_seed(3)
    scale = getattr(scheduler, "scale_model_input", lambda sample, t: sample)
    timesteps = scheduler.timesteps if timesteps is None else timesteps
    results, name = [], type(scheduler).__name__
    every = scheduler.timesteps[timesteps.storage_offset() :]
    for i, t in enumerate(evaluated(scheduler, timesteps)):
        with torch.set_grad_enabled(grad):
            out = model(scale(x, t), t)
            told = t.expand(len(x)) if name == "DDPMWuerstchenScheduler" else t
            if name == "UnCLIPScheduler":
                options["prev_timestep"] = every[i + 1] if i + 1 < len(every) else None
            call = CALLS.get(name, plainly)
            result = call(scheduler, out, told, x, results, every, options)
        x = result.prev_sample if hasattr(result, "prev_sample") else result[0]
        results.append(result)
        if between is not None:
            x = between(i, x)
    return results, options.get("generator")


def evaluated(scheduler, timesteps):
    """Those at which there is a model evaluation: all but a last one that is only an end."""
    only_an_end = ("SCMScheduler", "DDPMWuerstchenScheduler", "LTXEulerAncestralRFScheduler")
    return timesteps[:-1] if type(scheduler).__name__ in only_an_end else timesteps


def set_steps(scheduler, steps):
    name = type(scheduler).__name__
    if name == "SCMScheduler" and steps != 2:
        scheduler.set_timesteps(steps, intermediate_timesteps=None)
    elif name == "LTXEulerAncestralRFScheduler":
        scheduler.set_timesteps(sigmas=np.linspace(1, 0, steps + 1).tolist())
    elif name == "RePaintScheduler":
        scheduler.set_timesteps(steps, 2, 2)
    elif name == "ConsistencyDecoderScheduler":
        scheduler.set_timesteps(2)  # it has no other number of them
    elif name.startswith("Helios"):
        mu = 0.8 if scheduler.config.use_dynamic_shifting else None
        scheduler.set_timesteps(steps, stage_index=1, mu=mu)
    elif scheduler.config.get("use_dynamic_shifting"):
        scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps).tolist(), mu=0.8)
    else:
        scheduler.set_timesteps(steps)
