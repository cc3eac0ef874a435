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


def output_views(x: torch.Tensor, outputs, count: int, gain, written) -> tuple:
    """(tensors, sizes, strides, strides of gain): ``count`` model outputs and the gain, in place;
    tensors is None where there are no outputs.

    Args:
        outputs: count tensors [B, ...], one [count * B, ...] or none.
        written: buffers that the row writes, each some copies of the batch.
    """
    parts = list(outputs)
    if len(parts) == 1 and count > 1:
        parts = list(parts[0].chunk(count))
    read = parts if gain is None else [*parts, gain]
    for tensor in read:
        for buffer in written:
            _refuse_overlap(tensor, buffer, x.numel())
    sizes, strides = merged(tuple(x.shape[1:]), tuple(v.stride()[1:] for v in read))
    strides = [(v.stride(0), *s) for v, s in zip(read, strides, strict=True)]
    gain_strides = (0,) * (len(sizes) + 1) if gain is None else strides.pop()
    return tuple(parts) or None, sizes, tuple(strides), gain_strides


def _refuse_overlap(out: torch.Tensor, buffer: torch.Tensor, total: int) -> None:
    """A buffer that the row writes may be read as an output only where each element is read before
    it is written: at the very place of the same element, or of another copy of it."""
    if out.untyped_storage().data_ptr() != buffer.untyped_storage().data_ptr():
        return
    span = 1 + sum((n - 1) * s for n, s in zip(out.shape, out.stride(), strict=True))
    start = out.data_ptr() - buffer.data_ptr()
    if start + span * out.element_size() <= 0 or start >= buffer.numel() * buffer.element_size():
        return
    same_place = (
        start >= 0
        and start % (total * buffer.element_size()) == 0
        and out.dtype == buffer.dtype
        and out.is_contiguous()
    )
    if not same_place:
        raise ValueError(
            "out: expected memory of its own, got another view of the state or of model_input; "
            "clone it"
        )
