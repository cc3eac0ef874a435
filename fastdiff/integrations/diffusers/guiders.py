"""The guiders of diffusers' modular pipelines that mix two outputs, with a mix that is one pass.

::

    pipe.update_components(guider=fused.ClassifierFreeGuidance(guidance_scale=5.0))

Everything but ``forward`` is the stock class: options, their defaults, the steps in which there is
guidance, how models are prepared.
"""

import warnings

import torch
from diffusers import guiders

from ...guidance import mix
from .fused import PUBLIC, StockStepWarning

try:
    from diffusers.guiders.guider_utils import GuiderOutput
except ImportError:  # of an older diffusers, with another result
    GuiderOutput = None

NAMES = ("ClassifierFreeGuidance", "AutoGuidance")


class Mixed:
    """Base, before the stock class: outputs pred_cond and pred_uncond, options ``guidance_scale``,
    ``guidance_rescale`` and ``use_original_formulation``."""

    def forward(self, pred_cond, pred_uncond=None):
        if self.num_conditions == 1:  # a step without guidance
            return super().forward(pred_cond, pred_uncond)
        scale, rescale = self.guidance_scale, max(self.guidance_rescale, 0.0)
        scale = 1 + scale if self.use_original_formulation else scale
        try:
            if rescale and _is_recorded(pred_cond, pred_uncond):
                raise ValueError("a gradient through guidance_rescale")
            pred = mix(pred_uncond, pred_cond, scale, rescale=rescale)
        except (TypeError, ValueError) as reason:
            self._say(str(reason))
            return super().forward(pred_cond, pred_uncond)
        return GuiderOutput(pred=pred, pred_cond=pred_cond, pred_uncond=pred_uncond)

    def _say(self, reason):
        """Warn, once for each reason."""
        said = self.__dict__.setdefault("_said", set())
        if reason not in said:
            said.add(reason)
            warnings.warn(
                f"{type(self).__name__}: the stock mix is used, because there is no other for "
                f"{reason}",
                StockStepWarning,
                stacklevel=4,
            )


def _is_recorded(*tensors) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def _twin(stock: type) -> type:
    """A subclass of its name, which says of itself that it is in the package."""
    members = {"__module__": PUBLIC, "__doc__": stock.__doc__}
    return type(stock.__name__, (Mixed, stock), members)


#: name -> class
GUIDERS = {
    name: _twin(getattr(guiders, name))
    for name in NAMES
    if GuiderOutput is not None and hasattr(guiders, name)
}
