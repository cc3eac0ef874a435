"""The loop without fastdiff: the same table executed by ordinary PyTorch operations.

This is what a careful hand-written sampler does: coefficients computed before the loop, nothing
read back from the device, one tensor operation for each term. ``fastdiff sample`` compares with it.
"""

import torch

from ..row import COLUMN, HISTORY


class PlainLoop:
    """Executes a StepTable in eager PyTorch; arguments as in ``fastdiff.sample``.

    ``scale`` is the classifier-free guidance scale (None: no guidance). Tables with known data, a
    learned variance or a dynamic threshold are not for it.
    """

    def __init__(self, table, x: torch.Tensor, *, scale: float | None = None, generator=None):
        self.rows = [dict(zip(COLUMN, row, strict=True)) for row in table.rows[:-1].tolist()]
        self.scale, self.generator = scale, generator
        self.x, self.saved, self.z = x.clone(), None, None
        self.history: list[torch.Tensor | None] = [None] * HISTORY
        self.place = 0
        self.step(None)

    @property
    def remaining(self) -> int:
        return len(self.rows) - self.place

    @property
    def done(self) -> bool:
        return self.remaining == 0

    def step(self, out: torch.Tensor | None) -> None:
        """Guidance, update, noise, next model input."""
        row, x = self.rows[self.place], self.x
        uncond = out
        if out is not None and self.scale is not None:
            uncond, cond = out.chunk(2)
            out = uncond + self.scale * (cond - uncond)
        m = None
        if row["p_x"] or row["p_o"]:
            m = (row["p_x"] * x + row["p_o"] * out).clamp(row["clip_lo"], row["clip_hi"])
        before = self.z
        if row["c_z"] or row["d_z"]:
            self.z = torch.randn(x.shape, generator=self.generator, device=x.device)
        slots = {f"h{k}": h for k, h in enumerate(self.history)}
        outputs = {"m": m, "o": out, "u": uncond}
        operands = {"x": x, "s": self.saved, **outputs, **slots, "z": self.z, "zp": before}
        following = _combine(row, "c", operands)
        saved = _combine(row, "d", operands)
        if row["slot"] >= 0:
            self.history[int(row["slot"])] = _combine(row, "e", {"x": x, **outputs})
        self.saved = self.saved if saved is None else saved
        self.x = following
        self.place += 1
        if row["in_scale"]:
            scaled = following if row["in_scale"] == 1 else following * row["in_scale"]
            self.model_input = scaled if self.scale is None else torch.cat([scaled, scaled])
            self.t = x.new_full((len(self.model_input),), row["t_next"])


def _combine(row, prefix, operands):
    total = None
    for name, operand in operands.items():
        coefficient = row[f"{prefix}_{name}"]
        if coefficient:
            term = coefficient * operand
            total = term if total is None else total + term
    return total
