"""What a step costs on a GPU: bandwidth, latency, and whole loops beside their peers.

    python benchmarks/gpu.py [--quick] [--only TEXT] [--commit HASH] [--json FILE]

Everything is checked before it is timed: steps have the bits of the CPU, loops agree on their
samples. Figures are medians over rounds with their quartiles; nothing fails if a bar is missed.
Convolutions run in float32, not TF32, so that all loops can be compared.
"""

import argparse
import json
import math
import sys
import traceback
from pathlib import Path

import gpu_machine
import numpy as np
import torch
from cases import DDIM, DDPM, DPMPP_2M, Bar, Case
from gpu_loops import (
    CASES,
    CONTESTANTS,
    DEVICE,
    LEFT_OUT,
    PEERS,
    SEED,
    Graphed,
    GraphedTorchNoise,
    Plain,
    Step,
    Stepped,
)
from timing import Timing, interleave

import fastdiff as fd
from fastdiff.row import COLUMN, HISTORY
from fastdiff.sampling.graph import StepGraph, capture_cuda

MIB = 2**20
LARGE = [(64, 4, 256, 256), (256, 4, 256, 256)]  # states of 64 and 256 MiB
CHAINS = (2**18, 64)  # 64 MiB of small samples, eight in a block
SMALL = (1, 4, 64, 64)
WORKS = (DDIM, DPMPP_2M, DDPM)
AHEAD = 40_000  # cycles by which the host may run ahead, for each call: about 20 us
CHECKED = 6  # steps, the start-up of every solver here
TOLERANCE = 1e-3  # of the largest element: roundings grow through a hundred model evaluations


class AtLeast(Bar):
    def __str__(self):
        return f"at least {self.limit:g}"

    def met(self, value):
        return value >= self.limit


def record(case: str, unit: str, values, bar: Bar | None = None, **more) -> dict:
    timing = Timing.of(values).to_dict()
    judged = {"bar": str(bar), "met": bar.met(timing["median"])} if bar else {}
    return {"case": case, "unit": unit, **timing, **judged, **more}


def device_us(work, calls: int, rounds: int, before=lambda: None) -> np.ndarray:
    """[rounds] us per call on the device: the calls are enqueued behind a delay, so that the device
    never waits for the host."""
    spent = []
    for r in range(-1, rounds):
        before()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(AHEAD * max(calls, 20))
        begin.record()
        for _ in range(calls):
            work()
        end.record()
        end.synchronize()
        if r >= 0:
            spent.append(begin.elapsed_time(end) * 1e3 / calls)
    return np.array(spent)


def check_step(runner: Step) -> None:
    """The last two samples after some steps: the bits that the CPU computes of them alone."""
    runner.rewind(CHECKED)
    runner.advance()
    x = runner.x0[-2:].cpu()
    out = torch.cat([part[-2:] for part in runner.out.chunk(2)]).cpu()
    state = fd.SamplerState(
        runner.table, x, seeds=SEED + len(runner.x0) - len(x), guidance=runner.guidance,
        model_dtype=runner.dtype,
    )  # fmt: skip
    for _ in range(CHECKED):
        state.step(out)
    assert state.x.isfinite().all(), runner.case.name
    assert torch.equal(runner.state.x[-2:].cpu(), state.x), f"{runner.case.name}: not as on the CPU"


def traffic(row: np.ndarray, numel: int, model_bytes: int, outputs: int = 2) -> int:
    """Bytes that a row moves at least: each operand read once, each result written once."""
    slots = [row[[COLUMN[f"c_h{k}"], COLUMN[f"d_h{k}"]]].any() for k in range(HISTORY)]
    passes = 2 + sum(slots) + (row[COLUMN["slot"]] >= 0)  # x in and out, history
    return numel * (4 * int(passes) + 2 * outputs * model_bytes)


