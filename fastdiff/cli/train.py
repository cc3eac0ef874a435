"""``fastdiff train``: train a member of the family, or the packaged digit model, from scratch."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from fastdiff.models import FAMILY

from .device import resolve
from .errors import one_line
from .options import command, parameters, values

app = typer.Typer(help="Train a model from scratch.", no_args_is_help=True)


@app.command()
def digits(
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 5000,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("runs/digits"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the killed run in --out.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of weights, batches and noise.")] = 0,
    batch: Annotated[int, typer.Option(help="Images per step.")] = 64,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    ema: Annotated[float, typer.Option(help="Decay of the average of the weights.")] = 0.999,
    label_dropout: Annotated[float, typer.Option(help="Probability of the null class.")] = 0.1,
    bf16: Annotated[bool, typer.Option(help="Run the network under bfloat16 autocast.")] = True,
    device: Annotated[str, typer.Option(help="Where to train: auto, cpu, cuda, ...")] = "auto",
    every: Annotated[
        int,
        typer.Option(
            min=1,
            help="Steps between rows of loss.csv; a checkpoint follows each, and each minute.",
        ),
    ] = 250,
) -> None:
    """Train the class-conditional UNet on 5,000 MNIST digits.

    Writes checkpoint.safetensors, loss.csv, loss.png and, at the end, digits.safetensors (the
    averaged weights, which fastdiff.models.load reads) into --out.
    """

    with one_line("train"):
        from dataclasses import replace

        from fastdiff.training import config as configs
        from fastdiff.training import export

        config = configs.digits(steps=steps, batch=batch, lr=lr, ema=ema, seed=seed, bf16=bf16)
        config = replace(config, model=replace(config.model, label_dropout=label_dropout))
        target = out / "digits.safetensors"
        trained = _train(config, out, device, resume, every)
        if trained is None:
            return
        state, data, test = trained
        meta = export(target, state, config, data, test, _digits_command(config))
        losses = f"train loss {meta['train_loss']:.4f}, test loss {meta['test_loss']:.4f}"
        typer.echo(f"{target}: {losses}")


def _digits_command(config: Any) -> str:
    """The full command line of a run: all options that determine its result."""
    return (
        f"fastdiff train digits --steps {config.steps} --seed {config.seed} "
        f"--batch {config.batch} --lr {config.lr} --ema {config.ema} "
        f"--label-dropout {config.model.label_dropout} {'--bf16' if config.bf16 else '--no-bf16'}"
    )


def _member(family: str) -> None:
    """Add the command that trains one member of the family."""
    member = FAMILY[family]

    def run(given: dict[str, Any]) -> None:
        with one_line("train"):
            from fastdiff.training import TrainConfig, preset

            out, device, resume, every = (
                given.pop(name) for name in ("out", "device", "resume", "every")
            )
            model = member.Config(**values(member.Config, given))
            config = preset(family, model=model, **values(TrainConfig, given))
            out = out or Path("runs") / family
            trained = _train(config, out, device, resume, every)
            if trained is not None:
                typer.echo(f"{out}: trained for {trained[0].step} steps")

    app.command(name=family)(command(run, family, inspect.getdoc(member) or "", _options(family)))


def _options(family: str) -> list[inspect.Parameter]:
    from fastdiff.training.config import PRESETS, TrainConfig

    own = parameters(FAMILY[family].Config, {}, set())
    run = parameters(TrainConfig, PRESETS.get(family, {}), {"family", "model"})
    extra = [
        ("out", Path | None, None, "Folder of the results; default: runs/FAMILY."),
        ("device", str, "auto", "Where to train: auto, cpu, cuda, ..."),
        ("resume", bool, False, "Continue the killed run in --out."),
        (
            "every",
            int,
            250,
            "Steps between rows of loss.csv; a checkpoint follows each, and each minute.",
        ),
    ]
    return own + run + [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default,
            annotation=Annotated[kind, typer.Option(help=text)],
        )
        for name, kind, default, text in extra
    ]  # fmt: skip


def _train(config: Any, out: Path, device: str, resume: bool, every: int) -> tuple | None:
    """Train; the state and the data, or None in a process that is not the first."""
    # The libraries of the extra are imported here, so that the rest of the command line works
    # without them.
    from fastdiff.training import load, train
    from fastdiff.training.distributed import world

    chosen = resolve(device)
    data, test = load(config.data, config.pad)
    with world(chosen) as (ranks, chosen):
        state = train(config, data, test, out, chosen, resume, every, ranks)
        return (state, data, test) if ranks.first else None


for _family in FAMILY:
    _member(_family)
