"""A run that is killed and resumed until it is done, beside one that nothing happens to:
``python -m tests.training.kills FOLDER KILLS SEED`` leaves both in FOLDER and
prints the steps it was killed at.

One process imports everything once and forks those that train, so that most of their time is
training and writing.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from fastdiff.training import load_model, train
from fastdiff.training.log import read_log
from tests.support.runs import config, data, same


def main(folder, kills, seed):
    torch.set_num_threads(1)  # a fork has no others
    train(config(steps=1), data(), data(), folder / "warm", progress=False)  # imports everything
    settings = config(steps=4 * kills + 20, model={"dropout": 0.2})
    whole, killed = folder / "whole", folder / "killed"
    start = time.monotonic()
    in_child(settings, whole, resume=False)
    seconds = (time.monotonic() - start) / settings.steps  # of a step
    expected, rng, dead = read_log(whole / "loss.csv"), random.Random(seed), []
    checkpoint = killed / "checkpoint.safetensors"

    def kill(process):
        """Most come while it trains and writes, some while it starts."""
        if rng.random() < 0.9:
            before = written(checkpoint)
            while written(checkpoint) == before:
                ended = os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                assert ended is None, f"the training ended by itself after {dead}"
                time.sleep(0.001)
        time.sleep(rng.random() * 2 * seconds)
        os.kill(process, signal.SIGKILL)

    while len(dead) < kills:
        in_child(settings, killed, resume=checkpoint.exists(), kill=kill)
        step = load_model(killed)[2] if checkpoint.exists() else 0
        rows = read_log(killed / "loss.csv")
        assert step <= len(rows) <= step + 1, f"{len(rows)} rows and a checkpoint of step {step}"
        assert rows == expected[: len(rows)], f"other rows than of the whole run at step {step}"
        dead.append(step)
    in_child(settings, killed, resume=checkpoint.exists())
    assert (killed / "loss.csv").read_bytes() == (whole / "loss.csv").read_bytes()
    assert same(load_model(killed)[0], load_model(whole)[0])
    left = {path.name for path in killed.iterdir()}
    assert left == {"checkpoint.safetensors", "loss.csv", "loss.png"}, left
    print(dead)


def in_child(settings, folder, resume, kill=None):
    process = os.fork()
    if not process:
        train(settings, data(), data(), folder, resume=resume, every=1, progress=False)
        os._exit(0)
    if kill is not None:
        kill(process)
    status = os.waitpid(process, 0)[1]
    assert kill is not None or status == 0, f"the training ended with status {status}"


def written(path):
    """Which file it is: another one each time it is written."""
    return (path.stat().st_ino, path.stat().st_mtime_ns) if path.exists() else None


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
