"""A score model as the rest of fastdiff calls it."""

import torch
from torch import Tensor

from ...arguments import device as known_device


def in_evaluation(model):
    """The model, in evaluation mode as score_sde leaves it."""
    if not callable(model):
        raise TypeError(f"model: expected a callable, got {type(model).__name__}")
    if isinstance(model, torch.nn.Module):
        model.eval()
    return model


def with_labels(model, whole: bool, dtype: torch.dtype = torch.float32):
    """model(x, labels) with copies, which it may keep, of ``dtype``; ``whole`` labels are int64."""
    model = in_evaluation(model)

    def wrapped(x: Tensor, t: Tensor) -> Tensor:
        labels = t.round().long() if whole else t.to(dtype, copy=True)
        return model(x.to(dtype, copy=True), labels)

    return wrapped


def start(sde, own, shape, device) -> Tensor:
    """A sample of the prior, drawn on the CPU: by the object itself if it can."""
    device = known_device("device", device)
    if hasattr(sde, "prior_sampling"):
        return sde.prior_sampling(shape).to(device)
    return (own.prior_std * torch.randn(*shape)).to(device)
