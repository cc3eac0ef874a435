"""The buffers in which rows are executed, for samples of one shape, dtype and device."""

import torch
from torch import Tensor

from ... import ops
from .gradient import differentiable
from .plans.plan import Rows

UNUSED = ("weights", "second_weights", "z", "z_prev", "saved", "history", "threshold")


class Buffers:
    """A state and all that its rows read and write.

    Attributes:
        x: the state, float32 (float64 beside float64 tensors).
        z: the noise of the coming row; None where the kernel draws it.
        second: where the rows leave their second result, or None.
        place: the row to come.
        given: the sample that was handed out last; ``x`` still holds it if its version is 0.
        result_dtype, second_dtype: of what the step returns.
        carried: the anchor and the history while a gradient goes through them, or None.
        told: the second result that was handed out last, if the caller is to give it back.
    """

    def __init__(self, rows: Rows, sample: Tensor, output_dtype, dtypes, *, philox=False):
        self.rows, self.philox = rows, philox
        self.sample_dtype, self.output_dtype = sample.dtype, output_dtype
        self.dense = sample.is_contiguous()
        with torch.inference_mode(False):  # they may outlive it
            self.x = self._state(sample)
            self.bound = self._allocate()
        self.result_dtype, self.second_dtype = (dtype or self.x.dtype for dtype in dtypes)
        self.place, self.given, self.carried, self.told = -1, None, None, None
        self._bind()

    def _state(self, sample):
        wide = torch.float64 in (sample.dtype, self.output_dtype)
        dtype = torch.float64 if wide else torch.float32
        return torch.zeros(sample.shape, dtype=dtype, device=sample.device)

    def _allocate(self):
        rows, x = self.rows, self.x
        batch = len(x)
        bound = dict.fromkeys(UNUSED)
        bound["row"] = torch.zeros(batch, dtype=torch.int64, device=x.device)
        bound["rows"] = rows.on(x.dtype, x.device)
        bound["keys"] = torch.zeros(batch, 2, dtype=torch.int64, device=x.device)
        bound["model_input"] = x  # never written: the rows have no input scale
        bound["t"] = x.new_zeros(batch)
        if any(rows.draws) and not self.philox:
            bound["z"] = torch.zeros_like(x)
        if rows.uses_saved:
            bound["saved"] = torch.zeros_like(x)
        if rows.slots:
            bound["history"] = x.new_zeros(rows.slots, *x.shape)
        if rows.dynamic:
            bound["threshold"] = x.new_zeros(batch)
        for name in ("known", "mask"):
            bound[name] = torch.zeros_like(x) if rows.known else None
        return bound

    def _bind(self):
        self.execute = ops.bind(self.x, **self.bound)
        self.z, second = self.bound["z"], self.rows.second
        if second is None:
            self.second = None
        else:
            self.second = (
                self.bound["saved"] if second == "saved" else self.bound["history"][second]
            )

    def __getstate__(self):
        views = ("execute", "z", "second", "given", "told")
        return {name: value for name, value in vars(self).items() if name not in views}

    def __setstate__(self, state):
        vars(self).update(state)
        self.bound["model_input"], self.given, self.told = self.x, None, None
        self._bind()

    def hold(self, sample: Tensor, output_dtype) -> bool:
        """Whether these are the buffers for such a sample and such a model output."""
        return (
            sample.shape == self.x.shape
            and sample.dtype is self.sample_dtype
            and output_dtype is self.output_dtype
            and sample.device == self.x.device
            and sample.is_contiguous() == self.dense
        )

    def go(self, place: int) -> None:
        """Stand on a row."""
        self.bound["row"].fill_(place)
        self.place = place

    def recall(self, before: Tensor) -> None:
        """Remember a tensor, unless it is what is remembered already."""
        if before is self.told and not before._version:
            return
        self.bound["history"][0].copy_(before.detach())
        self.carried = self.bound["saved"], [before.to(self.x.dtype)]

    def hand_out(self, like: Tensor) -> Tensor:
        """The state, copied: what was handed out before is never written to."""
        dtype = self.result_dtype
        if not self.dense:
            out = torch.empty_like(like, dtype=dtype).copy_(self.x)
        else:
            out = self.x.clone() if dtype is self.x.dtype else self.x.to(dtype)
        self.given = None if out.is_inference() else out
        return out

    def differentiate(self, place: int, output: Tensor, sample: Tensor, gain):
        """The row in operations that autograd records. Returns the next state and the second
        result; the buffers follow, without gradients."""
        dtype = self.x.dtype
        saved, history = self.carried or (self.bound["saved"], self.bound["history"])
        history = list(() if history is None else history)
        operands = {"x": sample.to(dtype), "o": output.to(dtype), "s": saved, "z": self.z}
        operands |= {f"h{k}": value for k, value in enumerate(history)}
        gain = None if gain is None else gain.to(dtype)
        x, anchor, item, slot = differentiable(self.rows.rows[place], operands, gain)
        saved = saved if anchor is None else anchor
        second = anchor
        if item is not None:
            history[slot] = second = item
        self.carried = saved, history
        with torch.no_grad():
            self.x.copy_(x)
            if anchor is not None:
                self.bound["saved"].copy_(anchor)
            if item is not None:
                self.bound["history"][slot].copy_(item)
        self.bound["row"].fill_(place + 1)
        self.given = None
        return x, (second if self.second is not None else None)
