"""The commands, put together."""

import typer

from .bench import bench
from .evaluate import evaluate
from .info import info
from .sample import sample
from .train import app as train

app = typer.Typer(
    help="Fast, exact and reproducible sampling from diffusion models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
app.command()(sample)
app.command()(info)
app.command()(bench)
app.command()(evaluate)
app.add_typer(train, name="train")
