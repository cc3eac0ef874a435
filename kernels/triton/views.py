"""How model outputs lie in memory: read in place, whatever their strides."""

from functools import lru_cache

import torch

MAX_DIMS = 6  # of a sample, after merging adjacent dimensions


@lru_cache(maxsize=1024)
def merged(sizes: tuple, strides: tuple) -> tuple:
    """Merge adjacent dimensions wherever every tensor allows it.

    Args:
        sizes: of one sample.
        strides: for each tensor, its strides in these dimensions.

    Returns:
        (sizes, strides) of at least one dimension; a sample without dimensions has one element.
    """
    kept, places = [], []
    for d, size in enumerate(sizes):
        if size == 1:
            continue
        if kept and all(s[places[-1]] == s[d] * size for s in strides):
            kept[-1] *= size
            places[-1] = d
        else:
            kept.append(size)
            places.append(d)
    if len(kept) > MAX_DIMS:
        raise ValueError(
            f"out: expected at most {MAX_DIMS} dimensions that cannot be merged, got {len(kept)}; "
            "call contiguous()"
        )
    if not kept:
        return (1,), ((1,),) * len(strides)
    return tuple(kept), tuple(tuple(s[d] for d in places) for s in strides)


def read_views(x: torch.Tensor, outputs, count: int, gain, x_in, written) -> tuple:
    """(tensors, sizes, strides, strides of gain, strides of x_in): ``count`` model outputs and what
    else a row reads in place; tensors is None where there are no outputs.

    Args:
        outputs: count tensors [B, ...], one [count * B, ...] or none.
        written: buffers that the row writes, each some copies of the batch.
    """
    parts = list(outputs)
    if len(parts) == 1 and count > 1:
        parts = list(parts[0].chunk(count))
    others = {"gain": gain, "x_in": x_in}
    named = [("out", part) for part in parts]
    named += [(name, tensor) for name, tensor in others.items() if tensor is not None]
    for name, tensor in named:
        for buffer in written:
            _refuse_overlap(name, tensor, buffer, x.numel())
    sizes, places = merged(tuple(x.shape[1:]), tuple(v.stride()[1:] for _, v in named))
    strides = [(v.stride(0), *s) for (_, v), s in zip(named, places, strict=True)]
    rest = iter(strides[len(parts) :])
    none = (0,) * (len(sizes) + 1)
    of_others = (none if tensor is None else next(rest) for tensor in others.values())
    return tuple(parts) or None, sizes, tuple(strides[: len(parts)]), *of_others


def _refuse_overlap(name: str, read: torch.Tensor, buffer: torch.Tensor, total: int) -> None:
    """What the row writes may be read only where each element is read before it is written: at the
    very place of the same element, or of another copy of it."""
    if read.untyped_storage().data_ptr() != buffer.untyped_storage().data_ptr():
        return
    span = 1 + sum((n - 1) * s for n, s in zip(read.shape, read.stride(), strict=True))
    start = read.data_ptr() - buffer.data_ptr()
    if start + span * read.element_size() <= 0 or start >= buffer.numel() * buffer.element_size():
        return
    same_place = (
        start >= 0
        and start % (total * buffer.element_size()) == 0
        and read.dtype == buffer.dtype
        and read.is_contiguous()
    )
    if not same_place:
        raise ValueError(
            f"{name}: expected memory of its own, got another view of what the row writes; clone it"
        )
