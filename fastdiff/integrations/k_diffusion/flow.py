"""Models of rectified flows, x = (1 - sigma) x0 + sigma eps, in samplers of x = x0 + sigma eps.

A sampler that only follows the ODE is right for both: dx / dsigma = (x - x0) / sigma. What adds
noise has to scale the data back, too.
"""

import numpy as np
import torch

NESTED = 4  # wrappers around the model that are looked through
NEARLY_ONE = 1e-4  # of the way from noise to data, where steps in the signal-to-noise ratio begin


def model_sampling(model):
    """The object by which interfaces describe the noise levels of a model (``model_sampling``, or
    ``predictor``), looked for in the model and in what it wraps; None if there is nothing."""
    for _ in range(NESTED):
        for name in ("model_sampling", "predictor"):
            found = getattr(model, name, None)
            if found is not None:
                return found
        model = getattr(model, "inner_model", None)
    return None


def is_flow(model, flow: bool | None) -> bool:
    """Whether the model is of a rectified flow: ``flow``, or where that is None what the model
    tells (a ``model_sampling`` of the class CONST, or a ``prediction_type`` "const")."""
    if flow is not None and not isinstance(flow, bool):
        raise TypeError(f"flow: expected True, False or None, got {flow!r}")
    if flow is not None:
        return flow
    sampling = model_sampling(model)
    of_class = any(kind.__name__ == "CONST" for kind in type(sampling).__mro__)
    kind = getattr(sampling, "prediction_type", None)
    return of_class or (isinstance(kind, str) and kind == "const")


def check_levels(model, levels: np.ndarray) -> None:
    """Raise unless noise can be added on these levels of a flow."""
    if len(levels) and levels.max() > 1:
        raise ValueError(
            f"sigmas: expected at most 1 for a model of a rectified flow, got {levels.max():g}; "
            "flow=False is for other models"
        )
    scale = getattr(model_sampling(model), "noise_scale", 1.0)
    if isinstance(scale, (int, float)) and scale != 1:
        raise ValueError(f"model_sampling.noise_scale: expected 1, got {scale!r}")


def check_without(name: str, sampler: str, value: float) -> None:
    """Raise if a sampler is to add noise that has no form for flows."""
    if value:
        raise ValueError(
            f"{name}: expected 0 for a model of a rectified flow, for which {sampler} has no form "
            f"with noise, got {value!r}"
        )


def below_one(model, sigmas: torch.Tensor, levels: np.ndarray):
    """(sigmas, levels), the first a little below 1, as interfaces have it that know the level
    (``percent_to_sigma``); where nothing does, the step from 1 is of first order."""
    to_sigma = getattr(model_sampling(model), "percent_to_sigma", None)
    if len(levels) < 2 or levels[0] < 1 or not callable(to_sigma):
        return sigmas, levels
    sigmas, levels = sigmas.clone(), levels.copy()
    sigmas[0] = levels[0] = float(to_sigma(NEARLY_ONE))
    levels[0] = float(torch.tensor(levels[0], dtype=sigmas.dtype))
    return sigmas, levels
