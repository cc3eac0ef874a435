"""Tensors that are not what they look like, for operations that read memory by addresses."""

import numpy as np
import torch


def expanded_everywhere(v):
    return v.flatten()[:1].expand(v.numel()).reshape(v.shape) if v.dim() < 2 else v.flatten()[
        0
    ].expand(v.shape)  # fmt: skip


def expanded_in_each_sample(v):
    return v.reshape(len(v), -1)[:, :1].reshape(-1, *[1] * (v.dim() - 1)).expand(v.shape)


def expanded_at_the_end(v):
    return v[..., :1].expand(v.shape)


def expanded_batch(v):
    return v[:1].expand(v.shape)


def every_other(v):
    return torch.stack((v, v + v), dim=-1)[..., 0]


def transposed(v):
    return v.transpose(0, -1).contiguous().transpose(0, -1)


def offset(v):
    return torch.cat((v.new_zeros(1), v.flatten()))[1:].reshape(v.shape)


def negated(v):
    return torch._neg_view(-v) if v.is_floating_point() else v


def efficient_zero(v):
    return torch._efficientzerotensor(v.shape, dtype=v.dtype)


#: Read as their values, whatever their memory looks like.
READABLE = {
    f.__name__: f
    for f in (
        expanded_everywhere,
        expanded_in_each_sample,
        expanded_at_the_end,
        expanded_batch,
        every_other,
        transposed,
        offset,
        negated,
        efficient_zero,
    )
}


def truncated(v):
    """A tensor whose storage has become too small for it."""
    v = v.clone(memory_format=torch.contiguous_format)
    v.untyped_storage().resize_(v.element_size())
    return v


def without_memory(v):
    v = v.clone()
    v.untyped_storage().resize_(0)
    return v


def quantized(v):
    with torch.no_grad():
        return torch.quantize_per_tensor(v.float(), 0.1, 0, torch.quint8)


#: Refused by name. (What cannot be made of a tensor stays away.)
REFUSED = {
    "meta": lambda v: v.to("meta"),
    "sparse": lambda v: v.to_sparse(),
    "sparse rows": lambda v: v.to_sparse_csr(),
    "mkldnn": lambda v: v.to_mkldnn(),
    "quantized": quantized,
    "nested": lambda v: torch.nested.nested_tensor(list(v)),
    "jagged": lambda v: torch.nested.nested_tensor(list(v), layout=torch.jagged),
    "truncated": truncated,
    "without memory": without_memory,
    "bool": lambda v: v.bool(),
    "uint8": lambda v: v.to(torch.uint8),
    "uint16": lambda v: v.to(torch.uint16),
    "int32": lambda v: v.to(torch.int32),
    "float8": lambda v: v.to(torch.float8_e4m3fn),
    "complex": lambda v: v.to(torch.complex64),
    "negated bool": lambda v: torch._neg_view(v.bool()),
    "negated uint16": lambda v: torch._neg_view(v.to(torch.uint16)),
    "None": lambda v: None,
    "number": lambda v: 3,
    "text": lambda v: "text",
    "array": lambda v: np.zeros(tuple(v.shape)),
    "list": lambda v: [1.0, 2.0],
    "type": lambda v: torch.Tensor,
}


def made(make, v):
    """make(v), or None where torch cannot make such a tensor of this one."""
    try:
        return (make(v.detach()),)
    except (RuntimeError, NotImplementedError, TypeError, IndexError):
        return None
