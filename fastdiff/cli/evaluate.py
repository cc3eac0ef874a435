"""``fastdiff evaluate``: the numbers of a trained model."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from .device import resolve
from .errors import one_line


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A run's checkpoint.safetensors or folder")],
    data: Annotated[str, typer.Option(help="Other data than the run's own")] = "",
    samples: Annotated[bool, typer.Option(help="Also judge samples")] = True,
    device: Annotated[str, typer.Option(help="Where to run: auto, cpu, cuda, ...")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Print what a checkpoint's averaged weights achieve on the test images: bounds and likelihoods
    in bits per dimension, errors, and the Frechet distance of samples."""

    with one_line("train"):
        from fastdiff.training import load, load_model
        from fastdiff.training.distributed import world
        from fastdiff.training.exam import Exam
        from fastdiff.training.rows import row

        with world(resolve(device)) as (_, chosen):
            model, config, step = load_model(checkpoint, chosen)
            train, test = load(data or config.data, config.pad)
            if train.space != model.space:
                raise ValueError(f"data: expected {model.space}, as trained, got {train.space}")
            found = row(model, config, Exam(train, test, chosen), samples) | {"steps": step}
        if as_json:
            typer.echo(json.dumps(found))
        else:
            _show(found, checkpoint)


def _show(found: dict, path: Path) -> None:
    table = Table(title=str(path))
    table.add_column("quantity")
    table.add_column("value", justify="right")
    for name, value in found.items():
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    Console().print(table)
