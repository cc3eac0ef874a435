"""Checks of tensors that every operation makes of its arguments, whatever runs it."""

import torch

from ..arguments import describe, layout


def require_tensors(**values) -> None:
    """Raise TypeError unless every value is a tensor."""
    for name, value in values.items():
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"{name}: expected a tensor, got {describe(value)}")


def require_memory(**tensors) -> None:
    """Raise ValueError for tensors on the meta device."""
    for name, tensor in tensors.items():
        if isinstance(tensor, torch.Tensor) and tensor.is_meta:
            raise ValueError(f"{name}: expected a tensor in memory, got one on meta")


def refuse_gradient(**tensors) -> None:
    """Sampling ops have no autograd formula: raise rather than lose a gradient silently."""
    if not torch.is_grad_enabled():
        return
    for name, tensor in tensors.items():
        if isinstance(tensor, torch.Tensor) and tensor.requires_grad:
            raise RuntimeError(
                f"{name}: expected a tensor without gradient, got requires_grad=True while grad "
                "mode is on; this operation is not differentiable: use torch.no_grad() or detach()"
            )


def require_writable(**tensors) -> None:
    """Raise ValueError for tensors whose memory does not hold their values."""
    for name, tensor in tensors.items():
        if isinstance(tensor, torch.Tensor) and (tensor.is_neg() or tensor._is_zerotensor()):
            got = "a negated view" if tensor.is_neg() else "a zero tensor without memory"
            raise ValueError(
                f"{name}: expected a tensor that can be written in place, got {got}; clone() it"
            )


def is_within_storage(tensor: torch.Tensor) -> bool:
    """Whether the storage still holds all elements: it can be resized under its tensors."""
    if tensor.numel() == 0:
        return True
    try:
        there = tensor.untyped_storage().nbytes()
    except (RuntimeError, NotImplementedError):  # what a transform of torch.func wraps has none
        return True
    last = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    needed = (tensor.storage_offset() + last + 1) * tensor.element_size()
    return needed <= there


def _tensors(names, values) -> list[tuple[str, torch.Tensor]]:
    """(name, tensor) for the tensors among the values and in the lists among them."""
    found = []
    for name, value in zip(names, values, strict=False):
        for item in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(item, torch.Tensor):
                found.append((name, item))
    return found


def require_storage(names, values) -> None:
    """Raise ValueError for tensors, or items of lists of them, that have lost memory."""
    for name, tensor in _tensors(names, values):
        if not is_within_storage(tensor):
            raise ValueError(
                f"{name}: expected a tensor within its storage, got {describe(tensor)} in "
                f"{tensor.untyped_storage().nbytes()} bytes"
            )


def require_alike(names, values) -> None:
    """Raise ValueError unless all tensors are dense and on one device; lists count by their items.

    torch's dispatcher takes the kernel of one of the devices and layouts that come together, which
    then reads the others' memory as if it were its own.

    Args:
        names: of the arguments.
        values: tensors, lists of tensors, and others, which are not looked at.
    """
    first = None
    for name, tensor in _tensors(names, values):
        if tensor.layout is not torch.strided or tensor.is_nested or tensor.is_quantized:
            raise ValueError(f"{name}: expected a dense tensor, got {layout(tensor)}")
        if first is None:
            first, device = name, tensor.device
        elif tensor.device != device:
            raise ValueError(
                f"{name}: expected a tensor on {device} like {first}, got one on {tensor.device}"
            )
