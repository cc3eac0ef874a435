"""The guiders of diffusers' modular pipelines that mix by a few numbers of each sample: two outputs
in one pass, three in place.

::

    pipe.update_components(guider=fused.ClassifierFreeGuidance(guidance_scale=5.0))

Everything but ``forward`` is the stock class: options, their defaults, the steps in which there is
guidance, how models are prepared.
"""

import math

import torch
from diffusers import guiders

from ... import guidance
from ...guidance import mix
from .stock import BeforeStock, StockStepWarning, warn_once

PUBLIC = __name__.rpartition(".")[0]

try:
    from diffusers.guiders.guider_utils import GuiderOutput
except ImportError:  # of an older diffusers, with another result
    GuiderOutput = None  # type: ignore[assignment,misc]  # there is none to return


class Mixed(BeforeStock):
    """Base, before the stock class: outputs pred_cond and pred_uncond, options ``guidance_scale``,
    ``guidance_rescale`` and ``use_original_formulation``."""

    def forward(self, pred_cond, pred_uncond=None):
        return self._forward(pred_cond, pred_uncond)

    def _forward(self, pred_cond, pred_uncond, *others):
        outputs = (pred_cond, pred_uncond, *others)
        if self.num_conditions == 1:  # a step without guidance
            return super().forward(*outputs)  # type: ignore[misc]  # the stock class's
        try:
            pred = self._mix(*outputs)
        except (TypeError, ValueError) as reason:
            text = f"the stock mix is used, because there is no other for {reason}"
            warn_once(self, str(reason), text, StockStepWarning, stacklevel=4)
            return super().forward(*outputs)  # type: ignore[misc]  # the stock class's
        return GuiderOutput(pred=pred, pred_cond=pred_cond, pred_uncond=pred_uncond)

    def _mix(self, cond, uncond):
        return self._away(cond, uncond, self.guidance_scale)

    def _away(self, cond, other, scale):
        """From another output past the conditional one."""
        rescale = max(self.guidance_rescale, 0.0)
        if rescale and _is_recorded(cond, other):
            raise ValueError("a gradient through guidance_rescale")
        scale = 1 + scale if self.use_original_formulation else scale
        return mix(other, cond, scale, rescale=rescale)


class Directed(Mixed):
    """Those whose numbers come from the outputs themselves: ``_guidance`` says which they are.
    Outputs of fewer than ``least`` elements are mixed sooner than that is known."""

    least = 0

    def _forward(self, pred_cond, pred_uncond):
        if pred_cond.numel() < self.least:
            return super(Mixed, self).forward(pred_cond, pred_uncond)  # type: ignore[misc]  # the stock class's
        return super()._forward(pred_cond, pred_uncond)

    def _mix(self, cond, uncond):
        if _is_recorded(cond, uncond):
            raise ValueError("a gradient")
        scale = self.guidance_scale
        scale = 1 + scale if self.use_original_formulation else scale
        return mix(uncond, cond, self._guidance(scale, max(self.guidance_rescale, 0.0)))


class Projected(Directed):
    least = 1 << 15

    def _guidance(self, scale, rescale):
        for name in ("momentum", "norm_dim"):
            if getattr(self, f"adaptive_projected_guidance_{name}") is not None:
                raise ValueError(f"adaptive_projected_guidance_{name}")
        norm = self.adaptive_projected_guidance_rescale
        return guidance.APG(
            scale, rescale, eta=self.eta, norm=norm if norm > 0 else math.inf,
            from_uncond=not self.use_original_formulation,
        )  # fmt: skip


class Tangential(Directed):
    least = 1 << 11

    def _guidance(self, scale, rescale):
        return guidance.TCFG(scale, rescale)


class Weakened(Mixed):
    """Those with an output of a weakened network, too, away from which they guide by a scale of its
    own: cond, uncond and weak in one sum."""

    _weak_scale = "skip_layer_guidance_scale"

    def forward(self, pred_cond, pred_uncond=None, pred_cond_skip=None):
        return self._forward(pred_cond, pred_uncond, pred_cond_skip)

    def _mix(self, cond, uncond, weak):  # type: ignore[override]  # of three outputs
        scale = getattr(self, self._weak_scale)
        if not self._is_cfg_enabled():
            return self._away(cond, weak, scale)
        if self.num_conditions == 2:
            return self._away(cond, uncond, self.guidance_scale)
        if self.guidance_rescale > 0:
            raise ValueError("guidance_rescale of three outputs")
        if weak is None or (weak.shape, weak.dtype) != (cond.shape, cond.dtype):
            raise ValueError("a weakened output that is not like the conditional one")
        wide = torch.promote_types(cond.dtype, torch.float32)  # rounded once
        uncond = uncond if uncond.dtype != cond.dtype else uncond.to(wide)
        mixed = self._away(cond.to(wide), uncond, self.guidance_scale)
        return mixed.add_(cond, alpha=scale).sub_(weak, alpha=scale).to(cond.dtype)


class Smoothed(Weakened):
    _weak_scale = "seg_guidance_scale"

    def forward(self, pred_cond, pred_uncond=None, pred_cond_seg=None):
        return self._forward(pred_cond, pred_uncond, pred_cond_seg)


KINDS = {
    "ClassifierFreeGuidance": Mixed,
    "AutoGuidance": Mixed,
    "SkipLayerGuidance": Weakened,
    "PerturbedAttentionGuidance": Weakened,
    "SmoothedEnergyGuidance": Smoothed,
    "AdaptiveProjectedGuidance": Projected,
    "TangentialClassifierFreeGuidance": Tangential,
}


def _is_recorded(*tensors) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def _twin(kind: type, stock: type) -> type:
    """A subclass of its name, which says of itself that it is in the package."""
    members = {"__module__": PUBLIC, "__doc__": stock.__doc__}
    return type(stock.__name__, (kind, stock), members)


#: name -> class
GUIDERS = {
    name: _twin(kind, getattr(guiders, name))
    for name, kind in KINDS.items()
    if GuiderOutput is not None and hasattr(guiders, name)
}
