"""The state of a batch of trajectories, and the step that advances it."""

import copy
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.compiler import is_dynamo_compiling

from .. import guidance as guidance_
from .. import noise as noise_
from .. import ops
from ..arguments import flag, instance, whole
from ..solvers import StepTable
from ..typing import Noise, Output, Seeds
from . import buffers as buffers_
from .adaptive_weights import AdaptiveWeights, unfilled
from .brownian import BrownianDraws
from .buffers import Buffers
from .draws import Draws
from .followed import Followed
from .generator import GeneratorStream
from .operands import check_start, known_data, plain, require_state, split_variance
from .program import Program


class SamplerState(Followed):
    """A batch of samples on their way through a table; ``step`` takes the model's output.

    ::

        state = SamplerState(table, x, seeds=0)
        while not state.done:
            state.step(model(state.model_input, state.t))
        sample = state.x

    Every buffer is allocated here and stays the same tensor: ``x``, ``model_input``, ``t`` are
    written in place by ``step``. Samples are independent: their noise, rows and weights do not
    depend on their batch, so a sample computed alone has the same bits as in any batch. A step has
    no gradient: the loop belongs under ``torch.no_grad()``. One thread at a time may use a state.

    ``x`` may be written to between steps, in any way: ``model_input``, read after that, follows.
    What cannot be seen is a write through ``x.data`` or an array of ``x.numpy()`` that were taken
    before an earlier read of ``model_input``; ``replace`` after such a write.

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
        noise: "philox" (drawn in the kernel), "brownian" (the same path for a seed, whatever the
            number of steps), or what ``Draws`` accepts: "torch", a torch.Generator
            or one per sample, a tensor [draws, *x.shape], a callable.
        keep_x0: have every step leave the model's estimate of clean data in ``x0``, for previews
            and self-conditioning; it is written by the kernel that makes the step.

    Attributes:
        model_input: [G * B, ...] what the model is to be evaluated at.
        t: [G * B] the timestep to evaluate it at, float32 (float64 if model_dtype is).

    Raises:
        TypeError, ValueError: an argument is not as described.
    """

    def __init__(
        self,
        table: StepTable | Sequence[StepTable],
        x: torch.Tensor,
        *,
        seeds: Seeds = 0,
        guidance: guidance_.Guidance | None = None,
        model_dtype: torch.dtype | None = None,
        noise: Noise = "philox",
        known: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        keep_x0: bool = False,
    ):
        check_start(x)
        wide = x.dtype == torch.float64
        if model_dtype is None:
            model_dtype = x.dtype
        elif not isinstance(model_dtype, torch.dtype):
            instance("model_dtype", model_dtype, torch.dtype, "float32, bfloat16 or float16")
        if model_dtype not in ops.operands.FLOATS[: 4 if wide else 3]:
            raise ValueError(
                "model_dtype: expected float32, bfloat16 or float16 (float64 only beside a float64 "
                f"state), got {model_dtype}"
            )
        if x.requires_grad:
            ops.library.refuse_gradient(x=x)
        # Buffers made in inference mode could not be written to outside of it. Leaving it switches
        # gradients on.
        recorded = torch.is_grad_enabled()
        keep_x0 = keep_x0 is not False and flag("keep_x0", keep_x0)
        with torch.inference_mode(False), torch.set_grad_enabled(recorded):
            self._allocate(table, x, seeds, guidance, model_dtype, noise, known, mask, keep_x0)

    def _allocate(self, table, x, seeds, guidance, model_dtype, noise, known, mask, keep_x0):
        wide = x.dtype == torch.float64
        device, batch, rest = x.device, len(x), x.shape[1:]
        self.program = Program(table, batch)
        uses = self.program.uses
        self._learned_variance = uses("uses_gain")
        if keep_x0 and not all(table.shows_x0 for table in self.program.tables):
            raise ValueError(
                "keep_x0: expected a table whose rows say how x0 is read, got one of an older "
                "file; lower it again"
            )
        state = x.to(
            torch.float64 if wide else torch.float32,
            copy=True,
            memory_format=torch.contiguous_format,
        )
        weights, second_weights, self.outputs = self._lower_guidance(guidance, batch)
        known_weights, mixed = weights, self.outputs
        adaptive = guidance is not None and guidance.data_dependent
        if adaptive:
            memory, weights, second_weights = unfilled(guidance, state, second_weights)
            mixed = weights.shape[2]
        capacity = buffers_.capacity(len(self.program.rows), device, weights)
        rows = buffers_.packed_rows(self.program.rows, state, capacity)
        if known is not None or mask is not None or uses("uses_known"):
            known, mask = known_data(known, mask, state, uses("uses_known"))
        time = torch.float64 if model_dtype == torch.float64 else torch.float32
        stacked = mixed * batch
        slots = self.program.slots
        self.buffers = Buffers(
            x=state,
            row=torch.tensor(self.program.entry, device=device),
            rows=rows,
            keys=noise_.keys(seeds, batch, device=device),
            model_input=torch.zeros((stacked, *rest), dtype=model_dtype, device=device),
            t=torch.zeros(stacked, dtype=time, device=device),
            weights=None if weights is None else buffers_.mixing_weights(weights, rows),
            second_weights=buffers_.mixing_weights(second_weights, rows),
            saved=torch.zeros_like(state) if uses("uses_saved") else None,
            history=state.new_zeros((slots, *state.shape)) if slots else None,
            known=known,
            mask=mask,
            threshold=state.new_zeros(batch) if uses("dynamic") else None,
            x0_out=torch.zeros_like(state) if keep_x0 else None,
        )
        self._adaptive: AdaptiveWeights | None = None
        if adaptive:
            self._adaptive = AdaptiveWeights(guidance, known_weights, self.buffers, memory)
        # the same tensors for good
        self.row, self.rows, self.keys = self.buffers.row, self.buffers.rows, self.buffers.keys
        self._set_noise(noise)
        self._plain = not (self._draws or self._stream or self._learned_variance or self._adaptive)
        self._handed_out = self._may_be_written = False
        self._read_at = None
        self._stand_at(self.program.entry)
        self._bind()
        self._left += not batch  # an empty batch has an entry row to execute, too
        self._drawn = False
        if self._plain:
            self._execute(None)
            self._left -= 1
        else:
            self._advance(None)
        self._version = state._version

    def _lower_guidance(self, guidance, batch):
        """The weights of both mixes, and the number of outputs that are mixed."""
        if guidance is None:
            self._reads: list[tuple[int, ...]] = [(0,)]
            return None, None, 1
        guidance_.check(guidance)
        mix = guidance.weights(self.program.noise_levels, batch)
        # of each row, or of all rows alike: the outputs that some sample reads
        last: tuple[int, ...] = (guidance.outputs - 1,)  # needed where none is read, too
        self._reads = [tuple(np.flatnonzero(row.any(axis=0)).tolist()) or last for row in mix]
        if not self.program.uses("uses_secondary_mix"):
            return mix, None, guidance.outputs
        self._reads = [tuple(range(guidance.outputs))]
        return mix, np.broadcast_to(guidance.secondary_weights(), mix.shape), guidance.outputs

    def _set_noise(self, noise):
        self._stream: GeneratorStream | None = None
        self._draws: Draws | None = None
        if isinstance(noise, str) and noise == "philox":
            return
        if isinstance(noise, str) and noise == "brownian":
            self._draws = BrownianDraws(self.program, self.buffers, self.keys)
            return
        self._stream = GeneratorStream.of(noise, self.program, self.buffers)
        if self._stream is not None:
            return
        needed = max((t.noise_draws for t in self.program.tables), default=0)
        previous = bool(self.program.reads_previous_draw.any())
        self._draws = Draws(noise, self.buffers, needed, previous)

    def _bind(self):
        """Make the function that executes a row, with the buffers bound."""
        stream = self._stream and self._stream.launch
        self._execute = ops.bind(**self.buffers.named(), stream=stream)
        # The kernel writes a part for a guidance's own state, too, which no model is asked for.
        asked = self.outputs * len(self.buffers.x)
        self.t = self.buffers.t if len(self.buffers.t) == asked else self.buffers.t[:asked]
        self._stepping = threading.Lock()

    def __getstate__(self):
        own = ("_execute", "_stepping")
        return {name: value for name, value in vars(self).items() if name not in own}

    def __setstate__(self, values):
        vars(self).update(values)
        self.buffers.unshare()
        self._version = self.buffers.x._version
        self._bind()

    def __copy__(self):
        return copy.deepcopy(self)  # two states in the same buffers would undo each other's steps

    def step(self, out: Output) -> None:
        """Execute one row for every unfinished sample.

        Args:
            out: the model's output at (``model_input``, ``t``): [G * B, ...], or a sequence of G
                tensors [B, ...]; float32, bfloat16 or float16, any strides. With a learned
                variance, twice the channels: [.., 2 C, ...].

        Raises:
            RuntimeError: every sample has finished; a gradient would be lost; ``x`` was written to
                and ``model_input`` has not been read since the step before; another thread is
                stepping this state; a buffer was changed in place into something else. The state
                is unchanged.
            ValueError: ``out`` has another shape, dtype or device; the state is unchanged.
        """
        if self._left <= 0:
            self._refuse_done()
        traced = is_dynamo_compiling()
        if traced or out.__class__ is not torch.Tensor or out.requires_grad or out.is_neg():
            out = plain(out)
        if self._handed_out and self._is_written() and self._read_at != self._left:
            raise RuntimeError(
                "x: expected model_input to be read after x was written to, as that is when it "
                "follows, got a step without: read state.model_input before each evaluation of the "
                "model, or edit the state by replace(x), with which it follows at once"
            )
        if self._plain and not traced:  # the hot path, without the calls that have nothing to do
            self._execute(out)  # which lets one thread in
            self._left -= 1
        else:
            self._advance(out) if traced else self._advance_alone(out)

    def _refuse_done(self):
        raise RuntimeError(
            "step: expected an unfinished sample, got a state that is done "
            f"(all {len(self.buffers.x)} samples have executed their last row)"
        )

    def _advance(self, out) -> None:
        self.prepare()
        self.execute(out)
        self.count()

    def _advance_alone(self, out) -> None:
        """``_advance``, by one thread at a time: before a row is executed its noise is drawn."""
        if not self._stepping.acquire(blocking=False):
            raise RuntimeError(
                "step: expected one thread at a time, got a call while another thread executes a "
                "step of the same state"
            )
        try:
            if self._left <= 0:
                self._refuse_done()
            self._advance(out)
        finally:
            self._stepping.release()

    def prepare(self) -> None:
        """Draw the noise of the coming row, if it comes from elsewhere than the kernel, or see from
        where on the kernel draws it. An output that is refused does not cost a draw."""
        if is_dynamo_compiling() and (self._stream is not None or self._draws is not None):
            raise RuntimeError(
                'noise: expected "philox" in a step that torch.compile traces, got a source that '
                "the host draws from"
            )
        if self._stream is not None:
            self._stream.follow(self.row_index)
        if self._draws is not None and not self._drawn:
            self._draw(self._draws)
            self._drawn = True

    def execute(self, out) -> None:
        """The device's part of a step and nothing else: what a graph captures."""
        gain = None
        if self._learned_variance and out is not None:
            out, gain = split_variance(out, self.buffers.x, self.outputs)
        if self._adaptive is not None and out is not None:
            out = self._adaptive.follow(out)
        (self._trace if is_dynamo_compiling() else self._execute)(out, gain)

    def _trace(self, out, gain=None) -> None:
        """A row as torch.compile can take it up: the op, which is what the bound executor is."""
        outputs = list(out) if isinstance(out, (list, tuple)) else [out]
        operands: dict[str, Any] = self.buffers.named()
        ops.step_(**operands, outputs=outputs, gain=gain)

    def count(self) -> None:
        """The host's part of a step: one row less to go."""
        if self._stream is not None:
            self._stream.advance(self.row_index)
        self._drawn = False
        self._left -= 1

    def take(self, other: "SamplerState") -> None:
        """Go on from where another state stands, in the buffers of this one.

        Raises:
            ValueError: the other's buffers are of another structure.
        """
        instance("other", other, SamplerState, "a SamplerState")
        if self.structure() != other.structure():
            raise ValueError("other: expected a state of the same structure")
        other.model_input  # noqa: B018  it follows what was written to the other's state
        self.buffers.take(other.buffers)
        self._version = self.buffers.x._version
        for name in ("program", "_reads", "_start", "_total", "_left", "_drawn"):
            setattr(self, name, getattr(other, name))
        if self._adaptive is not None and other._adaptive is not None:
            self._adaptive.take(other._adaptive)
        self._stream = other._stream and other._stream.moved(self.buffers)
        self._draws = other._draws and other._draws.moved(self.buffers)

    def undrawn(self) -> AbstractContextManager:
        """A context that raises RuntimeError where something within draws from a generator whose
        numbers the kernel draws."""
        return self._stream.kept() if self._stream is not None else nullcontext()

    def structure(self) -> tuple:
        """States of the same structure can take each other's place in a captured graph."""
        launch = self._stream and self._stream.launch
        adaptive = self._adaptive and self._adaptive.structure()
        return (*self.buffers.structure(), self._learned_variance, launch, adaptive)

    def _draw(self, source: Draws):
        row_index = self.row_index
        reads = np.flatnonzero(self.program.reads_previous_draw[row_index])
        if len(reads):
            source.keep_previous(reads.tolist())
        samples = np.flatnonzero(self.program.draws[row_index])
        if len(samples):
            numbers = self.program.draw_numbers[row_index[samples]]
            source.fill(samples.tolist(), numbers.tolist())

    @property
    def active(self) -> tuple[int, ...]:
        """Which of the G model outputs the coming row reads for any sample. Where guidance is off
        (outside its interval) this is the conditional one only: the others need not be computed.
        """
        if len(self._reads) == 1:
            return self._reads[0]
        return tuple(sorted({g for row in set(self.row_index.tolist()) for g in self._reads[row]}))

    def replace(self, x: torch.Tensor) -> None:
        """Replace the state between steps (x [B, ...]); the model's input follows."""
        require_state(x, self.buffers.x.shape)
        self.buffers.x.copy_(x)
        self._follow()

    def restart(self, sample: int, x: torch.Tensor, *, seed: int = 0) -> None:
        """Put a new trajectory in the place of one sample, at the entry of that sample's table; the
        others go on where they are. ``x`` [...] is its initial state."""
        sample = whole("sample", sample)
        if not 0 <= sample < len(self.buffers.x):
            raise IndexError(f"sample: expected 0..{len(self.buffers.x) - 1}, got {sample}")
        require_state(x, self.buffers.x.shape[1:])
        key = noise_.key(seed, device=self.buffers.x.device)
        row_index, entry = self.row_index, self.program.entry[sample]
        self.buffers.x[sample].copy_(x)
        if self.buffers.x0_out is not None:
            self.buffers.x0_out[sample] = 0
        if self._adaptive is not None:
            self._adaptive.restart(sample)
        if self._stream is None:  # else its generator goes on
            self.keys[sample] = key
        # the entry row of this sample, while the others stand on END rows and are not touched
        alone = self.program.end.copy()
        alone[sample] = entry
        self._stand_at(alone)
        others = self.row.clone()
        self.row.copy_(torch.from_numpy(alone))
        self._advance(None)
        row_index[sample] = others[sample] = int(entry) + 1
        self.row.copy_(others)
        self._stand_at(row_index)
        self._version = self.buffers.x._version
