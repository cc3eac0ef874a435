"""``fastdiff train``: train the packaged models from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fastdiff.training.config import TrainConfig

app = typer.Typer(help="Train a model from scratch.", no_args_is_help=True)

EXTRA = 'pip install "fastdiff[train]"'


@app.callback()
def _group() -> None:
    # With a callback typer keeps `digits` as a subcommand although it is the only one.
    """Train a model from scratch."""


@app.command()
def digits(
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 5000,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("runs/digits"),
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of weights, batches and noise.")] = 0,
    batch: Annotated[int, typer.Option(help="Images per step.")] = 64,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    ema: Annotated[float, typer.Option(help="Decay of the average of the weights.")] = 0.999,
    label_dropout: Annotated[float, typer.Option(help="Probability of the null class.")] = 0.1,
    bf16: Annotated[bool, typer.Option(help="Run the network under bfloat16 autocast.")] = True,
    device: Annotated[str, typer.Option(help="Where to train: cpu, cuda, ...")] = "cpu",
    every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 250,
) -> None:
    """Train the class-conditional UNet on 5,000 MNIST digits.

    Writes checkpoint.safetensors, loss.csv, loss.png and, at the end, digits.safetensors (the
    averaged weights, which fastdiff.models.load reads) into --out.
    """
    try:
        # The libraries of the extra are imported here, so that the rest of the command line
        # works without them.
        from fastdiff.training import TrainConfig, export, load_digits, train

        config = TrainConfig(
            steps=steps,
            batch=batch,
            lr=lr,
            ema=ema,
            label_dropout=label_dropout,
            seed=seed,
            bf16=bf16,
        )
        data, test = load_digits()
        state = train(config, data, test, out, device, resume, every)
        target = out / "digits.safetensors"
        meta = export(target, state, config, data, test, command(config))
    except ModuleNotFoundError as error:
        hint = "" if EXTRA in str(error) else f"; run: {EXTRA}"
        raise _failure(f"{error}{hint}") from error
    except (ValueError, OSError) as error:
        raise _failure(str(error)) from error
    typer.echo(f"{target}: train loss {meta['train_loss']:.4f}, test loss {meta['test_loss']:.4f}")


def command(config: TrainConfig) -> str:
    """The full command line of a run: all options that determine its result."""
    return (
        f"fastdiff train digits --steps {config.steps} --seed {config.seed} "
        f"--batch {config.batch} --lr {config.lr} --ema {config.ema} "
        f"--label-dropout {config.label_dropout} {'--bf16' if config.bf16 else '--no-bf16'}"
    )


def _failure(message: str) -> typer.Exit:
    typer.echo(f"error: {message}", err=True)
    return typer.Exit(1)


if __name__ == "__main__":
    app()
