"""The loop of k-diffusion around the rows of a table."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ... import SamplerState, StepTable, grids
from ...arguments import describe, function, instance, tensor
from ...schedules import EDM, RectifiedFlow
from .callback import report


class Call(NamedTuple):
    """The arguments that all samplers have."""

    model: Callable
    x: Tensor
    extra_args: dict | None
    callback: Callable | None
    disable: bool | None

    def check(self) -> None:
        function("model", self.model)
        function("callback", self.callback, optional=True)
        if isinstance(self.x, Tensor) and not self.x.is_floating_point():
            raise TypeError(
                f"x: expected a floating-point tensor [batch, ...], got {describe(self.x)}"
            )
        tensor("x", self.x, dims=1)
        if self.extra_args is not None:
            expected = "a dict of keyword arguments for the model"
            instance("extra_args", self.extra_args, Mapping, expected)
        if self.disable is not None:
            instance("disable", self.disable, (bool, int), "True, False or None")

    @property
    def seed(self):
        """By which interfaces on top of k-diffusion seed their default noise; the model gets it,
        too."""
        return (self.extra_args or {}).get("seed")

    def evaluate(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.model(x, sigma, **(self.extra_args or {}))


class Noise(NamedTuple):
    """Who is asked for noise, and when, whether or not the row has a use for it.

    Attributes:
        sampler: called with (sigma, sigma_next).
        when: "before" every step (churn); after every "step" or "stage" that does not end at 0.
        given: the sampler is the caller's: it gets tensors, others numbers.
    """

    sampler: Callable
    when: str
    given: bool = False

    def rows(self, table: StepTable) -> np.ndarray:
        """[N + 1] whether it is asked for the noise of a row."""
        ends = np.zeros(table.nfe + 1, dtype=bool)
        ends[table.first_stages - 1] = True  # the row before a step begins; row 0 is the entry
        if self.when == "before":
            return ends
        ends[0], ends[-1] = False, True
        return (ends | (self.when == "stage")) & (table.sigma[1:] > 0) & (np.arange(len(ends)) > 0)


class Feed:
    """Noise for a ``SamplerState`` that is drawn when the sampler would draw it."""

    z: Tensor

    def __call__(self, number, shape) -> Tensor:
        return self.z


def run(
    call: Call, sigmas, solver, noise: Noise | None = None, levels=None, *,
    slope_first: bool = False, flow: bool = False,
) -> Tensor:  # fmt: skip
    """Take the steps of a solver.

    Args:
        call: what is sampled.
        sigmas: [steps + 1] noise levels, for the callback and the noise.
        solver: with all its options.
        noise: None where nothing is drawn.
        levels: ``sigmas`` on the host.
        slope_first: see ``callback.report``.
        flow: the levels are those of a rectified flow.

    Returns:
        [B, ...] the samples, in the dtype of x.
    """
    call.check()
    x, levels = call.x, host_levels(sigmas) if levels is None else levels
    if len(levels) < 2:
        return x
    table = table_of(solver, levels.tobytes(), flow)
    asked = noise.rows(table) if noise else np.zeros(table.nfe + 1, dtype=bool)
    step_of = np.searchsorted(table.first_stages, np.arange(table.nfe + 1), side="right") - 1
    model_times = x.new_tensor(table.model_t)[:, None].repeat(1, len(x))
    hats, reached = (sigmas.new_tensor(v) for v in (table.model_t, table.sigma[1:]))
    feed = Feed()
    used = table.draws[:-1]
    skip = getattr(noise and noise.sampler, "skip", None)

    def draw(k):
        i = max(int(step_of[k]), 0)
        if noise is None:
            return
        if skip is not None and not used[k]:
            skip()
        elif noise.given:
            feed.z = noise.sampler(sigmas[i], reached[k])
        else:
            feed.z = noise.sampler(float(levels[i]), float(table.sigma[k + 1]))

    if asked[0]:
        draw(0)
    state = SamplerState(table, x, noise=feed if table.stochastic else "philox")
    with progress(len(levels) - 1, call.disable) as bar:
        for k in range(1, table.nfe + 1):
            i, point = int(step_of[k]), state.model_input.clone()  # who keeps it may do so
            denoised = call.evaluate(point, model_times[k - 1])
            if call.callback is not None and step_of[k - 1] < i:
                info = {"x": point, "i": i, "sigma": sigmas[i], "sigma_hat": hats[k - 1],
                        "denoised": denoised}  # fmt: skip
                denoised = report(call.callback, info, state, slope_first)
            if asked[k]:
                draw(k)
            if x.numel():  # the state of no samples is done from the start
                state.step(_narrowed(denoised, x))
            if k == table.nfe or step_of[k + 1] > i:
                bar.update()
    return state.x.to(x.dtype)


def _narrowed(denoised, x):
    """A model may be more precise than its samples; a row is not."""
    is_wider = isinstance(denoised, Tensor) and denoised.dtype == torch.float64 != x.dtype
    return denoised.float() if is_wider else denoised


def host_levels(sigmas) -> np.ndarray:
    """The noise levels in float64: the one thing that is read from the device."""
    if not isinstance(sigmas, Tensor) or not sigmas.is_floating_point() or sigmas.dim() != 1:
        expected = "a floating-point tensor [steps + 1]"
        raise TypeError(f"sigmas: expected {expected}, got {describe(sigmas)}")
    tensor("sigmas", sigmas)
    if sigmas.is_meta:
        raise ValueError("sigmas: expected noise levels, got a tensor on meta, which has none")
    levels = np.array(sigmas.tolist(), dtype=np.float64)
    bad = ~(np.isfinite(levels) & (levels >= 0))
    bad[:-1] |= levels[:-1] == 0
    steps = np.diff(levels)
    if len(steps):
        bad[1:] |= np.sign(steps) != (np.sign(steps[0]) or 1)
    if bad.any():
        i = int(np.argmax(bad))
        before = f" after {levels[i - 1]:g}" if i else ""
        raise ValueError(
            "sigmas: expected finite, strictly decreasing (or increasing) noise levels > 0, the "
            f"last >= 0, got sigmas[{i}] = {levels[i]:g}{before}"
        )
    return levels


@functools.lru_cache(maxsize=64)
def table_of(solver, levels: bytes, flow: bool = False) -> StepTable:
    """The table of a solver on these levels. Of some samplers the last ones are kept."""
    sigmas = np.frombuffer(levels)
    if sigmas[0] < sigmas[-1] and solver.stochastic:
        raise ValueError(f"sigmas: expected to decrease for {solver!r}, got {sigmas[0]:g} first")
    edm = EDM(float(sigmas[sigmas > 0].min()), 2 * float(sigmas.max()))  # above the levels of churn
    schedule = RectifiedFlow() if flow else edm
    rising = sigmas[0] < sigmas[-1]
    grid = grids.Reversed(grids.Explicit(sigmas[::-1])) if rising else grids.Explicit(sigmas)
    return solver.lower(schedule, len(sigmas) - 1, prediction="x0", grid=grid)


class Quiet:
    """A progress bar that shows nothing."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def update(self, n=1):
        pass


def progress(total: int | None, disable: bool | None):
    """tqdm's bar, if it is installed and wanted (``disable`` as tqdm has it)."""
    if not disable:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            return Quiet()
        return tqdm(total=total, disable=disable)
    return Quiet()
