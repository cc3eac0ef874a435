"""Settings of a training run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from fastdiff.models import UNetConfig


@dataclass(frozen=True)
class TrainConfig:
    """Everything that determines a run's result on a given device.

    Attributes:
        steps: optimizer steps.
        batch: images per step.
        lr: peak learning rate of AdamW.
        warmup: steps of linear warm-up; cosine decay to zero follows.
        weight_decay: decoupled weight decay of AdamW.
        clip: largest L2 norm of the gradient.
        ema: decay of the average of the weights, after its warm-up.
        label_dropout: probability of the null class, for classifier-free guidance.
        shift: largest random shift of the training images, pixels.
        seed: seed of the weights, the batches and the noise.
        bf16: whether the network runs under bfloat16 autocast.
        model: the architecture.
    """

    steps: int = 5000
    batch: int = 64
    lr: float = 1e-3
    warmup: int = 200
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.999
    label_dropout: float = 0.1
    shift: int = 2
    seed: int = 0
    bf16: bool = True
    model: UNetConfig = field(default_factory=UNetConfig)

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("warmup", "shift", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")
        for name in ("lr", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)}")
        for name in ("ema", "label_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a number in [0, 1), got {getattr(self, name)}")

    def to_dict(self) -> dict:
        """As JSON-compatible values; :meth:`from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> TrainConfig:
        """The config of :meth:`to_dict`."""
        return cls(**{**values, "model": UNetConfig(**values["model"])})
