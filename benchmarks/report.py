"""One table: what a step costs outside the model, fastdiff beside its peers, and the bars.

    python benchmarks/report.py [--quick] [--threads N] [--json benchmarks/results/cpu-NAME.json]

Contestants run in interleaved rounds, so that noise of the machine hits all alike; a ratio is the
median over rounds of peer / fastdiff. Nothing fails if a bar is missed. Not measured: the model,
compilation, and starting or restarting a trajectory. Of the whole loops at the end of the table the
time is that of one step with the model.
"""

import argparse
import json
import os
import platform
import subprocess
from pathlib import Path

import diffusers
import numpy as np
import torch
from agreement import check
from cases import CASES
from loops import LOOP_CONTESTANTS, LOOPS, LoopCase
from peers import CONTESTANTS, Compiled
from rich.console import Console
from rich.table import Table
from timing import Timing, interleave

import fastdiff as fd

OURS, ALONE = "fastdiff", "model alone"
ROUNDS, QUICK_ROUNDS = 60, 3
WIDTH = 150  # of the table, where the output is not a terminal


def measure(case, rounds: int, quick: bool) -> dict | None:
    if isinstance(case, LoopCase):
        return measure_loop(case, rounds // 3 + 1)
    return measure_step(case, rounds, quick)


def measure_step(case, rounds: int, quick: bool) -> dict:
    """The record of one case; every contestant is checked first."""
    chosen = [c for c in CONTESTANTS if c.takes(case) and not (quick and issubclass(c, Compiled))]
    runners = {c.name: c(case) for c in chosen}
    errors = {name: check(runner) for name, runner in runners.items()}
    record = summarise(case.name, interleave(runners, case.block, rounds))
    record["bars"] = [judge(bar, record["contestants"]) for bar in case.bars]
    for name, error in errors.items():
        record["contestants"][name]["relative error"] = error
    return record


def measure_loop(case, rounds: int) -> dict | None:
    """The record of one whole loop; None where the model's weights are not to be had."""
    try:
        runners = {c.name: c(case) for c in LOOP_CONTESTANTS}
    except (FileNotFoundError, ModuleNotFoundError):
        return None
    spent = interleave(runners, case.steps, rounds)
    record = summarise(case.name, spent)
    record["outside the model"] = {
        name: float(np.median(times - spent[ALONE]))
        for name, times in spent.items()
        if name != ALONE
    }
    return record


def summarise(name: str, spent: dict[str, np.ndarray]) -> dict:
    contestants = {
        peer: Timing.of(times).to_dict() | {"ratio": float(np.median(times / spent[OURS]))}
        for peer, times in spent.items()
    }
    return {"case": name, "unit": "us per step", "contestants": contestants}


def judge(bar, contestants: dict) -> dict:
    """What was measured against a bar; None where the peer did not run."""
    if bar.against is None:
        value = contestants[OURS]["median"]
    else:
        value = contestants.get(bar.against, {}).get("ratio")
    return {"bar": str(bar), "value": value, "met": None if value is None else bar.met(value)}


def machine() -> dict:
    """Where the numbers come from."""
    git = ["git", "-C", str(Path(__file__).parent)]
    return {
        "device": "cpu",
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "commit": output([*git, "rev-parse", "HEAD"]),
        "dirty": bool(output([*git, "status", "--porcelain"])),
        "diffusers": diffusers.__version__,
        **fd.build_info(),
    }


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), "")


def output(command: list[str]) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def show(records: list[dict], where: dict, console: Console, unit: str = "step") -> None:
    peers = list(dict.fromkeys(name for r in records for name in r["contestants"]))
    table = Table(
        title=f"us per {unit}: median (interquartile range), best; x: median of peer / {OURS}",
        caption=f"{where['cpu']}, {where['threads']} threads, torch {where['torch']}, "
        f"diffusers {where['diffusers']}, fastdiff {where['fastdiff']} ({where['cpu_clone']}), "
        f"load {where['load']:.1f}",
    )
    table.add_column("case")
    for name in peers:
        table.add_column(name, justify="right")
    table.add_column("bar")
    for record in records:
        cells = [cell(name, record["contestants"].get(name)) for name in peers]
        table.add_row(record["case"], *cells, verdict(record), end_section=True)
    console.print(table)


def cell(name: str, timing: dict | None) -> str:
    if timing is None:
        return ""
    text = f"{us(timing['median'])} ({us(timing['iqr'])})\nbest {us(timing['min'])}"
    return text if name == OURS else f"{text}\n[bold]x {timing['ratio']:.3g}[/bold]"


def us(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def verdict(record: dict) -> str:
    lines = []
    for bar in record.get("bars", []):
        word = {True: "[green]met[/green]", False: "[red]missed[/red]", None: "not run"}[bar["met"]]
        lines.append(f"{bar['bar']}: {word}")
    outside = record.get("outside the model", {})
    lines += [f"{name} outside: {us(value)}" for name, value in outside.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few rounds, no torch.compile")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}, quick {QUICK_ROUNDS}")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    rounds = args.rounds or (QUICK_ROUNDS if args.quick else ROUNDS)
    torch.set_num_threads(args.threads)
    console = Console(width=None if os.isatty(1) else WIDTH)
    where = machine()
    with torch.no_grad(), console.status("measuring") as status:
        records = []
        for case in [c for c in [*CASES, *LOOPS] if args.only in c.name]:
            status.update(case.name)
            records.append(measure(case, rounds, args.quick))
    records = [record for record in records if record is not None]
    show(records, where, console)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"machine": where, "records": records}, indent=1) + "\n")


if __name__ == "__main__":
    main()
