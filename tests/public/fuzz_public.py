"""Random wrong calls of everything public, of the raw ops and of the executor, in processes of
their own: no signal, no hang, no exception of a foreign kind.

    python -m tests.public.fuzz_public CALLS [SEED]       all; prints what is wrong, exits with 1
    python -m tests.public.fuzz_public --one SEED NUMBER  one of them again, in this process

Call number n of a seed is the same in every run.
"""

import os
import random
import resource
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

CHUNK = 500  # calls that one process makes
MEMORY = 12 * 2**30  # bytes of address space that it has
PATIENCE = 60  # seconds of computing for one call
SLEEP = 900  # ... and of waiting, which on a busy machine may be for others

#: What a call may raise, apart from what the caller's own functions raise.
ALLOWED = (TypeError, ValueError, RuntimeError, IndexError, OSError, ImportError)


def main(calls: int, seed: int) -> int:
    """Run the calls in worker processes; the number of those that went wrong."""
    wrong, number = [], 0
    while number < calls:
        end = min(number + CHUNK, calls)
        reached, said, why = _worker(seed, number, end)
        wrong += said
        if why is not None:
            wrong.append(f"call {reached}: {why}")
        number = end if why is None else reached + 1
        print(f"{number} of {calls} calls, {len(wrong)} wrong", flush=True)
    for line in wrong:
        print(line)
    return len(wrong)


def _worker(seed, start, end):
    """(last call begun, faults it reported, None or how the process ended)."""
    command = [
        sys.executable,
        "-X",
        "faulthandler",
        "-m",
        "tests.public.fuzz_public",
        "--work",
        *map(str, (seed, start, end)),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    at, said, errors = [start], [], []

    def listen():
        for line in process.stdout:
            kind, _, rest = line.rstrip("\n").partition(" ")
            if kind == "begin":
                at[0] = int(rest)
            elif kind == "fault":
                said.append(rest)

    ears = [
        threading.Thread(target=listen),
        threading.Thread(target=lambda: errors.extend(process.stderr)),
    ]
    for ear in ears:
        ear.start()
    hung, number, since = False, None, (0.0, 0.0)
    while process.poll() is None and not hung:
        time.sleep(0.05)
        now = time.monotonic(), _computed(process.pid)
        if at[0] != number:
            number, since = at[0], now
        hung = now[1] - since[1] > PATIENCE or now[0] - since[0] > SLEEP
    if hung:
        process.kill()
    process.wait()
    for ear in ears:
        ear.join()
    if hung:
        return at[0], said, f"did not end within {PATIENCE} s of computing"
    if process.returncode:
        return at[0], said, f"ended with {process.returncode}: {''.join(errors)[-1500:]}"
    return at[0], said, None


def _computed(pid: int) -> float:
    """Seconds of processor time of all threads of a process; 0 where the system does not tell."""
    try:
        user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    except (OSError, ValueError):
        return 0.0
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def work(seed: int, start: int, end: int) -> None:
    """Make the calls from ``start`` on and report each on stdout."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))  # refused rather than filled
    names = _surface()
    report, sys.stdout = sys.stdout, sys.stderr  # what a call prints is no report
    for number in range(start, end):
        print("begin", number, file=report, flush=True)
        fault = one(names, seed, number)
        if fault is not None:
            print("fault", f"call {number}: {fault}", file=report, flush=True)


def one(names, seed: int, number: int) -> str | None:
    """Make one call; what is wrong with how it ended."""
    rng = random.Random(f"{seed} {number}")
    # the native code, of which there are few names, gets a quarter of the calls
    public = rng.random() < 0.75
    kind = [name for name in sorted(names) if name.startswith("fd.") == public]
    name = rng.choice(kind or sorted(names))
    call, arguments = names[name]()
    done = []
    for parameter in rng.sample(sorted(arguments), min(len(arguments), rng.randint(1, 3))):
        wrong = hostile.values(arguments[parameter])
        label = rng.choice(sorted(wrong))
        try:
            arguments[parameter] = wrong[label](arguments[parameter])
        except (TypeError, ValueError, RuntimeError, IndexError, AttributeError, OverflowError):
            continue  # there is no such value
        done.append(f"{parameter}={label}")
    what = f"{name}({', '.join(done)})"
    print(number, what, file=sys.stderr, flush=True)
    try:
        call(arguments)
    except ALLOWED:
        return None
    except KeyError as error:
        return None if "of the caller" in str(error) else f"{what} raised {error!r:.300}"
    except BaseException as error:
        return f"{what} raised {error!r:.300}"
    return None


def _surface() -> dict:
    """Name -> function that makes (call, right arguments by name)."""
    surface = {}
    for name, target in walk.targets().items():
        every = dict.fromkeys(target.parameters)

        def make(target=target, every=every):
            # an option that nobody knows a right value of is sometimes given as well
            valid = target.valid()
            return (lambda given: target.call(_given(given, valid))), every | valid

        surface[name] = make
    return surface | native.surface()


def _given(arguments, valid):
    """Without the options that were left alone."""
    return {name: value for name, value in arguments.items() if value is not None or name in valid}


if __name__ == "__main__":
    if sys.argv[1] in ("--work", "--one"):
        import torch

        from tests.public import hostile, native, walk

        torch.set_num_threads(1)
    if sys.argv[1] == "--work":
        work(*map(int, sys.argv[2:]))
    elif sys.argv[1] == "--one":
        print(one(_surface(), *map(int, sys.argv[2:])))
    else:
        sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0) > 0)
