"""The loop without fastdiff: the same table executed by ordinary PyTorch operations.

This is what a careful hand-written sampler does: coefficients computed before the loop, nothing
read back from the device, one tensor operation for each term. ``fastdiff sample`` compares with it.
"""

import torch

from ..row import HISTORY
from ..tables.rows import Row


class PlainLoop:
    """Executes a StepTable in eager PyTorch; arguments as in ``fastdiff.sample``.

    ``scale`` is the classifier-free guidance scale (None: no guidance). Tables with known data, a
    learned variance or a dynamic threshold are not for it.
    """

    def __init__(self, table, x: torch.Tensor, *, scale: float | None = None, generator=None):
        self.rows = [Row.unpack(row) for row in table.rows[:-1].tolist()]
        self.scale, self.generator = scale, generator
        self.x = x.clone()
        self.saved: torch.Tensor | None = None
        self.z: torch.Tensor | None = None
        self.history: list[torch.Tensor | None] = [None] * HISTORY
        self.row_index = 0
        self.step(None)

    @property
    def remaining(self) -> int:
        return len(self.rows) - self.row_index

    @property
    def done(self) -> bool:
        return self.remaining == 0

    def step(self, out: torch.Tensor | None) -> None:
        """Guidance, update, noise, next model input."""
        row, x = self.rows[self.row_index], self.x
        uncond = out
        if out is not None and self.scale is not None:
            uncond, cond = out.chunk(2)
            out = uncond + self.scale * (cond - uncond)
        m: torch.Tensor | None = None
        if row.reads_m:
            low, high, _ = row.clip
            m = _combine(row.reading, {"x": x, "o": out}).clamp(low, high)
        before = self.z
        if row.draws:
            self.z = torch.randn(x.shape, generator=self.generator, device=x.device)
        slots = {f"h{k}": h for k, h in enumerate(self.history)}
        outputs = {"x": x, "m": m, "o": out, "u": uncond}
        operands = {**outputs, "s": self.saved, **slots, "z": self.z, "zp": before}
        following = _combine(row.x, operands)
        if row.slot >= 0:
            self.history[int(row.slot)] = _combine(row.remember, outputs)
        if row.s.terms:
            self.saved = _combine(row.s, operands)
        self.x = following
        self.row_index += 1
        if row.in_scale:
            scaled = following if row.in_scale == 1 else following * row.in_scale
            self.model_input = scaled if self.scale is None else torch.cat([scaled, scaled])
            self.t = x.new_full((len(self.model_input),), row.t_next)


def _combine(lin, operands):
    total = None
    for name, coefficient in lin.terms.items():
        term = coefficient * operands[name]
        total = term if total is None else total + term
    return total
