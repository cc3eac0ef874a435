"""``fastdiff bench``: what a step costs on this machine, beside the loop in plain PyTorch."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from .. import SamplerState, files, guidance, noise
from ..build import build_info
from .device import clock, resolve
from .errors import one_line
from .plain import PlainLoop
from .tables import lower

AGREE = 1e-4  # of the largest element, over a whole loop


def bench(
    solver: Annotated[str, typer.Option(help="Solvers, such as DDIM,UniPC")] = "DDIM,DPMpp2M,DDPM",
    shape: Annotated[str, typer.Option(help="Of the state: batch first")] = "1x4x64x64",
    steps: Annotated[int, typer.Option(min=1, help="Of a loop")] = 20,
    scale: Annotated[float, typer.Option(help="Guidance scale; 1: none")] = 2.0,
    rounds: Annotated[int, typer.Option(min=3, help="Loops of each kind that are timed")] = 50,
    device: Annotated[str, typer.Option(help="Where: auto, cpu, cuda, ...")] = "cpu",
    json_: Annotated[Path | None, typer.Option("--json", help="Where to write the figures")] = None,
) -> None:
    """Time a step outside of the model: guidance, update, noise and next input, without and with
    fastdiff, in turns. The model's output is one and the same random tensor."""
    with one_line():
        where, sizes = resolve(device), _parse_shape(shape)
        records = [
            _measure(name.strip(), sizes, steps, scale, rounds, where) for name in solver.split(",")
        ]
        if json_ is not None:
            text = json.dumps({"machine": build_info(), "records": records}, indent=1) + "\n"
            files.write(json_, text.encode())
    _report(records, shape, where)


@torch.no_grad()
def _measure(name, shape, steps, scale, rounds, device) -> dict:
    table = lower(name, steps)
    x = noise.draw(noise.keys(0, shape[0], device=device), shape[1:])
    outputs = x if scale == 1 else torch.cat([x.flip(-1), x])
    cfg = None if scale == 1 else guidance.CFG(scale)
    generator = torch.Generator(device).manual_seed(0)
    make: dict[str, Callable[[], SamplerState | PlainLoop]] = {
        "fastdiff": lambda: SamplerState(table, x, guidance=cfg),
        "plain": lambda: PlainLoop(
            table, x, scale=None if scale == 1 else scale, generator=generator
        ),
    }
    now, ends = clock(device), {}
    spent: dict[str, list[float]] = {kind: [] for kind in make}
    for r in range(rounds + 2):  # two to warm up
        for kind in list(make)[:: 1 if r % 2 else -1]:
            state = make[kind]()
            start = now()
            while not state.done:
                state.step(outputs)
            spent[kind].append((now() - start) / table.nfe * 1e6)
            ends[kind] = state.x
    record = {"name": name, "solver": table.solver, "shape": list(shape)}
    record |= {"steps": steps, "scale": scale}
    if not table.stochastic:
        error = float((ends["fastdiff"] - ends["plain"]).abs().max() / ends["plain"].abs().max())
        if not error < AGREE:
            raise RuntimeError(
                f"{name}: the two loops differ by {error:.1e} of the largest element"
            )
        record["difference"] = error
    quartiles = {kind: np.quantile(times[2:], [0.25, 0.5, 0.75]) for kind, times in spent.items()}
    ratios = np.array(spent["plain"][2:]) / np.array(spent["fastdiff"][2:])
    record |= {f"{kind}, us per step": list(q) for kind, q in quartiles.items()}
    return record | {"plain / fastdiff": float(np.median(ratios))}


def _report(records, shape, device) -> None:
    shown = Table(
        title=f"one step outside of the model, {shape} on {device}: median us (quartiles)"
    )
    for column in ("solver", "fastdiff", "plain PyTorch", "ratio"):
        shown.add_column(column, justify="left" if column == "solver" else "right")
    for record in records:
        cells = [record[f"{kind}, us per step"] for kind in ("fastdiff", "plain")]
        texts = [f"{median:.3g} ({low:.3g} to {high:.3g})" for low, median, high in cells]
        shown.add_row(record["name"], *texts, f"{record['plain / fastdiff']:.3g}x")
    Console().print(shown)


def _parse_shape(text: str) -> tuple[int, ...]:
    sizes = text.lower().split("x")
    if len(sizes) < 2 or not all(s.strip().isdecimal() and int(s) > 0 for s in sizes):
        raise ValueError(f"shape: expected sizes such as 1x4x64x64, batch first, got {text!r}")
    return tuple(map(int, sizes))
