"""The training loop."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from fastdiff.models import UNet

from .checkpoint import TrainState, load_checkpoint, save_checkpoint
from .config import TrainConfig
from .curve import plot_curve, read_curve, write_curve
from .data import Digits, random_shift
from .ema import make_ema
from .objective import drop_labels, low_discrepancy_times, v_loss


def learning_rate(step: int, config: TrainConfig) -> float:
    """Learning rate of step 0, 1, ...: linear warm-up, then cosine decay towards zero."""
    warm = min(1.0, (step + 1) / max(1, config.warmup))
    progress = max(0.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    return config.lr * warm * 0.5 * (1 + math.cos(math.pi * progress))


def new_state(config: TrainConfig, device: torch.device | str = "cpu") -> TrainState:
    """The state of a run before its first step, from the config's seed."""
    torch.manual_seed(config.seed)
    model = UNet(config.model).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), config.lr, weight_decay=config.weight_decay, fused=True
    )
    # The batches and their noise come from a CPU generator, the same on every device.
    generator = torch.Generator().manual_seed(config.seed)
    return TrainState(model, make_ema(model, config.ema), optimizer, generator)


def _autocast(config: TrainConfig, device: torch.device | str) -> AbstractContextManager:
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=config.bf16)


def train_step(
    state: TrainState, data: Digits, config: TrainConfig, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """One optimizer step, in place on ``state``; returns the loss, a detached scalar."""
    rng, batch = state.generator, config.batch
    rows = torch.randint(0, len(data), (batch,), generator=rng)
    x0 = random_shift(data.images[rows], config.shift, rng)
    y = drop_labels(data.labels[rows], config.model.classes, config.label_dropout, rng)
    t = low_discrepancy_times(batch, rng)
    eps = torch.randn(x0.shape, generator=rng)
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(state.step, config)
    state.model.train()
    with _autocast(config, device):
        loss = v_loss(state.model, *(v.to(device) for v in (x0, y, t, eps)))
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(state.model.parameters(), config.clip)
    state.optimizer.step()
    state.ema.update_parameters(state.model)
    state.step += 1
    return loss.detach()


@torch.no_grad()
def evaluate(model: nn.Module, data: Digits, device: torch.device | str = "cpu") -> float:
    """Mean v loss over ``data`` with its labels, at fixed times and noise, in float32."""
    model.eval()
    rng = torch.Generator().manual_seed(0)
    t = low_discrepancy_times(len(data), rng)[torch.randperm(len(data), generator=rng)]
    eps = torch.randn(data.images.shape, generator=rng)
    total = 0.0
    for rows in torch.arange(len(data)).split(250):
        parts = (data.images[rows], data.labels[rows], t[rows], eps[rows])
        total += v_loss(model, *(v.to(device) for v in parts)).item() * len(rows)
    return total / len(data)


def train(
    config: TrainConfig,
    data: Digits,
    test: Digits,
    out: str | Path,
    device: torch.device | str = "cpu",
    resume: bool = False,
    every: int = 250,
) -> TrainState:
    """Train, with a checkpoint and a point of the loss curve every ``every`` steps.

    Args:
        config: the run.
        data: training images.
        test: images of the test loss, never trained on.
        out: folder of ``checkpoint.safetensors``, ``loss.csv`` and ``loss.png``; created.
        device: where the network runs.
        resume: continue from the folder's checkpoint, if it has one.
        every: steps between checkpoints.

    Returns:
        the final state.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    state, rows = new_state(config, device), []
    if resume and (out / "checkpoint.safetensors").is_file():
        load_checkpoint(out / "checkpoint.safetensors", state, config)
        rows = [row for row in read_curve(out / "loss.csv") if row["step"] <= state.step]
    losses = []
    with tqdm(total=config.steps, initial=state.step, unit="step") as bar:
        while state.step < config.steps:
            losses.append(train_step(state, data, config, device))
            bar.update()
            if state.step % every == 0 or state.step == config.steps:
                rows.append(_row(state, torch.stack(losses).mean().item(), test, config, device))
                losses.clear()
                bar.set_postfix(train=rows[-1]["train_loss"], test=rows[-1]["test_loss"])
                write_curve(out / "loss.csv", rows)
                save_checkpoint(out / "checkpoint.safetensors", state, config)
    plot_curve(out / "loss.png", rows)
    return state


def _row(
    state: TrainState,
    train_loss: float,
    test: Digits,
    config: TrainConfig,
    device: torch.device | str,
) -> dict[str, float]:
    return {
        "step": state.step,
        "lr": learning_rate(state.step - 1, config),
        "train_loss": train_loss,
        "test_loss": evaluate(state.ema.module, test, device),
    }
