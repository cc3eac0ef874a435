"""A trajectory: rows, and the buffers in which they are executed. Knows nothing of diffusers."""

import torch
from torch import Tensor

from ... import ops
from .plan import Rows

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
KEPT = 4  # shapes whose buffers are kept


class Bound:
    """The buffers for samples of one shape, dtype and device, and where they stand.

    Attributes:
        x: the state, float32 (float64 beside float64 tensors).
        second: where rows leave their second result, or None.
        z: the noise of the coming row, or None where the kernel draws it.
        place: the row to come.
        given, version: the sample handed out last, which ``x`` still holds if nobody wrote to it.
    """

    def __init__(self, rows: Rows, sample: Tensor, output: Tensor, philox: bool, known: bool):
        wide = torch.float64 in (sample.dtype, output.dtype)
        state = torch.float64 if wide else torch.float32
        batch, device = len(sample), sample.device
        like = {"dtype": state, "device": device}
        table = rows.on(state, device)
        self.x = torch.empty(sample.shape, **like)
        self.buffers = dict.fromkeys(("weights", "z", "z_prev", "second_weights", "threshold"))
        self.buffers |= {
            "row": torch.zeros(batch, dtype=torch.int64, device=device),
            "rows": table,
            "keys": torch.zeros(batch, 2, dtype=torch.int64, device=device),
            "saved": torch.zeros_like(self.x) if rows.uses_saved else None,
            "history": torch.zeros(rows.slots, *self.x.shape, **like) if rows.slots else None,
            "model_input": self.x,  # not written: the rows have no input scale
            "t": torch.zeros(batch, dtype=torch.float64 if wide else torch.float32, device=device),
            "known": torch.zeros_like(self.x) if known else None,
            "mask": torch.zeros_like(self.x) if known else None,
        }
        if rows.dynamic:
            self.buffers["threshold"] = torch.zeros(batch, **like)
        if any(rows.draws) and not philox:
            self.buffers["z"] = torch.zeros_like(self.x)
        self.rows = rows
        self.sample_dtype, self.output_dtype = sample.dtype, output.dtype
        self.dense = sample.is_contiguous()
        self.place = -1
        self.given, self.version = None, 0
        self.graph = None  # the anchor and the history, while they carry gradients
        self._bind()

    def _bind(self):
        self.execute = ops.bind(self.x, **self.buffers)
        self.z, second = self.buffers["z"], self.rows.second
        self.second = None
        if second is not None:
            saved = second == "saved"
            self.second = self.buffers["saved"] if saved else self.buffers["history"][second]

    def __getstate__(self):
        return {k: v for k, v in vars(self).items() if k not in ("execute", "z", "second", "given")}

    def __setstate__(self, state):
        vars(self).update(state)
        self.buffers["model_input"] = self.x
        self.given = None
        self._bind()

    def holds(self, sample: Tensor, output: Tensor) -> bool:
        """Whether these are the buffers for such a sample and such a model output."""
        return (
            sample.shape == self.x.shape
            and sample.dtype is self.sample_dtype
            and output.dtype is self.output_dtype
            and sample.device == self.x.device
            and sample.is_contiguous() == self.dense
        )

    def go(self, place: int) -> None:
        """Stand on a row."""
        self.buffers["row"].fill_(place)
        self.place = place

    def hand_out(self, dtype: torch.dtype, like: Tensor) -> Tensor:
        """A copy of the state that nobody else writes to."""
        if not self.dense:
            out = torch.empty_like(like, dtype=dtype).copy_(self.x)
        else:
            out = self.x.clone() if dtype is self.x.dtype else self.x.to(dtype)
        self.given = None if out.is_inference() else out
        self.version = 0
        return out


class Run:
    """Rows on their way, for the samples of one caller.

    Attributes:
        rows: what is executed; None: the stock step, for ``reason``.
        begin: the scheduler's index of row 0.
        places: timestep -> row.
        seen: what it was made from; compared by identity.
    """

    def __init__(self, rows, seen, options, *, begin=0, places=None, reason=None, philox=False):
        self.rows, self.seen, self.options = rows, seen, options
        self.begin, self.places, self.reason, self.philox = begin, places, reason, philox
        self.timesteps, self.levels, self.config = seen
        self.bound: Bound | None = None
        self.bounds: list[Bound] = []
        self.draws = rows.draws if rows else ()

    def take(self, sample: Tensor, output: Tensor, known: bool = False) -> Bound | None:
        """The buffers for such a sample, with the sample in them; None where no kernel works on
        it."""
        bound = next((b for b in self.bounds if b.holds(sample, output)), None)
        if bound is None:
            if not _fits(sample) or not _fits(output):
                return None
            bound = Bound(self.rows, sample, output, self.philox, known)
            self.bounds = [bound, *self.bounds[: KEPT - 1]]
        bound.x.copy_(sample.detach())
        self.bound = bound
        return bound

    def place_of(self, timestep, host) -> int | None:
        """The row of a timestep; of a tensor elsewhere by its place in memory, without a sync.

        Args:
            host: the timesteps on the host, in order.
        """
        if not isinstance(timestep, Tensor):
            return self.places.get(timestep)
        if timestep.device.type == "cpu" and timestep.numel() == 1:
            return self.places.get(timestep.tolist() if timestep.dim() == 0 else timestep.flatten()[0].tolist())
        k = index_in(timestep, self.timesteps)
        return None if k is None else self.places.get(host[k])


def index_in(part: Tensor, whole: Tensor) -> int | None:
    """Which element of ``whole`` a view of one of its elements is, or None."""
    if part.dtype is not whole.dtype or part.device != whole.device or part.numel() == 0:
        return None
    if any(size > 1 and stride for size, stride in zip(part.shape, part.stride(), strict=True)):
        return None  # several elements
    k, rest = divmod(part.data_ptr() - whole.data_ptr(), whole.element_size() * whole.stride(0))
    return k if rest == 0 and 0 <= k < len(whole) else None


def _fits(tensor: Tensor) -> bool:
    return (
        type(tensor) is Tensor
        and tensor.dtype in FLOATS
        and tensor.dim() > 0
        and tensor.numel() > 0
        and tensor.layout is torch.strided
        and tensor.device.type in ("cpu", "cuda")
        and ops.backend_of(tensor.device) != "reference"
    )


