"""The training loop."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from fastdiff import arguments, files
from fastdiff.arguments import device as known_device
from fastdiff.arguments import flag, instance, number
from fastdiff.arguments import whole as whole_number
from fastdiff.models import Batch, Member, find
from fastdiff.models.run import CHECKPOINT

from .batch import batch_seed, make_batch, part, whole
from .checkpoint import TrainState, load_checkpoint, not_finite, save_checkpoint, tensors_of
from .config import TrainConfig
from .distributed import World
from .ema import make_ema
from .images import Images
from .log import Log

SHARE = 50  # time trains this many times as long as writing a checkpoint took before the next one


class Diverged(RuntimeError):
    """The loss, its gradient or the weights are not finite."""


class _Loss(nn.Module):
    """The mean loss as a module, because distributed training hooks ``forward``."""

    def __init__(self, model: Member):
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> Tensor:
        return self.model.loss(batch).mean()


def learning_rate(step: int, config: TrainConfig) -> float:
    """Learning rate of step 0, 1, ...: linear warm-up, then cosine decay towards zero."""
    warm = min(1.0, (step + 1) / max(1, config.warmup))
    progress = max(0.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    return config.lr * warm * 0.5 * (1 + math.cos(math.pi * progress))


def new_state(config: TrainConfig, data: Images, device: torch.device | str = "cpu") -> TrainState:
    """The state of a run before its first step, from the config's seed."""
    instance("config", config, TrainConfig, "a TrainConfig")
    instance("data", data, Images, "Images")
    device = known_device("device", device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = find(config.family)(config.model, data.space)
    model.fit(data.images)
    model.to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), config.lr, weight_decay=config.weight_decay, fused=True
    )
    return TrainState(model, make_ema(model, config.ema), optimizer)


def train_step(
    state: TrainState,
    data: Images,
    config: TrainConfig,
    device: torch.device | str = "cpu",
    world: World | None = None,
    loss_module: nn.Module | None = None,
) -> Tensor:
    """One optimizer step, in place on ``state``.

    Seeds torch's global generators, from which dropout draws.

    Args:
        world: of several processes, with the ``loss_module`` they share.

    Returns:
        [2] detached: the loss and the norm of the gradient, both of before the update. Where they
        are not finite, neither are the weights any more.
    """
    instance("state", state, TrainState, "a TrainState, as new_state makes it")
    instance("data", data, Images, "Images")
    instance("config", config, TrainConfig, "a TrainConfig")
    device, world = known_device("device", device), _world(world)
    if loss_module is not None:
        instance("loss_module", loss_module, nn.Module, "a module that gives the loss of a batch")
    seed = batch_seed(config, state.step)
    batch = make_batch(data, config, seed, state.step)
    batch = part(batch, world.share(config.batch), device)
    torch.manual_seed((seed + world.rank) % 2**63)
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(state.step, config)
    state.model.train()
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=config.bf16):
        loss = (loss_module or _Loss(state.model))(batch)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(state.model.parameters(), config.clip)
    state.optimizer.step()
    state.ema.update_parameters(state.model)
    state.step += 1
    return torch.stack([world.mean(loss.detach()).float(), norm.detach().float()])


@torch.no_grad()
def evaluate(
    model: Member, data: Images, config: TrainConfig, device: torch.device | str = "cpu"
) -> float:
    """Mean loss over ``data``, at fixed times and noise, in float32."""
    instance("model", model, Member, "a member of fastdiff.models.FAMILY")
    instance("data", data, Images, "Images")
    instance("config", config, TrainConfig, "a TrainConfig")
    device = known_device("device", device)
    model.eval()
    batch, total = whole(data, config), 0.0
    for start in range(0, len(data), 250):
        rows = slice(start, start + 250)
        total += model.loss(part(batch, rows, device)).double().sum().item()
    return total / len(data)


