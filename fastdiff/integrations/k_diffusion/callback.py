"""The callback between two calls of the model, which may write to what it is given.

k-diffusion goes on with the very tensors that it hands out: what is written to ``x`` is the sample
from there on, what is written to ``denoised`` is the model's output, unless the slope was made of
both before the callback.
"""

import torch
from torch import Tensor


def report(callback, info: dict, state, slope_first: bool):
    """Call back, and follow what was written to.

    Args:
        callback: called with ``info``, in which ``x`` is a copy of ``state.model_input``.
        state: the ``SamplerState`` that is about to step.
        slope_first: of a sampler whose slope is known before the callback.

    Returns:
        the output for the step.
    """
    x, denoised = info["x"], info["denoised"]
    if slope_first and isinstance(denoised, Tensor):
        info["denoised"] = denoised.clone()
    version = None if x.is_inference() else x._version
    callback(info)
    if not _was_written(x, state.model_input, version):
        return denoised
    before = state.x.clone() if slope_first else None
    state.replace(followed(x, state.model_input, state.x))
    if slope_first:  # the same slope from elsewhere
        return denoised.to(state.x) + (state.x - before)
    return denoised


def _was_written(x, before, version) -> bool:
    if x.is_cpu and x.shape == before.shape:  # also through numpy, which counts no versions
        return not torch.equal(x, before)
    return version is None or x._version != version


def followed(shown: Tensor, before: Tensor, exact: Tensor) -> Tensor:
    """``exact``, of which ``before`` was shown in another dtype, where it was not written to, and
    elsewhere what was."""
    if shown.shape != before.shape:
        raise ValueError(
            f'callback: expected to leave "x" {list(before.shape)}, got {list(shown.shape)}'
        )
    return torch.where(shown == before, exact, shown.to(exact))
