"""A trajectory through rows, in the buffers of whatever samples come. Knows no scheduler."""

from typing import Any

import torch
from torch import Tensor, is_grad_enabled
from torch.autograd import forward_ad

from ... import ops
from .adapters.lowering import Rows, Unsupported
from .buffers import ANY, Buffers
from .noise import draw, take_keys
from .spec import DtypePolicy

peek_interpreter_stack = torch._C._functorch.peek_interpreter_stack
FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
MISFIT = "a model output {} for {}"
KEPT = 8  # buffers that are kept, of other shapes or threads


class Run:
    """Rows on their way.

    Buffers are taken out of ``idle`` while a step uses them, so that threads can share rows that do
    not look back.

    Args:
        rows: what is executed.
        dtypes: dtypes.
        philox: draw noise in the kernel.
        keeps_result: see ``Buffers``.

    Attributes:
        row: the row to come, if the next step goes on from the last; -1 at the beginning.
    """

    def __init__(
        self, rows: Rows, dtypes: DtypePolicy, philox: bool = False, keeps_result: bool = False
    ):
        self.rows, self.dtypes = rows, dtypes
        self.philox, self.keeps_result = philox, keeps_result
        self.draws, self.steps = rows.draws, len(rows.draws)
        self.row = -1
        self.idle: list[Buffers] = []  # those that were used last at the end

    def rewind(self) -> None:
        """Begin anew."""
        self.row = -1
        if not (self.rows.multistep or self.philox):  # buffers hold nothing from before
            return
        for buffers in self.idle:
            buffers.row = -1

    def step(
        self, row: int, output: Tensor, sample: Tensor, generator=None, noise=None, known=None,
        before=None,
    ) -> tuple:  # fmt: skip
        """Execute a row.

        Args:
            row: which row.
            output: the model's output at ``sample``.
            generator: for the noise, as ``randn_tensor`` takes it.
            noise: the noise itself.
            known: (data, mask), what is known of the sample and where, for rows that blend it in.
            before: what rows remember whose memory the caller keeps: the second result of the step
                before, or another tensor in its row.

        Returns:
            the next sample and, where rows leave one, the second result: new tensors.
        """
        if noise is not None and self.philox:
            raise Unsupported('noise that is given, beside noise="philox"')
        if is_grad_enabled():
            _refuse_gradients(output, sample, before, *(known or ()))
        elif self.draws[row]:  # the kernel would say so only after the draw
            _refuse_transforms()
        try:
            buffers = self.idle.pop()
        except IndexError:
            buffers = None
        try:
            if (
                buffers is None
                or (
                    (sample is not buffers.given or output.dtype is not buffers.output_dtype)
                    and not buffers.hold(sample, output.dtype)
                )
                or self.philox
            ):
                buffers = self._find(buffers, row, output, sample, generator)
            gain = None
            if self.rows.gain:
                output, gain = self._halves(output, sample)
            elif self.rows.channels is not None:
                output = output[:, : self.rows.channels]
            if buffers.row != row:
                self._go(buffers, row, generator)
            if self.draws[row] and not self.philox:
                self._draw(buffers, row, output, sample, generator, noise)
            if known is not None:
                for name, value in zip(("known", "mask"), known, strict=True):
                    buffers.outside(buffers.bound[name]).copy_(value)
            if before is not None:
                buffers.recall(before)
            dtype = buffers.result_dtype
            if buffers.simple:
                out = torch.empty_like(sample, dtype=dtype)
            else:
                out = buffers.room(sample)
            if buffers.order is not None or (buffers.large and not output.is_contiguous()):
                read: Any = buffers.readable(output, sample, gain)
                output, sample, gain = read
            try:
                buffers.execute(output, gain, sample, out)
            except ValueError as error:  # nothing has been done
                raise Unsupported(MISFIT, _of(output), _of(sample)) from error
            buffers.row = self.row = row + 1
            if not buffers.simple:
                out = buffers.finished(out)
            if dtype is buffers.sample_dtype:
                buffers.given = out
            second = buffers.second
            if second is None:
                return (out,)
            dtype = buffers.second_dtype
            if not buffers.simple:
                return out, buffers.hand_out(second, dtype)
            return out, second.clone() if dtype is second.dtype else second.to(dtype)
        finally:
            if buffers is not None:
                self.idle.append(buffers)

    def _find(self, last, row, output, sample, generator):
        """The buffers for such a sample, ``last`` if they will do; others if they stand on the row,
        with the keys of the generator."""
        _refuse_transforms()
        for tensor in (sample, output):
            if reason := _unfit(tensor):
                raise Unsupported(reason)
        held = [b for b in (last, *self.idle) if b is not None and b.hold(sample, output.dtype)]
        memory = None  # of which there is but one
        if self.rows.multistep and row > 0:
            if last is None or last.row != row or not last.fit(sample):
                raise Unsupported("a sample of another kind, {}", _of(sample))
            held, memory = [last] if last in held else [], last
        found: Any = (
            self._with_keys(held, row, generator) if self.philox else next(iter(held), None)
        )
        if found is last and last is not None:
            return last
        try:
            self.idle.remove(found)
        except ValueError:  # there is none, or another thread was faster
            dtypes = self.dtypes.dtypes(sample.dtype, output.dtype, self.rows)
            found = Buffers(
                self.rows, sample, output.dtype, dtypes,
                philox=self.philox, keeps_result=self.keeps_result,
            )  # fmt: skip
            if memory is not None:
                return found.inherit(memory)
        if last is not None:
            self.idle.append(last)
        del self.idle[: -KEPT + 1]
        return found

    def _with_keys(self, held, row, generator):
        """Those that go on with the keys of the generator, or that nobody goes on with."""
        for buffers in held:
            if buffers.row == row and buffers.generator in (ANY, generator):
                return buffers
        for buffers in held:
            over = buffers.row < 0 or buffers.row >= self.steps
            if self.rows.multistep or over or buffers.generator in (ANY, generator):
                buffers.row = -1
                return buffers
        return None

    def _go(self, buffers, row, generator):
        buffers.go(row, generator)
        if self.philox and any(self.draws):
            take_keys(buffers.bound["keys"], generator)

    def _draw(self, buffers, row, output, sample, generator, noise):
        if output.shape != sample.shape:  # of which the kernel would say so only later
            raise Unsupported(MISFIT, _of(output), _of(sample))
        if noise is not None:
            buffers.outside(buffers.z).copy_(noise)
            return
        z = buffers.z if buffers.back is None else torch.empty(sample.shape, device=sample.device)
        for _ in range(self.draws[row]):  # the last one counts
            draw(z, generator, buffers.drawn_dtype)
        if z is not buffers.z:
            buffers.outside(buffers.z).copy_(z)

    def _halves(self, output, sample):
        """The model's output and the learned variance, which is its second half of channels."""
        channels = sample.shape[1]
        if output.shape[1] != 2 * channels:
            raise Unsupported("a model output of {} channels without a variance", output.shape[1])
        return output[:, :channels], output[:, channels:]


