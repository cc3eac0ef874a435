"""The loop: model, step, model, step."""

from collections.abc import Sequence
from typing import Any, Literal

import torch

from ..arguments import flag
from ..guidance import Guidance
from ..guidance import check as check_guidance
from ..solvers import StepTable
from ..typing import Model, Noise, Seeds
from .conditions import conditions_of, stacked
from .graph import graphs
from .operands import check_start
from .returned import Callback, call
from .state import SamplerState


def sample(
    model: Model,
    x: torch.Tensor,
    table: StepTable | Sequence[StepTable],
    *,
    seeds: Seeds = 0,
    guidance: Guidance | None = None,
    cond: dict[str, Any] | Sequence[dict[str, Any]] | None = None,
    uncond: dict[str, Any] | None = None,
    graph: bool | Literal["auto"] = "auto",
    callback: Callback | None = None,
    progress: bool = False,
    noise: Noise = "philox",
    model_dtype: torch.dtype | None = None,
    known: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    keep_x0: bool = False,
) -> torch.Tensor:
    """Draw samples with a model and a table.

    Args:
        model: called as model(x, t, **cond) -> tensor of x's shape, of the kind that the table was
            lowered for (``prediction``; checked if the model, or what it wraps, has an attribute of
            that name).
        x: [B, ...] initial state at the table's first noise level, see ``SamplerState``.
        table: a StepTable, or one per sample.
        seeds: noise seeds, see ``SamplerState``.
        guidance: None or a guidance such as ``CFG``. With guidance the model is called once, with
            the conditions stacked [unconditional, conditional] along the batch; where the guidance
            reads only one of them, with that one.
        cond: keyword arguments of the model; tensors have a leading dimension B. With
            ``MultiCondition`` a list of them, one for each scale.
        uncond: the same for the unconditional part; needed with guidance.
        graph: capture model and step as one CUDA graph and replay it for every step. "auto": on a
            CUDA device, if the model can be captured, else eagerly with a warning that says why;
            captures of a ``torch.nn.Module`` are kept and found again by later calls of the same
            structure (other tables, seeds, scales, steps). True: required. False: never.
        callback: called with the SamplerState after every step; ``state.replace(x)`` edits it, and
            ``state.step_index``, ``steps`` and ``finished`` say how far each sample is.
        progress: show a progress bar (tqdm).
        noise, model_dtype, known, mask: see ``SamplerState``.
        keep_x0: for a callback that looks at ``state.x0``, the model's estimate of clean data.

    Returns:
        [B, ...] the samples, in the state's dtype.

    Raises:
        TypeError, ValueError: an argument is not as described.
    """
    if type(progress) is not bool:
        progress = flag("progress", progress)
    _check(model, table, guidance, graph, callback)
    conditions = conditions_of(guidance, cond, uncond)
    with torch.no_grad():
        if guidance is not None and not _mixes_secondary(table):
            check_start(x)
            if guidance.is_conditional(len(x)):
                guidance = None  # the conditional output alone, bit for bit
                conditions = dict([conditions.popitem()])
        state = SamplerState(
            table, x, seeds=seeds, guidance=guidance, model_dtype=model_dtype, noise=noise,
            known=known, mask=mask, keep_x0=keep_x0,
        )  # fmt: skip
        inputs = stacked(conditions, len(x)) if cond or uncond else {}
        wanted = graph is True or (graph == "auto" and x.device.type != "cpu")
        captured = _capture(model, state, inputs, graph) if wanted else None
        if captured is None:
            given = list(conditions.values())
            step = lambda: state.step(_evaluate(model, state, given, inputs))  # noqa: E731
            return _run(state, step, callback, progress)
        try:  # a graph's buffers serve the next call
            return _run(captured.state, captured.step, callback, progress).clone()
        finally:
            captured.release()


def _run(state, step, callback, progress):
    bar = _progress_bar(state) if progress else None
    while not state.done:
        step()
        if callback is not None:
            call(callback, state)
        if bar is not None:
            bar.update()
    if bar is not None:
        bar.close()
    return state.x


def _capture(model, state, inputs, graph):
    """The captured step, or None: there is nothing to do, or the device has no graphs."""
    if state.done:
        return None
    if state.buffers.x.device.type != "cuda":
        if graph is True:
            raise ValueError(
                f"graph: expected a state on cuda to capture, got {state.buffers.x.device}"
            )
        return None
    return graphs.step_for(model, state, inputs, required=graph is True)


def _mixes_secondary(table) -> bool:
    tables = table if isinstance(table, (list, tuple)) else [table]
    return any(getattr(t, "uses_secondary_mix", False) for t in tables)


def _evaluate(model, state, conditions, inputs):
    """The model on all conditions at once, or, where guidance reads one of them, on that one."""
    if len(conditions) == 1:
        return model(state.model_input, state.t, **inputs)
    active = state.active
    if len(active) > 1:
        return model(state.model_input, state.t, **inputs)
    g, batch = active[0], len(state.buffers.x)
    part = slice(g * batch, (g + 1) * batch)
    out = model(state.model_input[part], state.t[part], **conditions[g])
    return [out] * len(conditions)  # those with weight zero are not read


def _check(model, table, guidance, graph, callback):
    for name, value in (("model", model), ("callback", callback)):
        if not (callable(value) or (name == "callback" and value is None)):
            raise TypeError(f"{name}: expected a callable, got {type(value).__name__}")
    if guidance is not None:
        check_guidance(guidance)
    if not isinstance(graph, (str, bool)) or graph not in ("auto", True, False):
        raise ValueError(f'graph: expected "auto", True or False, got {graph!r}')
    declared = _declared_prediction(model)
    for t in table if isinstance(table, (list, tuple)) else [table]:
        wanted = getattr(t, "prediction", declared)
        if isinstance(declared, str) and declared != wanted:
            raise ValueError(
                f"table: expected one lowered for prediction={declared!r}, as the model declares, "
                f"got one for {wanted!r}"
            )


def _declared_prediction(model):
    """The attribute ``prediction`` of a model, of the object that a bound method belongs to, or of
    what DataParallel and torch.compile wrap; None if there is none."""
    while model is not None:
        if isinstance(declared := getattr(model, "prediction", None), str):
            return declared
        owner = None
        for name in ("__self__", "module", "_orig_mod"):
            if owner is None:
                owner = getattr(model, name, None)
        model = owner
    return None


def _progress_bar(state):
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise ImportError("progress: needs tqdm; pip install 'fastdiff[cli]'") from None
    return tqdm(total=int((state.program.end - state.row_index).max(initial=0)), desc="sampling")