def large_step(case: Case, dtype: torch.dtype, rounds: int, bar: Bar | None = None) -> dict:
    """Bandwidth of the step over that of a copy that moves as many bytes."""
    runner, calls = Step(case, dtype), 20
    check_step(runner)
    state, out, numel = runner.state, runner.out, math.prod(case.shape)
    moved = traffic(runner.table.rows[len(runner.table.rows) // 2], numel, dtype.itemsize)
    source, target = torch.rand(2, moved // 8, device=DEVICE)
    copied = device_us(lambda: target.copy_(source), calls, rounds)
    spent = device_us(lambda: state.step(out), calls, rounds)
    speed = {
        "TB/s": moved / np.median(spent) / 1e6,
        "TB/s of the copy": moved / np.median(copied) / 1e6,
    }
    size = f"{numel * 4 // MIB} MiB in {case.shape[0]} samples"
    name = f"{case.work.name}, {size}, {str(dtype)[6:]} model: bandwidth"
    return record(name, "of a copy's", np.median(copied) / spent, bar, **speed)


def large_steps(rounds: int):
    for shape in LARGE:
        for work in WORKS:
            for dtype in (torch.float32, torch.bfloat16):
                yield large_step(Case(work, shape), dtype, rounds, AtLeast(0.9))
    for work in WORKS:
        yield large_step(Case(work, CHAINS), torch.float32, rounds)


def small_step(case: Case, rounds: int):
    """Latency: on the device one after the other, in a graph of many, and on the host."""
    runner = Step(case)
    check_step(runner)
    state, out = runner.state, runner.out
    calls = min(64, state.remaining // (rounds + 2))
    spent = device_us(lambda: state.step(out), calls, rounds)
    yield record(f"{case.name}: device", "us", spent, Bar(4))

    def many(count):
        replay = capture_cuda(lambda: [state.execute(out) for _ in range(count)])
        return device_us(replay, 1, rounds, before=lambda: state.row.fill_(2))

    spent = (many(160) - many(32)) / 128
    yield record(f"{case.name}: device, in a graph", "us", spent, Bar(4))
    host = interleave({"step": Step(case)}, 100, rounds)["step"]
    yield record(f"{case.name}: host", "us", host, Bar(5))


def small_steps(rounds: int):
    for work in WORKS:
        yield from small_step(Case(work, SMALL), rounds)


def outside_the_model(case, rounds: int) -> dict:
    """Device time of a replayed step beyond that of the replayed model."""
    loop = Graphed(case)
    state = fd.SamplerState(loop.table, loop.x0, seeds=SEED, guidance=loop.guidance)
    graph = StepGraph(loop.model, state, loop.stacked)
    alone = capture_cuda(lambda: loop.model(state.model_input, state.t, **graph.inputs))
    step, model = (
        device_us(replay, case.steps // 2, rounds, before=lambda: state.row.fill_(1))
        for replay in (graph.replay, alone)
    )
    name = f"{case.name}: graphed, outside the model"
    return record(name, "us", step - model, Bar(3), model=float(np.median(model)))


def check_loops(case, loops: dict) -> None:
    """All loops on the same noise draw the same sample; replayed and eager steps the same bits."""
    for loop in loops.values():
        loop.rewind(case.steps)
        loop.advance()
    reference = loops[Plain].sample
    for contestant in (GraphedTorchNoise, *PEERS):
        error = (loops[contestant].sample - reference).abs().max() / reference.abs().max()
        assert error < TOLERANCE, f"{contestant.name} on {case.name}: error {error:.1e}"
    same = torch.equal(loops[Graphed].sample, loops[Stepped].sample)
    assert same, f"{case.name}: a graph changes the bits"


def whole_loops(rounds: int):
    for case in CASES:
        yield outside_the_model(case, rounds)
        loops = {kind: kind(case) for kind in (GraphedTorchNoise, *CONTESTANTS)}
        check_loops(case, loops)
        timed = {kind.name: loops[kind] for kind in CONTESTANTS}
        spent = interleave(timed, case.steps, rounds)
        for name, times in spent.items():
            ratio = float(np.median(times / spent[Graphed.name]))
            yield record(f"{case.name}: {name}", "us per step", times, ratio=ratio)


SECTIONS = {"bandwidth": large_steps, "latency": small_steps, "loops": whole_loops}


def line(found: dict) -> str:
    verdict = {True: "met", False: "MISSED", None: ""}[found.get("met")]
    more = f"{found['bar']}: {verdict}" if verdict else ""
    more = f"x {found['ratio']:.3g}" if "ratio" in found else more
    figures = f"{found['median']:.4g} ({found['q1']:.4g} .. {found['q3']:.4g}) {found['unit']}"
    return f"{found['case']:<76} {figures:<44} {more}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three rounds")
    parser.add_argument("--only", default="", help=f"one of {', '.join(SECTIONS)}")
    parser.add_argument("--commit", help="of the tree, where it has no .git")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    torch.backends.cudnn.allow_tf32 = False
    where = gpu_machine.machine(args.commit) | fd.build_info() | {"tf32": False}
    records, failed = [], []
    for name in (name for name in SECTIONS if args.only in name):
        try:
            with torch.no_grad():
                for found in SECTIONS[name](3 if args.quick else 15):
                    records.append({"section": name} | found)
                    print(line(found), flush=True)
        except Exception:
            traceback.print_exc()
            failed.append(name)
        if args.json:  # after each section: what is there counts if time runs out
            args.json.parent.mkdir(parents=True, exist_ok=True)
            written = {"machine": where, "records": records, "failed": failed}
            written["left out"] = LEFT_OUT
            args.json.write_text(json.dumps(written, indent=1) + "\n")
    missed = sum(found.get("met") is False for found in records)
    without = f"; left out: {LEFT_OUT}" if LEFT_OUT else ""
    print(f"{len(records)} figures, {missed} bars missed, {len(failed)} sections failed{without}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