def train(
    config: TrainConfig,
    data: Images,
    test: Images,
    out: str | Path,
    device: torch.device | str = "cpu",
    resume: bool = False,
    every: int = 250,
    world: World | None = None,
    progress: bool = True,
    seconds: float = 60.0,
) -> TrainState:
    """Train, with a point of the loss curve and a checkpoint every ``every`` steps.

    A row is on the disk before the checkpoint that contains its steps: a run that was killed and
    resumed ends with the weights and the rows of one never interrupted.

    Args:
        config: the run.
        data: training images.
        test: images of the test loss, never trained on.
        out: folder of ``checkpoint.safetensors``, ``loss.csv`` and ``loss.png``; created. No other
            process may write there.
        device: where the network runs.
        resume: continue from the folder's checkpoint.
        every: steps between rows of ``loss.csv``, each followed by a checkpoint.
        world: of several processes; the first one writes.
        progress: show a progress bar.
        seconds: a checkpoint is also written where the last one, or the start, is longer ago, but
            not so often that it would take more than 2 % of the time.

    Returns:
        the final state.

    Raises:
        FileExistsError: if the folder has a checkpoint and ``resume`` is not set.
        FileNotFoundError: if it has none and ``resume`` is set.
        OSError: if a file cannot be written; the checkpoint is the one before.
        Diverged: if the loss, its gradient or the weights are no longer finite; the checkpoint is
            older.
    """
    instance("config", config, TrainConfig, "a TrainConfig")
    for name, images in (("data", data), ("test", test)):
        instance(name, images, Images, "Images")
    out, device, world = arguments.path("out", out), known_device("device", device), _world(world)
    flag("resume", resume)
    flag("progress", progress)
    if whole_number("every", every) < 1:
        raise ValueError(f"every: expected at least 1, got {every}")
    number("seconds", seconds, least=0, finite=False)
    path = out / CHECKPOINT
    _check_folder(path, resume)
    state = new_state(config, data, device)
    if resume:
        load_checkpoint(path, state, config)
    module: nn.Module = _Loss(state.model)
    if world.size > 1:
        module = DistributedDataParallel(module)
    log, saved = None, _Saver(path, seconds)
    if world.first:
        out.mkdir(parents=True, exist_ok=True)
        files.sweep(path)
        log = Log(out, until=state.step)
    shown = progress and world.first
    with (
        tqdm(total=config.steps, initial=state.step, unit="step", disable=not shown) as bar,
        torch.random.fork_rng(),
    ):
        while state.step < config.steps:
            state.recent.append(train_step(state, data, config, device, world, module))
            bar.update()
            due = state.step % every == 0 or state.step == config.steps
            # Elsewhere than on the CPU a look at each loss would wait for the device.
            if due or torch.device(device).type == "cpu":
                _check(state, config, path)
            # The losses are of before the update. Every process looks, so that all of them stop.
            if due and (bad := not_finite(tensors_of(state))):
                raise _diverged(state.step - 1, f"weights that are not ({bad!r})", config, path)
            if due and log is not None:
                row = {
                    "step": state.step,
                    "lr": learning_rate(state.step - 1, config),
                    "train_loss": torch.stack(state.recent)[:, 0].mean().item(),
                    "test_loss": evaluate(state.averaged, test, config, device),
                }
                if not math.isfinite(row["test_loss"]):
                    found = f"test loss {row['test_loss']:g}"
                    raise _diverged(state.step - 1, found, config, path)
                log.add(**row)
                bar.set_postfix(train=row["train_loss"], test=row["test_loss"])
            if due:
                state.recent.clear()
            if log is not None and (due or saved.long_ago and not not_finite(tensors_of(state))):
                saved.save(state, config)
    if log is not None:
        log.close()
    return state


def _world(world: World | None) -> World:
    return World() if world is None else instance("world", world, World, "a World, or None")


class _Saver:
    """Writes checkpoints, and says when the last one is long ago."""

    def __init__(self, path: Path, seconds: float):
        self.path, self.pause, self.seconds = path, seconds, seconds
        self.at = time.monotonic()

    @property
    def long_ago(self) -> bool:
        return time.monotonic() - self.at > self.pause

    def save(self, state: TrainState, config: TrainConfig) -> None:
        start = time.monotonic()
        save_checkpoint(self.path, state, config)
        self.at = time.monotonic()
        self.pause = max(self.seconds, SHARE * (self.at - start))


def _check_folder(path: Path, resume: bool) -> None:
    """Raise unless there is a checkpoint to continue, or none in the way of a new run."""
    if path.exists() and not resume:
        raise FileExistsError(
            f"out: expected a folder without a run, got {str(path)!r}; continue it with resume, "
            "or choose another folder"
        )
    if resume and not path.exists():
        raise FileNotFoundError(
            f"resume: expected a run to continue in {str(path.parent)!r}, got a folder without "
            f"{path.name}; begin the run without resume"
        )


def _check(state: TrainState, config: TrainConfig, path: Path) -> None:
    """Raise if any of the recent losses or gradients is not finite."""
    numbers = torch.stack(state.recent)
    bad = (~numbers.isfinite().all(1)).nonzero()
    if not len(bad):
        return
    first = int(bad[0])
    step = state.step - len(state.recent) + first
    loss, norm = numbers[first].tolist()
    raise _diverged(step, f"loss {loss:g} and gradient norm {norm:g}", config, path)


def _diverged(step: int, found: str, config: TrainConfig, path: Path) -> Diverged:
    kept = f"{str(path)!r}" if path.exists() else "none was written yet"
    return Diverged(
        f"step {step}: expected a finite loss, gradient and weights, got {found} "
        f"(batch seed {batch_seed(config, step)}); last good checkpoint: {kept}"
    )
