"""``fastdiff sample``: draw images and say where the time went."""

import time
from io import BytesIO
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from .. import SamplerState, files, guidance, models, noise
from .device import clock, resolve
from .errors import one_line
from .plain import PlainLoop
from .tables import lower
from .tables import solver as solver_of

SUFFIXES = (".png", ".npz", ".safetensors")
SOLVER, STEPS, SCALE = "DPMpp2M", 20, 2.0


def sample(
    out: Annotated[Path, typer.Argument(help="What to write: .png, .npz or .safetensors")],
    model: Annotated[
        Path | None,
        typer.Option(help="Run's folder, checkpoint or model file; default: the packaged digits"),
    ] = None,
    solver: Annotated[
        str | None, typer.Option(help=f"One of `fastdiff info`'s solvers; default: {SOLVER}")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help=f"Number of steps (NCSN: at each level); default: {STEPS}"),
    ] = None,
    scale: Annotated[
        float | None, typer.Option(help=f"Guidance scale; 1: conditional; default: {SCALE}")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Labels, such as 7 or 0-9 or 1,3,5; default: all")
    ] = None,
    n: Annotated[int, typer.Option("-n", "--n", min=1, help="Number of samples")] = 80,
    seed: Annotated[int, typer.Option(help="Sample b has seed SEED + b")] = 0,
    device: Annotated[str, typer.Option(help="Where to draw: auto, cpu, cuda, ...")] = "cpu",
    compare: Annotated[
        bool, typer.Option(help="Run the plain PyTorch loop too (packaged digits, model files)")
    ] = True,
) -> None:
    """Draw from MODEL and write to OUT: from what `fastdiff train` made of any member of the family
    by the sampler of the member (its own defaults hold), or from a class-conditional UNet."""
    with one_line():
        _check_out(out)
        where = resolve(device)
        network = models.digits(where) if model is None else models.load(model, where)[0]
        if isinstance(network, models.Member):
            _sample_member(out, network, solver, steps, scale, classes, n, seed)
            return
        scale, config = SCALE if scale is None else scale, network.config
        labels = _labels(classes, config.classes, n).to(where)
        table = lower(solver or SOLVER, steps or STEPS)
        shape = (config.channels, config.image_size, config.image_size)
        x = noise.draw(noise.keys(seed, n, device=where), shape)
        cfg = None if scale == 1 else guidance.CFG(scale)
        fused = SamplerState(table, x, seeds=seed, guidance=cfg)
        times = {"fastdiff": _run(network, fused, labels, scale, progress=True)}
        _save(out, fused.x, labels)
        difference = None
        if compare:
            generator = torch.Generator(x.device).manual_seed(abs(seed))
            plain = PlainLoop(table, x, scale=None if scale == 1 else scale, generator=generator)
            times["plain PyTorch"] = _run(network, plain, labels, scale, progress=True)
            if not table.stochastic:
                difference = (plain.x - fused.x).abs().max().item()
    _report(out, table, n, times, difference)


def _sample_member(out, member, solver, steps, scale, classes, n, seed) -> None:
    """Write what a member of the family draws with those options that are given."""
    from ..training.draw import draw, takes_labels

    options = {
        "solver": None if solver is None else solver_of(solver),
        "repeats" if isinstance(member, models.NCSN) else "steps": steps,
        "scale": scale,
    }
    labels = None
    if takes_labels(member):
        labels = _labels(classes, member.space.classes, n).to(next(member.parameters()).device)
        if scale is None and member.label_dropout:
            options["scale"] = SCALE
    elif classes is not None:
        kind = type(member).__name__
        raise ValueError(f"classes: expected none for a {kind} trained without, got {classes!r}")
    start = time.perf_counter()
    chosen = {name: value for name, value in options.items() if value is not None}
    images = draw(member, n, seed, labels, **chosen)
    _save(out, images, labels)
    took = time.perf_counter() - start
    typer.echo(f"{out}: {n} samples of a {type(member).__name__} in {took:.2f} s")


