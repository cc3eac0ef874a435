"""What a step costs on a GPU: bandwidth, latency, and whole loops beside their peers.

    python benchmarks/gpu.py [--quick] [--only TEXT] [--commit HASH] [--json FILE]

Everything is checked before it is timed: steps have the bits of the CPU, loops agree on their
samples. Figures are medians over rounds with their quartiles; nothing fails if a bar is missed.
Convolutions run in float32, not TF32, so that all loops can be compared.
"""

import argparse
import json
import math
from pathlib import Path

import gpu_machine
import numpy as np
import torch
from cases import DDIM, DDPM, DPMPP_2M, Bar, Case
from gpu_loops import (
    CASES,
    CONTESTANTS,
    DEVICE,
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
SMALL = (1, 4, 64, 64)
AHEAD = 40_000  # cycles by which the host may run ahead, for each call: about 20 us
CHECKED = 4  # steps
TOLERANCE = 1e-3  # of the largest element: roundings grow through a hundred model evaluations


def device_us(work, calls: int, rounds: int, before=lambda: None) -> np.ndarray:
    """[rounds] us per call on the device: the calls are enqueued behind a delay, so that the device
    never waits for the host."""
    spent = []
    for r in range(-1, rounds):
        before()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(AHEAD * calls)
        begin.record()
        for _ in range(calls):
            work()
        end.record()
        end.synchronize()
        if r >= 0:
            spent.append(begin.elapsed_time(end) * 1e3 / calls)
    return np.array(spent)


def record(case: str, unit: str, values, bar: Bar | None = None, **more) -> dict:
    timing = Timing.of(values).to_dict()
    judged = {"bar": str(bar), "met": bar.met(timing["median"])} if bar else {}
    return {"case": case, "unit": unit, **timing, **judged, **more}


class AtLeast(Bar):
    def __str__(self):
        return f"at least {self.limit:g}"

    def met(self, value):
        return value >= self.limit


def traffic(row: np.ndarray, numel: int, model_bytes: int, outputs: int = 2) -> int:
    """Bytes that a row moves at least: each operand read once, each result written once."""
    slots = [row[[COLUMN[f"c_h{k}"], COLUMN[f"d_h{k}"]]].any() for k in range(HISTORY)]
    passes = 2 + sum(slots) + (row[COLUMN["slot"]] >= 0)  # x in and out, history
    return numel * (4 * int(passes) + 2 * outputs * model_bytes)


def check_step(case: Case, dtype) -> None:
    """The state after some steps: the bits that the CPU computes."""
    pair = [Step(case, dtype, device) for device in (DEVICE, "cpu")]
    for runner in pair:
        runner.rewind(CHECKED)
        runner.advance()
    there, here = (runner.state.x.cpu() for runner in pair)
    assert torch.equal(there, here), f"{case.name}: the device and the CPU differ"
    assert here.isfinite().all(), case.name


def large_steps(rounds: int):
    """Bandwidth of the step kernel over that of a copy that moves as many bytes."""
    for shape in LARGE:
        for work in (DDIM, DPMPP_2M, DDPM):
            for dtype in (torch.float32, torch.bfloat16):
                case = Case(work, shape)
                check_step(case, dtype)
                runner = Step(case, dtype)
                runner.rewind(2)
                runner.advance()  # the start-up steps of a multistep solver read less
                state, calls = runner.state, 20
                row = runner.table.rows[500]
                moved = traffic(row, math.prod(shape), dtype.itemsize)
                source, target = torch.rand(2, moved // 8, device=DEVICE)
                copied = device_us(lambda: target.copy_(source), calls, rounds)
                spent = device_us(lambda: state.step(runner.out), calls, rounds)
                del source, target
                name = f"{work.name}, {math.prod(shape) * 4 // MIB} MiB, {str(dtype)[6:]} model"
                yield record(
                    f"{name}: of the copy's bandwidth", "ratio", np.median(copied) / spent,
                    AtLeast(0.9), **{"TB/s": moved / np.median(spent) / 1e6,
                    "TB/s of the copy": moved / np.median(copied) / 1e6},
                )  # fmt: skip


def small_steps(rounds: int):
    """Latency: on the device one after the other, in a graph of many, and on the host."""
    for work in (DDIM, DPMPP_2M, DDPM):
        case = Case(work, SMALL)
        check_step(case, torch.float32)
        runner = Step(case)
        runner.rewind(2)
        runner.advance()
        state, out = runner.state, runner.out
        step = lambda: state.step(out)  # noqa: E731, B023
        stand = lambda: state.row.fill_(2)  # noqa: E731, B023
        room = runner.table.nfe // (rounds + 2)
        spent = device_us(step, min(room, 64), rounds)
        yield record(f"{case.name}: device", "us", spent, Bar(4))
        graphs = {n: many(lambda: state.execute(out), n) for n in (32, 160)}
        times = {n: device_us(replay, 1, rounds, stand) for n, replay in graphs.items()}
        yield record(
            f"{case.name}: device, in a graph", "us", (times[160] - times[32]) / 128, Bar(4)
        )
        host = interleave({"step": Step(case)}, 100, rounds)["step"]
        yield record(f"{case.name}: host", "us", host, Bar(5))


def many(work, count: int):
    """The replay of a graph that does the work ``count`` times."""
    return capture_cuda(lambda: [work() for _ in range(count)])


def outside_the_model(rounds: int):
    """Device time of a replayed step beyond that of the replayed model."""
    for case in CASES:
        loop = Graphed(case)
        state = fd.SamplerState(loop.table, loop.x0, seeds=SEED, guidance=loop.guidance)
        graph = StepGraph(loop.model, state, loop.stacked)
        alone = capture_cuda(lambda: loop.model(state.model_input, state.t, **graph.inputs))  # noqa: B023
        stand = lambda: state.row.fill_(1)  # noqa: E731, B023
        steps = case.steps // 2
        times = [device_us(work, steps, rounds, stand) for work in (graph.replay, alone)]
        name = f"{case.name}: graphed, outside the model"
        yield record(name, "us", times[0] - times[1], Bar(3), model=float(np.median(times[1])))


def check_loops(case) -> None:
    """All loops on the same noise draw the same sample; replayed and eager steps the same bits."""
    samples = {}
    for contestant in [Plain, GraphedTorchNoise, *PEERS, Graphed, Stepped]:
        loop = contestant(case)
        loop.rewind(case.steps)
        loop.advance()
        samples[contestant] = loop.sample
    reference = samples[Plain]
    for contestant in (GraphedTorchNoise, *PEERS):
        error = (samples[contestant] - reference).abs().max() / reference.abs().max()
        assert error < TOLERANCE, f"{contestant.name} on {case.name}: error {error:.1e}"
    assert torch.equal(samples[Graphed], samples[Stepped]), f"{case.name}: a graph changes the bits"


def whole_loops(rounds: int):
    for case in CASES:
        check_loops(case)
        loops = {contestant.name: contestant(case) for contestant in CONTESTANTS}
        spent = interleave(loops, case.steps, rounds)
        for name, times in spent.items():
            ratio = float(np.median(times / spent[Graphed.name]))
            yield record(f"{case.name}: {name}", "us per step", times, ratio=ratio)


SECTIONS = {
    "bandwidth": large_steps,
    "latency": small_steps,
    "outside the model": outside_the_model,
    "loops": whole_loops,
}


def line(found: dict) -> str:
    verdict = {True: "met", False: "MISSED", None: ""}[found.get("met")]
    more = f"{found['bar']}: {verdict}" if verdict else ""
    more = f"x {found['ratio']:.3g}" if "ratio" in found else more
    figures = f"{found['median']:9.4g} ({found['q1']:.4g} .. {found['q3']:.4g}) {found['unit']}"
    return f"{found['case']:<72} {figures:<44} {more}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three rounds")
    parser.add_argument("--only", default="", help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--commit", help="of the tree, where it has no .git")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    torch.backends.cudnn.allow_tf32 = False
    where = gpu_machine.machine(args.commit) | fd.build_info() | {"tf32": False}
    records = []
    with torch.no_grad():
        for name, measure in SECTIONS.items():
            if args.only not in name:
                continue
            for found in measure(3 if args.quick else 15):
                records.append({"section": name} | found)
                print(line(found), flush=True)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"machine": where, "records": records}, indent=1) + "\n")
    print(f"machine: {where}")


if __name__ == "__main__":
    main()
