"""What comes back from functions that a caller gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

from ..arguments import describe, tensor

if TYPE_CHECKING:
    from .state import SamplerState


class Callback(Protocol):
    """Called after every step; ``state.replace(x)`` edits the state. It returns nothing."""

    def __call__(self, state: SamplerState, /) -> None: ...


def call(callback: Callback, state: SamplerState) -> None:
    """Call it with the state after a step.

    Raises:
        TypeError: it returned a tensor or a dict, as callbacks of other libraries do: nothing would
            come of that.
    """
    returned: object = callback(state)  # type: ignore[func-returns-value]  # what should be nothing
    if isinstance(returned, (torch.Tensor, dict)):
        raise TypeError(
            "callback: expected nothing to be returned, got "
            f"{describe(returned)}; state.replace(x) edits the state"
        )


def prediction_of(out, x: torch.Tensor) -> torch.Tensor:
    """What a model made of x: a tensor of its shape.

    Raises:
        TypeError, ValueError: it is something else.
    """
    if not isinstance(out, torch.Tensor):
        got = f"{describe(out)}{hint(out)}"
        raise TypeError(f"model: expected a tensor {list(x.shape)} from it, got {got}")
    return tensor("model", out, shape=x.shape)


def hint(out) -> str:
    """The end of a sentence on an output that is no tensor but holds one."""
    if isinstance(out, dict):
        held = [name for name, value in out.items() if isinstance(value, torch.Tensor)]
        return f"; let the model return one of its values: {held}" if held else ""
    if isinstance(getattr(out, "sample", None), torch.Tensor):
        return "; let the model return its .sample"
    if isinstance(out, (tuple, list)) and out and isinstance(out[0], torch.Tensor):
        return "; let the model return its first item alone"
    return ""