def _refuse_gradients(*tensors) -> None:
    """Rows have no gradients: raise where autograd or a transform of ``torch.func`` follows."""
    if forward_ad._current_level >= 0:
        raise Unsupported("a forward gradient")
    if peek_interpreter_stack() is not None:
        raise Unsupported(TRANSFORM)
    for tensor in tensors:
        if tensor is not None and tensor.requires_grad:
            raise Unsupported("a gradient")


TRANSFORM = "a transform of torch.func"


def is_transformed() -> bool:
    """Whether a transform of torch.func is at work."""
    return peek_interpreter_stack() is not None


def _refuse_transforms() -> None:
    if is_transformed():
        raise Unsupported(TRANSFORM)


def _of(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)} on {tensor.device}"


def _unfit(tensor: Tensor) -> str:
    """Why no kernel works on a tensor, or ""."""
    if type(tensor) is not Tensor:
        return f"a {type(tensor).__name__}"
    if tensor.dtype not in FLOATS or tensor.layout is not torch.strided:
        return f"a tensor of {tensor.dtype}, {tensor.layout}"
    if tensor.dim() == 0 or tensor.numel() == 0:
        return f"a tensor {list(tensor.shape)}"
    if tensor.device.type not in ("cpu", "cuda"):
        return f"a tensor on {tensor.device.type}"
    if ops.backend_of(tensor.device) == "reference":
        return f"no kernels for {tensor.device.type} in this installation"
    return ""
