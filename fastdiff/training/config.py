"""Settings of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fastdiff.arguments import flag, instance, number, whole
from fastdiff.models import find
from fastdiff.models.family import require, settings_from


@dataclass(frozen=True)
class TrainConfig:
    """Everything that determines a run's result on a given device.

    Attributes:
        family: which model, a name of ``fastdiff.models.FAMILY``.
        model: its settings, the ``Config`` of the family; None: the defaults.
        data: "digits8", "mnist5k" or a folder of images.
        pad: width of a black border around the images, pixels.
        shift: largest random shift of the training images, pixels.
        steps: optimizer steps.
        batch: images per step, over all processes.
        lr: peak learning rate of AdamW.
        warmup: steps of linear warm-up; cosine decay to zero follows.
        weight_decay: decoupled weight decay of AdamW.
        clip: largest L2 norm of the gradient.
        ema: decay of the average of the weights, after its warm-up.
        seed: seed of the weights, the batches and the noise.
        bf16: whether the network runs under bfloat16 autocast.
    """

    family: str = "sde"
    model: Any = None
    data: str = "digits8"
    pad: int = 0
    shift: int = 0
    steps: int = 1500
    batch: int = 128
    lr: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.995
    seed: int = 0
    bf16: bool = False

    def __post_init__(self) -> None:
        expected = find(self.family).Config
        if self.model is None:
            object.__setattr__(self, "model", expected())
        elif not isinstance(self.model, expected):
            raise TypeError(f"model: expected a {expected.__name__}, got {self.model!r}")
        expected_data = "digits8, mnist5k or a folder of images"
        if not instance("data", self.data, str, expected_data):
            raise ValueError(f"data: expected {expected_data}, got ''")
        require(self, 1, "steps", "batch")
        require(self, 0, "warmup", "shift", "pad", "weight_decay")
        for name in ("lr", "clip"):
            number(name, getattr(self, name), above=0)
        require(self, 0, "ema", below=1)
        whole("seed", self.seed)
        flag("bf16", self.bf16)

    def to_dict(self) -> dict:
        """As JSON-compatible values; :meth:`from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> TrainConfig:
        """The config of :meth:`to_dict`; every setting has to be there."""
        instance("values", values, Mapping, "a dict of settings")
        for name in ("family", "model"):
            if name not in values:
                raise ValueError(f"{name}: expected a value of this setting, got none")
        instance("model", values["model"], Mapping, "a dict of settings")
        model = settings_from(find(values["family"]).Config, values["model"])
        return settings_from(cls, {**values, "model": model})


# Where a family does better with other settings than the defaults, on two cores and 8x8 digits.
PRESETS: dict[str, dict[str, Any]] = {
    "vae": {"steps": 900},
    "hvae": {"steps": 900},
    "vdm": {"steps": 900},
    "classifier": {"steps": 600},
}


def preset(family: str, **settings: Any) -> TrainConfig:
    """The settings of a family, with those given in place of the customary ones."""
    return TrainConfig(**{"family": family, **PRESETS.get(family, {}), **settings})


def digits(**settings: Any) -> TrainConfig:
    """The run of the packaged digit model: a UNet that predicts v on the cosine schedule."""
    net = {"process": "cosine", "label_dropout": 0.1, "net": "unet", "hidden": 64, "blocks": 1}
    model = find("sde").Config(**net, dropout=0.05)
    preset = {
        "data": "mnist5k", "pad": 2, "shift": 2, "steps": 5000, "batch": 64, "lr": 1e-3,
        "warmup": 200, "ema": 0.999, "bf16": True,
    }  # fmt: skip
    return TrainConfig(**{"family": "sde", "model": model, **preset, **settings})
