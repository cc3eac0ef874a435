"""Everything that only a GPU can show, in one go: build, tests, sanitizers, sweep, benchmarks.

    python3 benchmarks/gpu_check.py [--only STAGES] [--commit HASH] [--results DIR]
        [--log FILE] [--dry-run]

Builds the extension in place with the python that runs it. Stages run one after the other, each
within its own time and what those before it left over, all within ``--budget``; a stage that fails
does not stop the others. What proves the most comes first, benchmarks last. A table is printed last
and written as JSON. The exit status is 1 if anything failed. Works from a copy of the tree without
.git: the commit is then ``--commit``, or the first line of a file COMMIT.
"""

import argparse
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import gpu_machine
from gpu_machine import ROOT, tool

WORK = ROOT / "build" / "gpu-check"
BUDGET = 570  # seconds
SHOWN = 40  # lines of a failed stage


@dataclass(frozen=True)
class Stage:
    """``limit``: seconds. ``proof``: what the output of a stage that did its work matches; tests
    that were all skipped exit with status 0, too. ``missing``: why the stage cannot run here."""

    name: str
    command: list[str]
    limit: float
    proof: str = ""
    missing: str = ""
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    name: str
    status: str  # passed, failed, timed out, skipped, not run
    seconds: float
    summary: str
    output: str = field(default="", repr=False)

    @property
    def bad(self) -> bool:
        return self.status not in ("passed", "skipped")


