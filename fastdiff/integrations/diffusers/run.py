"""A trajectory through rows, in the buffers of whatever samples come. Knows no scheduler."""

from dataclasses import dataclass

import torch
from torch import Tensor, is_grad_enabled

from ... import ops
from .buffers import Buffers
from .noise import draw, take_keys
from .plans.plan import Rows

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
KEPT = 4  # shapes whose buffers are kept


class Declined(Exception):
    """The stock step has to do this one; the message says why. Nothing has happened yet."""


@dataclass(frozen=True)
class Habits:
    """How a scheduler treats dtypes.

    Attributes:
        upcasts: it computes in float32, and returns the dtype of the model's output or, with
            ``returns_sample``, of the sample; otherwise everything is of the dtype to which sample,
            output and noise are promoted.
        noise: the dtype of its noise; None: that of the model's output or, with
            ``noise_as_sample``, of the sample.
        wide: nothing that it returns is of less than float32.
    """

    upcasts: bool = True
    returns_sample: bool = False
    noise: torch.dtype | None = None
    noise_as_sample: bool = False
    wide: bool = False

    def drawn(self, sample: torch.dtype, output: torch.dtype) -> torch.dtype:
        """The dtype in which noise is drawn."""
        return self.noise or (sample if self.noise_as_sample else output)

    def results(self, sample: torch.dtype, output: torch.dtype) -> tuple:
        """The dtypes of the next sample and of the second result, for those of a sample and of an
        output; None: that of the state."""
        if self.upcasts:
            return sample if self.returns_sample else output, None
        promoted = torch.promote_types(sample, output)
        if self.wide:
            promoted = torch.promote_types(promoted, torch.float32)
        return torch.promote_types(promoted, self.noise or promoted), promoted


class Run:
    """Rows on their way.

    Args:
        rows: what is executed.
        habits: dtypes.
        philox: draw noise in the kernel.
    """

    def __init__(self, rows: Rows, habits: Habits, philox: bool = False):
        self.rows, self.habits, self.philox = rows, habits, philox
        self.draws, self.steps = rows.draws, len(rows.draws)
        self.current: Buffers | None = None
        self.kept: list[Buffers] = []

    @property
    def place(self) -> int:
        """The row to come."""
        return self.current.place if self.current else -1

    def rewind(self) -> None:
        """Forget where the samples are."""
        self.current = None
        for buffers in self.kept:
            buffers.place, buffers.given = -1, None

    def step(
        self, place: int, output: Tensor, sample: Tensor, generator=None, noise=None, known=None,
        before=None,
    ) -> tuple:  # fmt: skip
        """Execute a row.

        Args:
            place: which row.
            output: the model's output at ``sample``.
            generator: for the noise, as ``randn_tensor`` takes it.
            noise: the noise itself.
            known: (data, mask), what is known of the sample and where, for rows that blend it in.
            before: what rows remember whose memory the caller keeps: the second result of the step
                before, or another tensor in its place.

        Returns:
            the next sample and, where rows leave one, the second result: new tensors.
        """
        if noise is not None and self.philox:
            raise Declined('noise that is given, beside noise="philox"')
        recorded = is_grad_enabled() and (
            output.requires_grad
            or sample.requires_grad
            or (before is not None and before.requires_grad)
        )
        if recorded and known is not None:
            raise Declined("a gradient where part of the sample is known")
        buffers = self.current
        if (
            buffers is None
            or sample is not buffers.given
            or sample._version
            or output.dtype is not buffers.output_dtype
        ):
            buffers = self.take(place, sample, output)
        gain = None
        if output.shape != sample.shape or self.rows.gain:
            output, gain = self._halves(output, sample)
        if buffers.place != place:
            self._go(buffers, place, generator)
        if self.draws[place] and not self.philox:
            if noise is None:
                for _ in range(self.draws[place]):  # the last one counts
                    draw(buffers.z, generator, self.habits.drawn(sample.dtype, output.dtype))
            else:
                buffers.z.copy_(noise)
        if known is not None:
            for name, value in zip(("known", "mask"), known, strict=True):
                buffers.bound[name].copy_(value)
        if before is not None:
            buffers.recall(before)
        if recorded:
            return self._recorded(buffers, place, output, sample, gain)
        buffers.carried = None
        buffers.execute(output, gain)
        buffers.place = place + 1
        out = buffers.hand_out(sample)
        second = buffers.second
        if second is None:
            return (out,)
        dtype = buffers.second_dtype
        second = second.clone() if dtype is second.dtype else second.to(dtype)
        if self.rows.kept_outside:
            buffers.told = None if second.is_inference() else second
        return out, second

    def _recorded(self, buffers, place, output, sample, gain):
        x, second = buffers.differentiate(place, output, sample, gain)
        buffers.place = place + 1
        x = x.to(buffers.result_dtype)
        if second is None:
            return (x,)
        second = second.to(buffers.second_dtype)
        if self.rows.kept_outside:
            buffers.told = second
        return x, second

    def take(self, place: int, sample: Tensor, output: Tensor) -> Buffers:
        """The buffers for such a sample, with the sample in them."""
        buffers = self.current
        if buffers is None or not buffers.hold(sample, output.dtype):
            buffers = self._find(place, sample, output)
            self.current = buffers
        buffers.x.copy_(sample.detach())
        return buffers

    def _find(self, place, sample, output):
        if self.rows.looks_back and self.current is not None and place > 0:
            raise Declined(f"a sample of another kind, {sample.dtype} {list(sample.shape)}")
        for buffers in self.kept:
            if buffers.hold(sample, output.dtype):
                return buffers
        for tensor in (sample, output):
            if reason := _unfit(tensor):
                raise Declined(reason)
        dtypes = self.habits.results(sample.dtype, output.dtype)
        buffers = Buffers(self.rows, sample, output.dtype, dtypes, philox=self.philox)
        self.kept = [buffers, *self.kept[: KEPT - 1]]
        return buffers

    def _go(self, buffers, place, generator):
        buffers.go(place)
        if self.philox and any(self.draws):
            take_keys(buffers.bound["keys"], generator)

    def _halves(self, output, sample):
        """The model's output, and its second half of channels where it is a learned variance."""
        if not self.rows.gain:
            raise Declined(f"a model output {list(output.shape)} for {list(sample.shape)}")
        channels = sample.shape[1]
        if output.shape[1] != 2 * channels:
            raise Declined(f"a model output of {output.shape[1]} channels without a variance")
        return output[:, :channels], output[:, channels:]


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