def _run(network, state, labels, scale, progress) -> tuple[float, float]:
    """Advance a state to its end; seconds inside and outside of the model."""
    from tqdm.auto import tqdm

    null = torch.full_like(labels, network.config.classes)
    y = labels if scale == 1 else torch.cat([null, labels])
    now = clock(labels.device)
    inside = 0.0
    with torch.no_grad():
        network(state.model_input, state.t, y)  # the first call of a model is not its usual one
        bar = tqdm(
            total=state.remaining, desc=type(state).__name__, unit="step", disable=not progress,
            leave=False,
        )  # fmt: skip
        start = now()
        while not state.done:
            before = now()
            output = network(state.model_input, state.t, y)
            inside += now() - before
            state.step(output)
            bar.update()
        total = now() - start
        bar.close()
    return inside, total - inside


def _report(out, table, n, times, difference) -> None:
    shown = Table(title=f"{out}: {n} samples, {table.solver}, {table.nfe} model evaluations")
    for name in ("loop", "in the model", "outside it", "outside, per evaluation"):
        shown.add_column(name, justify="left" if name == "loop" else "right")
    for name, (inside, outside) in times.items():
        per_step = outside / table.nfe * 1e6
        shown.add_row(name, f"{inside:.3f} s", f"{outside * 1e3:.2f} ms", f"{per_step:.1f} us")
    console = Console()
    console.print(shown)
    if difference is not None:
        console.print(f"largest difference between the two loops' samples: {difference:.2e}")


def _check_out(out: Path) -> None:
    if out.suffix not in SUFFIXES:
        raise ValueError(f"out: expected a name ending in {', '.join(SUFFIXES)}, got {str(out)!r}")
    if not out.parent.is_dir():
        raise ValueError(f"out: expected an existing folder, got {str(out.parent)!r}")


def _labels(text: str | None, count: int, n: int) -> torch.Tensor:
    """[n] labels below ``count``: those that the text names, over and over."""
    chosen = range(count) if text is None else _parse_classes(text, count)
    return torch.tensor(chosen).repeat(-(-n // len(chosen)))[:n]


def _parse_classes(text: str, count: int) -> list[int]:
    chosen: list[int] = []
    for part in text.split(","):
        low, _, high = part.strip().partition("-")
        high = high or low
        if not low.isdecimal() or not high.isdecimal() or int(high) < int(low):
            raise ValueError(f"classes: expected labels such as 7, 0-9 or 1,3,5, got {text!r}")
        if int(high) >= count:
            raise ValueError(f"classes: expected labels from 0 to {count - 1}, got {text!r}")
        chosen += range(int(low), int(high) + 1)
    return chosen


def _save(out: Path, x: torch.Tensor, labels: torch.Tensor | None) -> None:
    """The samples [n, C, H, W] in [-1, 1]: as a picture, or as float32 with their labels."""
    arrays = {"images": x.float().cpu().contiguous()}
    if labels is not None:
        arrays["labels"] = labels.cpu()
    buffer = BytesIO()
    if out.suffix == ".npz":
        saved: dict = {name: array.numpy() for name, array in arrays.items()}
        np.savez_compressed(buffer, **saved)
    elif out.suffix == ".safetensors":
        import safetensors.torch

        buffer.write(safetensors.torch.save(arrays))
    else:
        _contact_sheet(arrays["images"]).save(buffer, "png")
    files.write(out, buffer.getvalue())


def _contact_sheet(images: torch.Tensor, columns: int = 10, zoom: int = 2):
    """A PIL image of the samples, row by row: in colour if they have three channels, else of the
    first one."""
    from PIL import Image

    channels = 3 if images.shape[1] == 3 else 1
    pixels = ((images[:, :channels].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    count, _, height, width = pixels.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    sheet = torch.zeros(rows * columns, channels, height, width, dtype=torch.uint8)
    sheet[:count] = pixels
    sheet = sheet.reshape(rows, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    sheet = sheet.reshape(rows * height, columns * width, channels)
    picture = Image.fromarray(sheet.squeeze(-1).numpy())
    return picture.resize((columns * width * zoom, rows * height * zoom), Image.Resampling.NEAREST)
