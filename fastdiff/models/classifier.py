"""A classifier of noisy images, and guidance by its gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arguments import MOST, describe, number
from ..losses import levels, noise_and_target
from ..losses.batch import per_sample
from ..parameterization import exact_output
from .blocks import timestep_embedding
from .denoiser import at_unit_scale
from .family import Batch, Member, Space, require
from .mlp import EMBEDDING
from .sde import PROCESSES


@dataclass(frozen=True)
class ClassifierConfig:
    """Settings of ``Classifier``.

    Attributes:
        process: of the noise, as that of the model it will guide: "vp", "subvp", "ve", "cosine" or
            "flow".
        hidden: width of the network.
        dropout: dropout probability.
    """

    process: str = "vp"
    hidden: int = 256
    dropout: float = 0.3

    def __post_init__(self) -> None:
        require(self, 1, "hidden")
        require(self, 0, "dropout", below=1)


class Classifier(Member):
    """Classifier of noisy images, for classifier guidance.

    p(y | x_t) at every noise level: Dhariwal and Nichol 2021, "Diffusion models beat GANs on image
    synthesis", sec. 4.1.
    """

    Config = ClassifierConfig

    def __init__(self, config: ClassifierConfig, space: Space):
        super().__init__(config, space)
        if config.process not in PROCESSES:
            raise ValueError(
                f"process: expected one of {', '.join(PROCESSES)}, got {config.process!r}"
            )
        self.schedule = PROCESSES[config.process]
        hidden = config.hidden
        self.time = nn.Sequential(nn.Linear(EMBEDDING, hidden), nn.SiLU())
        self.stem = nn.Linear(space.dims, hidden)
        self.body = nn.Sequential(
            nn.SiLU(),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, space.classes),
        )

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Logits [B, classes] of noisy images x [B, C, H, W] at times t [B] of the schedule."""
        x, unit = at_unit_scale(self.schedule, x, t)
        time = self.time(timestep_embedding(unit, EMBEDDING).to(x.dtype))
        return self.body(self.stem(x.flatten(1)) + time)

    def gradient(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """grad_x log p(y | x_t), of x's shape."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            chosen = self(x, t).log_softmax(1).gather(1, y[:, None])
            return torch.autograd.grad(chosen.sum(), x)[0]

    def loss(self, batch: Batch) -> Tensor:
        low, high = self.schedule.t_min, self.schedule.t_max
        t = low + (high - low) * batch.u
        x_t, _ = noise_and_target(batch.x, levels(self.schedule, t, "x0"), batch.stream(0))
        return F.cross_entropy(self(x_t, t), batch.y, reduction="none")


class Guided(nn.Module):
    """A denoiser under classifier guidance, of the denoiser's prediction: score + scale grad log
    p(y | x_t). Dhariwal and Nichol 2021, algorithms 1 and 2.

    Args:
        denoiser: model(x, t, y) with a ``schedule`` and a ``prediction``.
        classifier: logits(x, t), or anything with its ``gradient``.
        scale: 0 leaves the model as it is, 1 samples p(x | y) if both are exact.
        conditional: also show the label to the denoiser, which otherwise is unconditional.
    """

    def __init__(self, denoiser, classifier, scale: float = 1.0, conditional: bool = False):
        super().__init__()
        for name in ("schedule", "prediction"):
            if not callable(denoiser) or not hasattr(denoiser, name):
                expected = "a model(x, t, y) with a schedule and a prediction"
                raise TypeError(f"denoiser: expected {expected}, got {describe(denoiser)}")
        if not callable(getattr(classifier, "gradient", None)) or isinstance(classifier, type):
            expected = "a classifier, or anything with its gradient"
            raise TypeError(f"classifier: expected {expected}, got {describe(classifier)}")
        number("scale", scale, least=-MOST, most=MOST)
        self.denoiser, self.classifier = denoiser, classifier
        self.scale, self.conditional = scale, conditional
        self.schedule, self.prediction = denoiser.schedule, denoiser.prediction

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """With x_t fixed, the output a x0 + b eps moves with the score by
        (sigma^2 / alpha) a - sigma b; at alpha = 0 x_t says nothing of y, and nothing moves."""
        out = self.denoiser(x, t, y) if self.conditional else self.denoiser(x, t)
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        a, b = exact_output(self.prediction, self.schedule, t)
        moved = torch.where(alpha > 0, sigma.square() / alpha * a - sigma * b, 0.0)
        gradient = self.classifier.gradient(x, t, y)
        return out + self.scale * per_sample(moved.to(x.dtype), x) * gradient
