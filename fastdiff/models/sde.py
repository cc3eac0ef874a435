"""Score-based models in continuous time: VP, sub-VP, VE, cosine and straight-line processes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..losses import denoising_loss
from ..losses.weights import find, log_snr_rate
from ..parameterization import PREDICTIONS
from ..schedules import VE, RectifiedFlow, SubVP, VPCosine, VPLinear
from ..typing import Prediction
from .denoiser import Denoiser
from .family import Batch, Space, make_net, require

PROCESSES = {
    "vp": VPLinear(),
    "subvp": SubVP(),
    "ve": VE(sigma_min=0.01, sigma_max=20.0),
    "cosine": VPCosine(),
    "flow": RectifiedFlow(),
}


@dataclass(frozen=True)
class SDEConfig:
    """Settings of ``ScoreSDE``.

    Attributes:
        process: "vp", "subvp", "ve", "cosine" or "flow".
        prediction: "eps", "x0", "v", "score" or "flow".
        weight: of the loss, a name of ``fastdiff.losses.weights``; "" is weight one in the unit of
            the prediction, "elbo" the likelihood weighting.
        times: "uniform", or "log-snr": uniform in log SNR with the loss reweighted to the same
            mean, the importance sampling that the likelihood weighting needs.
        label_dropout: probability of the null class: 1 trains an unconditional model, less than 1
            one for classifier-free guidance.
        net: "mlp" or "unet".
        hidden: width of the network.
        blocks: residual blocks (of the UNet: per level).
        dropout: dropout probability.
    """

    process: str = "vp"
    prediction: Prediction = "v"
    weight: str = ""
    times: str = "uniform"
    label_dropout: float = 1.0
    net: str = "mlp"
    hidden: int = 256
    blocks: int = 3
    dropout: float = 0.1

    def __post_init__(self) -> None:
        require(self, 1, "hidden", "blocks")
        require(self, 0, "dropout", below=1)


class ScoreSDE(Denoiser):
    """Score-based model in continuous time; with labels, for classifier-free guidance.

    Denoising score matching over a continuum of noise levels: Song et al. 2021, "Score-based
    generative modeling through stochastic differential equations", eq. 7.
    """

    Config = SDEConfig

    def __init__(self, config: SDEConfig, space: Space):
        if config.process not in PROCESSES:
            raise ValueError(
                f"process: expected one of {', '.join(PROCESSES)}, got {config.process!r}"
            )
        if config.prediction not in PREDICTIONS:
            raise ValueError(
                f"prediction: expected one of {', '.join(PREDICTIONS)}, got {config.prediction!r}"
            )
        if config.times not in ("uniform", "log-snr"):
            raise ValueError(f'times: expected "uniform" or "log-snr", got {config.times!r}')
        schedule, net = PROCESSES[config.process], make_net(config, space)
        super().__init__(config, space, net, schedule, config.prediction)
        self.weight = find(config.weight) if config.weight else None

    def times(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Times [B] from uniform numbers [B], and 1 / (their density times the range)."""
        schedule = self.schedule
        low, high = schedule.t_smallest, schedule.t_max
        if self.config.times == "uniform":
            if self.config.prediction in ("eps", "score"):
                high = schedule.t_largest
            return low + (high - low) * u, torch.ones_like(u)
        high = schedule.t_largest
        first, last = (float(schedule.lam(t)) for t in (high, low))
        lam = first + (last - first) * u.double()
        t = torch.as_tensor(schedule.t_of_lam(lam.cpu().numpy())).to(u)
        density = log_snr_rate(schedule, t) / (2 * (last - first)) * (high - low)
        return t, 1 / density

    def loss(self, batch: Batch) -> Tensor:
        t, importance = self.times(batch.u)
        loss = denoising_loss(
            self, batch.x, t, batch.stream(0), y=self.labels(batch), schedule=self.schedule,
            prediction=self.prediction, weight=self.weight,
        )  # fmt: skip
        return importance * loss / self.space.dims
