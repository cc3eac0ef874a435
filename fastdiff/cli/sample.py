"""``fastdiff sample``: draw digits and say where the time went."""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from .. import SamplerState, guidance, models, noise
from .device import clock, resolve
from .plain import PlainLoop
from .tables import lower

SUFFIXES = (".png", ".npz", ".safetensors")
NULL_CLASS = 10


def sample(
    out: Annotated[Path, typer.Argument(help="What to write: .png, .npz or .safetensors")],
    solver: Annotated[str, typer.Option(help="One of `fastdiff info`'s solvers")] = "DPMpp2M",
    steps: Annotated[int, typer.Option(min=1, help="Number of steps")] = 20,
    scale: Annotated[float, typer.Option(help="Guidance scale; 1: conditional")] = 2.0,
    classes: Annotated[str, typer.Option(help="Digits, such as 7 or 0-9 or 1,3,5")] = "0-9",
    n: Annotated[int, typer.Option("-n", "--n", min=1, help="Number of samples")] = 80,
    seed: Annotated[int, typer.Option(help="Sample b has seed SEED + b")] = 0,
    device: Annotated[str, typer.Option(help="Where to draw: auto, cpu, cuda, ...")] = "cpu",
    model: Annotated[Path | None, typer.Option(help="Weights; default: the packaged ones")] = None,
    compare: Annotated[bool, typer.Option(help="Run the plain PyTorch loop too")] = True,
) -> None:
    """Draw digits with the packaged class-conditional model (or MODEL) and write them to OUT."""
    try:
        _check_out(out)
        where = resolve(device)
        network = models.digits(where) if model is None else models.load(model, where)[0]
        labels = torch.tensor(_cycle(_parse_classes(classes), n), device=where)
        table = lower(solver, steps)
        config = network.config
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
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    _report(out, table, n, times, difference)


def _run(network, state, labels, scale, progress) -> tuple[float, float]:
    """Advance a state to its end; seconds inside and outside of the model."""
    from tqdm.auto import tqdm

    y = labels if scale == 1 else torch.cat([torch.full_like(labels, NULL_CLASS), labels])
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


def _parse_classes(text: str) -> list[int]:
    chosen = []
    for part in text.split(","):
        low, _, high = part.strip().partition("-")
        if not low.isdecimal() or (high and not high.isdecimal()):
            raise ValueError(f"classes: expected digits such as 7, 0-9 or 1,3,5, got {text!r}")
        chosen += range(int(low), int(high or low) + 1)
    if not chosen or max(chosen) > 9:
        raise ValueError(f"classes: expected digits from 0 to 9, got {text!r}")
    return chosen


def _cycle(values: list[int], n: int) -> list[int]:
    return [values[i % len(values)] for i in range(n)]


def _save(out: Path, x: torch.Tensor, labels: torch.Tensor) -> None:
    """The samples [n, 1, H, W] in [-1, 1]: as a picture, or as float32 with their labels."""
    images = x.float().cpu().contiguous()
    if out.suffix == ".npz":
        np.savez_compressed(out, images=images.numpy(), labels=labels.cpu().numpy())
    elif out.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file({"images": images, "labels": labels.cpu()}, out)
    else:
        _contact_sheet(images).save(out)


def _contact_sheet(images: torch.Tensor, columns: int = 10, zoom: int = 2):
    """A PIL image of the samples, row by row."""
    from PIL import Image

    pixels = ((images[:, 0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    count, height, width = pixels.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    sheet = torch.zeros(rows * columns, height, width, dtype=torch.uint8)
    sheet[:count] = pixels
    sheet = sheet.reshape(rows, columns, height, width).transpose(1, 2)
    picture = Image.fromarray(sheet.reshape(rows * height, columns * width).numpy())
    return picture.resize((columns * width * zoom, rows * height * zoom), Image.Resampling.NEAREST)
