"""The buffers in which rows are executed, for samples of one shape, layout, dtype and device.

What a scheduler handed out may have been written to in ways that leave no trace (``x.data``, numpy,
DLPack), so a row reads the sample from wherever it lies, ``x_in``, and leaves the next one in
memory of its own, ``x_out``, without a copy where the kernel can write it as it is handed out.
"""

from typing import Any

import torch
from torch import Tensor

from ... import ops
from ...ops.operands import BOUND
from .adapters.lowering import Rows

LARGE = 1 << 14  # elements, out of order, that take longer to read than to copy
ANY = object()  # whatever generator comes next


class Buffers:
    """All that rows read and write, but for the model's output and the samples. In memory the
    dimensions are in the order of the sample's own strides.

    Attributes:
        x: a next sample that cannot be written where it is handed out; float32 (float64 beside
            float64 tensors), the dtype of the arithmetic.
        z: the noise of the coming row; None where the kernel draws it.
        second: where the rows leave their second result, or None.
        row: the row to come.
        given: the sample that was handed out last. Another one that is the same is of the same
            kind; it need not hold the same numbers.
        result_dtype, second_dtype, drawn_dtype: of what the step returns and draws.
        order, back: the permutation from the sample's dimensions to those of the buffers, and its
            inverse; None where they are the same.
        keeps_result: whether ``x`` holds the last result, too, whatever becomes of what was handed
            out.
        simple: whether the kernel writes the next sample where it is handed out.
        large: whether a kernel had better read all in order.
        generator: from which the keys of the noise were taken.
    """

    def __init__(
        self, rows: Rows, sample: Tensor, output_dtype, dtypes, *, philox=False, keeps_result=False
    ):
        self.rows, self.philox, self.keeps_result = rows, philox, keeps_result
        self.shape, self.device, self.dense = sample.shape, sample.device, sample.is_contiguous()
        self.strides, self.sample_dtype = sample.stride(), sample.dtype
        self.output_dtype = output_dtype
        # the numbers that a kernel draws go by the position of an element, whatever its memory
        drawn_in_order = philox and any(rows.draws)
        self.order = None if self.dense or drawn_in_order else order_of(sample)
        self.back = (
            None if self.order is None else tuple(map(self.order.index, range(sample.dim())))
        )
        self.layout = None  # of what is handed out, where it is not a buffer's
        if self.order is None and not self.dense:
            like = torch.empty_like(sample, device="meta")
            self.layout = None if like.is_contiguous() else like.stride()
        self.simple = self.order is None and self.layout is None and not keeps_result
        self.large = sample.numel() > LARGE
        with torch.inference_mode(False):  # they may outlive it
            self._allocate(sample)
        self.result_dtype, self.second_dtype, self.drawn_dtype = dtypes
        self.row, self.given = -1, None
        self.generator: Any = None
        self._bind()

    def _allocate(self, sample):
        rows = self.rows
        wide = torch.float64 in (sample.dtype, self.output_dtype)
        dtype = torch.float64 if wide else torch.float32
        shape = self._inside(sample).shape
        needs = {"x": 1, "z": any(rows.draws) and not self.philox, "saved": rows.uses_saved}
        needs |= {"known": rows.known, "mask": rows.known, "history": rows.slots}
        memory = torch.zeros(sum(needs.values()), *shape, dtype=dtype, device=sample.device)
        self.bound: dict[str, Any] = dict.fromkeys(BOUND)
        at = 0
        for name, size in needs.items():
            if size:
                part = memory[at : at + size]
                self.bound[name], at = part if name == "history" else part[0], at + size
        self.x, batch = self.bound["x"], shape[0]
        self.bound["row"] = torch.zeros(batch, dtype=torch.int64, device=sample.device)
        self.bound["keys"] = torch.zeros(batch, 2, dtype=torch.int64, device=sample.device)
        if rows.dynamic:
            self.bound["threshold"] = memory.new_zeros(batch)

    def _bind(self):
        self.execute = ops.bind(**self.bound | {"rows": self.rows.on(self.x.dtype, self.x.device)})
        self.z, second = self.bound["z"], self.rows.second
        self.second: Any
        if second is None:
            self.second = None
        else:
            self.second = (
                self.bound["saved"] if second == "saved" else self.bound["history"][second]
            )

    def __getstate__(self):
        views = ("execute", "x", "z", "second", "given", "generator")
        return {name: value for name, value in vars(self).items() if name not in views}

    def __setstate__(self, state):
        vars(self).update(state)
        self.x, self.given, self.generator = self.bound["x"], None, ANY
        self._bind()

    def hold(self, sample: Tensor, output_dtype) -> bool:
        """Whether these are the buffers for such a sample and such a model output."""
        return (
            sample.dtype is self.sample_dtype
            and output_dtype is self.output_dtype
            and self.fit(sample)
            and (sample.is_contiguous() if self.dense else sample.stride() == self.strides)
        )

    def fit(self, sample: Tensor) -> bool:
        """Whether a sample of another dtype or layout could be one of theirs."""
        return sample.shape == self.shape and sample.device == self.device

    def inherit(self, other: "Buffers") -> "Buffers":
        """Remember what others do, and stand where they stand."""
        for name in ("saved", "history"):
            if self.bound[name] is not None:
                mine, theirs = (b.bound[name] for b in (self, other))
                pairs = zip(mine, theirs, strict=True) if name == "history" else ((mine, theirs),)
                for buffer, value in pairs:
                    self.outside(buffer).copy_(other.outside(value))
        for name in ("row", "keys"):
            self.bound[name].copy_(other.bound[name])
        self.row, self.generator = other.row, other.generator
        return self

    def go(self, row: int, generator=None) -> None:
        """Stand on a row."""
        self.bound["row"].fill_(row)
        self.row, self.generator = row, generator

    def _inside(self, tensor: Tensor) -> Tensor:
        """A tensor like the sample, as the buffers have it."""
        return tensor if self.order is None else tensor.permute(self.order)

    def outside(self, tensor: Tensor) -> Tensor:
        """A buffer, as the caller has it."""
        return tensor if self.back is None else tensor.permute(self.back)

    def readable(self, *tensors: Tensor | None) -> list[Tensor | None]:
        """The tensors in the order of the buffers; large ones in order."""
        read = [None if t is None else self._inside(t) for t in tensors]
        return [t if t is None or not self.large else t.contiguous() for t in read]

    def room(self, sample: Tensor) -> Tensor:
        """Where the next sample goes: memory of its own, in the order of the buffers."""
        if self.layout is not None or self.keeps_result:
            return self.x
        return torch.empty_like(
            self._inside(sample), dtype=self.result_dtype, memory_format=torch.contiguous_format
        )

    def recall(self, before: Tensor) -> None:
        """Remember a tensor; of one that is a rounded copy of what is remembered, only what has
        been changed."""
        memory, value = self.outside(self.bound["history"][0]), before
        if value.dtype is memory.dtype:
            memory.copy_(value)
        else:
            memory.copy_(torch.where(value == memory.to(value.dtype), memory, value))

    def finished(self, out: Tensor) -> Tensor:
        """What the kernel left in ``room``, as the caller has it."""
        return self.hand_out(out, self.result_dtype) if out is self.x else self.outside(out)

    def hand_out(self, buffer: Tensor, dtype: torch.dtype) -> Tensor:
        """A copy in the sample's layout: what was handed out before is never written to."""
        if self.layout is not None:
            out = torch.empty_strided(self.shape, self.layout, dtype=dtype, device=self.device)
            return out.copy_(buffer)
        return self.outside(buffer.clone() if dtype is buffer.dtype else buffer.to(dtype))

    def remembered(self, slot: int | None = None) -> Tensor:
        """What is in a slot of the history, or the anchor, as the caller has it."""
        if slot is None:
            return self.anchor().to(self.result_dtype, copy=True)
        return self.outside(self.bound["history"][slot]).to(self.result_dtype, copy=True)

    def anchor(self) -> Tensor:
        """The anchor in the dtype of the state, where it lies."""
        return self.outside(self.bound["saved"])


def order_of(sample: Tensor) -> tuple[int, ...] | None:
    """The dimensions from the largest stride to the smallest, if the batch is the first of them."""
    strides = sample.stride()
    order = (0, *sorted(range(1, sample.dim()), key=lambda d: -strides[d]))
    if sample.dim() < 3 or (len(sample) > 1 and strides[0] < strides[order[1]]):
        return None
    return None if order == tuple(range(sample.dim())) else order