def execute(stage: Stage, seconds: float) -> Outcome:
    """Run a stage in a process group of its own, which is killed after ``seconds``."""
    if stage.missing:
        return Outcome(stage.name, "skipped", 0.0, stage.missing)
    if seconds <= 0:
        return Outcome(stage.name, "not run", 0.0, "no time was left")
    begin = time.monotonic()
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, **stage.environment}
    try:
        process = subprocess.Popen(
            stage.command, cwd=ROOT, env=environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except OSError as error:
        return Outcome(stage.name, "failed", 0.0, str(error), str(error))
    try:
        output, _ = process.communicate(timeout=seconds)
        proven = re.search(stage.proof, output) is not None
        status = "passed" if process.returncode == 0 and proven else "failed"
        summary = last_line(output)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        status, summary = "timed out", f"after {seconds:.0f} s; {last_line(output)}"
    return Outcome(stage.name, status, time.monotonic() - begin, summary, output)


def last_line(output: str) -> str:
    lines = [line.strip(" =") for line in output.splitlines() if line.strip(" =")]
    return lines[-1] if lines else "no output"


def run(stages: list[Stage], budget: float, log: Path) -> list[Outcome]:
    now = time.monotonic()
    deadline, end = now, now + budget
    log.parent.mkdir(parents=True, exist_ok=True)
    outcomes = []
    with log.open("w") as file:
        for stage in stages:
            print(f"{stage.name} ...", flush=True)
            deadline += 0 if stage.missing else stage.limit
            outcome = execute(stage, min(deadline, end) - time.monotonic())
            file.write(f"### {stage.name}: {' '.join(stage.command)}\n{outcome.output}\n")
            file.flush()
            if outcome.bad:
                print("\n".join(outcome.output.splitlines()[-SHOWN:]), flush=True)
            outcomes.append(outcome)
    return outcomes


def table(outcomes: list[Outcome]) -> str:
    return "\n".join(
        f"{o.name:<18} {o.status:<10} {o.seconds:6.1f} s  {o.summary[:90]}" for o in outcomes
    )


def stages(capability: str, commit: str | None) -> list[Stage]:
    python = sys.executable
    pytest = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    pytest += ["-W", "default::DeprecationWarning", "-W", "default::FutureWarning"]
    # The conftest.py of tests/ needs hypothesis, those of tests/gpu do not.
    hypothesis = importlib.util.find_spec("hypothesis") is not None
    gpu = pytest + ([] if hypothesis else ["--confcutdir=tests/gpu"])
    workers = ["-n", "6"] if importlib.util.find_spec("xdist") else []  # they work on the host
    archs = os.environ.get("TORCH_CUDA_ARCH_LIST") or capability
    nvcc, sanitizer = tool("nvcc"), tool("compute-sanitizer")
    sweep = str(WORK / "sweep")
    compile_sweep = [
        nvcc or "nvcc", "-std=c++17", "-O3", "--fmad=false", "-Icsrc",
        f"-arch=sm_{capability.replace('.', '')}",
        "-Xcompiler=-march=native,-ffp-contract=off", "tests/gpu/sweep.cu", "-o", sweep,
    ]  # fmt: skip
    no_nvcc = "" if nvcc else "nvcc was not found"
    found = "import fastdiff as fd; fd.backend('cuda'); print('CUDA kernels for', "
    found += "*fd.build_info()['cuda_archs'])"
    bench = [python, "benchmarks/gpu.py", "--json", str(WORK / "benchmarks.json")]
    bench += ["--commit", commit] if commit else []

    def sanitized(check):
        command = [sanitizer or "compute-sanitizer", "--tool", check, "--error-exitcode", "9"]
        command += ["--report-api-errors", "no", *gpu, "tests/gpu/test_small.py"]
        # torch's caching allocator hides accesses beyond a tensor.
        return Stage(
            check, command, 60, r"\d+ passed", "" if sanitizer else "compute-sanitizer not found",
            {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},
        )  # fmt: skip

    return [  # the limits add up to BUDGET
        Stage("build", [python, "setup.py", "build_ext", "--inplace"], 90,
              environment={"TORCH_CUDA_ARCH_LIST": archs}),
        Stage("import", [python, "-c", found], 20, r"kernels for sm_\d+"),
        Stage("tests/gpu", [*gpu, "tests/gpu", "--ignore=tests/gpu/test_check.py"], 130,
              r"\d+ passed"),
        sanitized("memcheck"),
        sanitized("racecheck"),
        Stage("sweep: compile", compile_sweep, 25, missing=no_nvcc),
        Stage("sweep", [sweep], 25, r'"words": 4294967296', missing=no_nvcc),
        Stage("tests/triton_ops", [*pytest, *workers, "-m", "not slow", "tests/triton_ops"], 60,
              r"\d+ passed", "" if hypothesis else "its tests need hypothesis"),
        Stage("benchmarks", bench, 100, "0 sections failed"),
    ]  # fmt: skip


def collect(outcomes: list[Outcome], machine: dict) -> dict:
    """What is written: the stages, and what the sweep and the benchmarks found."""
    output = {o.name: o.output for o in outcomes}
    found = re.search(r"^\{.*\}$", output.get("sweep", ""), re.MULTILINE)
    benchmarks = WORK / "benchmarks.json"
    rows = [{k: v for k, v in asdict(o).items() if k != "output"} for o in outcomes]
    return {
        "machine": machine,
        "stages": rows,
        "sweep": json.loads(found[0]) if found else None,
        "benchmarks": json.loads(benchmarks.read_text()) if benchmarks.exists() else None,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--commit", help="of the tree, where it has no .git")
    parser.add_argument("--results", type=Path, help="folder, default benchmarks/results")
    parser.add_argument("--log", type=Path, default=WORK / "log.txt")
    parser.add_argument(
        "--budget", type=float, default=BUDGET, help="seconds (default %(default)s)"
    )
    parser.add_argument("--only", default="", help="stages to run, with commas between them")
    parser.add_argument("--dry-run", action="store_true", help="print commands, run none of them")
    args = parser.parse_args()
    machine = gpu_machine.machine(args.commit)
    if args.dry_run:
        machine = {"device": "none", "compute capability": "9.0"} | machine
        print("dry run: the commands are printed, not run")
    elif "device" not in machine:
        print("gpu-check: needs an NVIDIA GPU: nvidia-smi names none", file=sys.stderr)
        return 2
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "benchmarks.json").unlink(missing_ok=True)  # of a run before
    todo = stages(machine["compute capability"], machine["commit"])
    if args.only:
        todo = [stage for stage in todo if stage.name in args.only.split(",")]
    if args.dry_run:
        todo = [
            Stage(s.name, [sys.executable, "-c", "import sys; print(sys.argv[1:])", *s.command],
                  s.limit, missing=s.missing)
            for s in todo
        ]  # fmt: skip
    outcomes = run(todo, args.budget, args.log)
    slug = re.sub(r"[^a-z0-9]+", "-", machine["device"].lower()).strip("-")
    results = args.results or (WORK if args.dry_run else ROOT / "benchmarks" / "results")
    path = results / f"gpu-{slug}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(collect(outcomes, machine), indent=1) + "\n")
    print(next((o.output for o in outcomes if o.name == "benchmarks" and not o.bad), ""))
    print(f"{path}, log in {args.log}\n" + ", ".join(f"{k} {v}" for k, v in machine.items()))
    print(table(outcomes))
    return int(any(outcome.bad for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
