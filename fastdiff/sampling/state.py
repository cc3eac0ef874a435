"""The state of a batch of trajectories, and the step that advances it."""

import numpy as np
import torch
from torch import is_grad_enabled

from .. import guidance as guidance_
from .. import noise as noise_
from .. import ops
from ..row import COLUMN
from .draws import Draws
from .operands import known_data, plain, split_variance
from .program import Program


class SamplerState:
    """A batch of samples on their way through a table; ``step`` takes the model's output.

    ::

        state = SamplerState(table, x, seeds=0)
        while not state.done:
            state.step(model(state.model_input, state.t))
        sample = state.x

    Every buffer is allocated here and keeps its address: ``x``, ``model_input``, ``t`` are written
    in place by ``step``. Samples are independent: their noise, rows and weights do not depend on
    their batch, so a sample computed alone has the same bits as in any batch.

    Args:
        table: a StepTable, or one per sample.
        x: [B, ...] initial state at the table's first noise level: float32 or float64 (kept as the
            state's dtype), or bfloat16 or float16 (the state is float32, the model's dtype is x's).
        seeds: an int (sample b gets seeds + b), one int per sample, or keys (``noise.keys``).
        guidance: None, or a guidance such as ``CFG``: then the model's batch is G * B, one
            part per condition.
        model_dtype: dtype of ``model_input``; default: x's dtype.
        known, mask: data that the sample is known to have, and where (1: known); expand to x's
            shape. For tables that blend them in, such as those of ``Inpaint`` and ``RePaint``.
        noise: "philox" (drawn in the kernel), or what ``Draws`` accepts: "torch", a torch.Generator
            or one per sample, a tensor [draws, *x.shape], a callable.

    Attributes:
        model_input: [G * B, ...] what the model is to be evaluated at.
        t: [G * B] the timestep to evaluate it at, float32 (float64 if model_dtype is).

    Raises:
        TypeError, ValueError: an argument is not as described.
    """

    def __init__(
        self, table, x, *, seeds=0, guidance=None, model_dtype=None, noise="philox",
        known=None, mask=None,
    ):  # fmt: skip
        if not isinstance(x, torch.Tensor) or not x.is_floating_point() or x.dim() < 1:
            got = f"{x.dtype} {list(x.shape)}" if isinstance(x, torch.Tensor) else type(x).__name__
            raise TypeError(f"x: expected a floating-point tensor [batch, ...], got {got}")
        model_dtype = x.dtype if model_dtype is None else model_dtype
        wide = x.dtype == torch.float64
        if model_dtype not in ops.step.FLOATS[: 4 if wide else 3]:
            raise ValueError(
                "model_dtype: expected float32, bfloat16 or float16 (float64 only beside a float64 "
                f"state), got {model_dtype}"
            )
        ops.library.refuse_gradient(x=x)
        device, batch = x.device, len(x)
        self.program = Program(table, batch)
        self._x = x.to(torch.float64 if wide else torch.float32).clone(
            memory_format=torch.contiguous_format
        )
        state = {"dtype": self.x.dtype, "device": device}
        self._weights, self._second_weights = self._lower_guidance(guidance)
        self.outputs = 1 if self._weights is None else self._weights.shape[2]
        self.rows = torch.tensor(self.program.rows, **state)
        self.row = torch.tensor(self.program.entry, device=device)
        self.keys = noise_.keys(seeds, batch, device=device)
        slots, rest = self.program.slots, self.x.shape
        self._history = torch.zeros((slots, *rest), **state) if slots else None
        uses = self.program.uses
        self._saved = torch.zeros(rest, **state) if uses("uses_saved") else None
        self._known, self._mask = known_data(known, mask, self._x, uses("uses_known"))
        self._threshold = torch.zeros(batch, **state) if uses("dynamic") else None
        self._learned_variance = uses("uses_gain")
        self._draws = None
        if not (isinstance(noise, str) and noise == "philox"):
            needed = max((t.noise_draws for t in self.program.tables), default=0)
            previous = bool(self.program.reads_previous_draw.any())
            self._draws = Draws(noise, self.x, needed, previous)
        stacked = self.outputs * batch
        self.model_input = torch.zeros((stacked, *rest[1:]), dtype=model_dtype, device=device)
        time = torch.float64 if model_dtype == torch.float64 else torch.float32
        self.t = torch.zeros(stacked, dtype=time, device=device)
        self._execute = self._bind()
        self._stand_at(self.program.entry)
        self._left += not batch  # an empty batch has an entry row to execute, too
        self._drawn = False
        self._advance(None)

    def _lower_guidance(self, guidance):
        guidance_.check(guidance)
        if guidance is None:
            self._reads = [(0,)]
            return None, None
        mix = guidance.weights(self.program.noise_levels, len(self.x))
        # of each row, or of all rows alike: the outputs that some sample reads
        self._reads = [tuple(np.flatnonzero(row.any(axis=0)).tolist()) for row in mix]
        second = None
        if self.program.uses("uses_second_mix"):
            second = np.broadcast_to(guidance.second_weights(), mix.shape)
            self._reads = [tuple(range(guidance.outputs))]
        shape = (len(self.program.rows), len(self.x), guidance.outputs)
        return tuple(
            None if weights is None else torch.tensor(
                weights, dtype=self.x.dtype, device=self.x.device).expand(shape)
            for weights in (mix, second)
        )

    def _bind(self):
        """The function that executes a row: the bound executor, or the op where there is none."""
        buffers = {
            "weights": self._weights,
            "keys": self.keys,
            "saved": self._saved,
            "history": self._history,
            "z": self._draws.z if self._draws else None,
            "z_prev": self._draws.z_prev if self._draws else None,
            "model_input": self.model_input,
            "t": self.t,
            "second_weights": self._second_weights,
            "known": self._known,
            "mask": self._mask,
            "threshold": self._threshold,
        }
        if ops.native is not None and self.x.device.type == "cpu":
            executor = ops.native.Executor(x=self.x, row=self.row, rows=self.rows, **buffers)
            return executor.step

        def execute(out, gain=None):
            outputs = [] if out is None else [out] if isinstance(out, torch.Tensor) else list(out)
            ops.step_(self.x, self.row, self.rows, outputs, gain=gain, **buffers)

        return execute

    @property
    def x(self) -> torch.Tensor:
        """[B, ...] the state; after the last step the samples. Assigning is ``replace``."""
        return self._x

    @x.setter
    def x(self, value: torch.Tensor) -> None:
        self.replace(value)

    @property
    def done(self) -> bool:
        """Whether every sample has finished. Known on the host; asks nothing of the device."""
        return self._left <= 0

    @property
    def place(self) -> np.ndarray:
        """[B] int64, on the host: the row on which each sample stands, counted over all tables."""
        return np.minimum(self._start + (self._total - self._left), self.program.end)

    def _stand_at(self, place: np.ndarray) -> None:
        """Count from here: the host knows where every sample stands and never asks the device."""
        self._start = place
        self._total = self._left = int((self.program.end - place).max(initial=0))

    def step(self, out) -> None:
        """Execute one row for every unfinished sample.

        Args:
            out: the model's output at (``model_input``, ``t``): [G * B, ...], or a sequence of G
                tensors [B, ...]; float32, bfloat16 or float16, any strides. With a learned
                variance, twice the channels: [.., 2 C, ...].

        Raises:
            RuntimeError: every sample has finished, or a gradient would be lost.
            ValueError: ``out`` has another shape, dtype or device; the state is unchanged.
        """
        if self._left <= 0:
            raise RuntimeError(
                "step: expected an unfinished sample, got a state that is done "
                f"(all {len(self.x)} samples have executed their last row)"
            )
        if out.__class__ is not torch.Tensor or is_grad_enabled() or out.is_neg():
            out = plain(out)
        self._advance(out)

    def _advance(self, out) -> None:
        if self._draws is not None and not self._drawn:
            self._draw()
            self._drawn = True  # an output that is refused does not cost a draw
        if self._learned_variance and out is not None:
            self._execute(*split_variance(out, self._x, self.outputs))
        else:
            self._execute(out)
        self._drawn = False
        self._left -= 1

    def _draw(self):
        place = self.place
        reads = np.flatnonzero(self.program.reads_previous_draw[place])
        if len(reads):
            self._draws.keep_previous(reads.tolist())
        samples = np.flatnonzero(self.program.draws[place])
        if len(samples):
            numbers = self.program.rows[place[samples], COLUMN["draw"]].astype(int)
            self._draws.fill(samples.tolist(), numbers.tolist())

    @property
    def active(self) -> tuple[int, ...]:
        """Which of the G model outputs the coming row reads for any sample. Where guidance is off
        (outside its interval) this is the conditional one only: the others need not be computed.
        """
        if len(self._reads) == 1:
            return self._reads[0]
        return tuple(sorted({g for row in set(self.place.tolist()) for g in self._reads[row]}))

    def replace(self, x: torch.Tensor) -> None:
        """Replace the state between steps (x [B, ...]); the model's input follows."""
        if not isinstance(x, torch.Tensor):
            raise TypeError(f"x: expected a tensor, got {type(x).__name__}")
        if x.shape != self.x.shape:
            raise ValueError(f"x: expected {list(self.x.shape)}, got {list(x.shape)}")
        self._x.copy_(x)
        scale = self._column("in_scale", self.place - 1)
        for part in self.model_input.chunk(self.outputs):
            part.copy_(scale * self.x)

    def restart(self, sample: int, x: torch.Tensor, *, seed: int = 0) -> None:
        """Put a new trajectory in the place of one sample, at the entry of that sample's table; the
        others go on where they are. ``x`` [...] is its initial state."""
        if not 0 <= sample < len(self.x):
            raise IndexError(f"sample: expected 0..{len(self.x) - 1}, got {sample}")
        if x.shape != self.x.shape[1:]:
            raise ValueError(f"x: expected {list(self.x.shape[1:])}, got {list(x.shape)}")
        place = self.place
        entry = self.program.entry[sample]
        if self.program.draws[entry]:
            raise NotImplementedError("restart: a table whose entry row draws noise")
        place[sample] = entry + 1
        self._stand_at(place)
        scale, time = self.rows[entry, [COLUMN["in_scale"], COLUMN["t_next"]]].tolist()
        self.x[sample].copy_(x)
        self.row[sample] = entry + 1
        self.keys[sample] = noise_.key(seed, device=self.x.device)
        for part in self.model_input.chunk(self.outputs):
            part[sample].copy_(scale * self.x[sample])
        for part in self.t.chunk(self.outputs):
            part[sample] = time

    def _column(self, name, place):
        values = torch.tensor(self.program.rows[place, COLUMN[name]]).to(self.x)
        return values.reshape(-1, *[1] * (self.x.dim() - 1))
