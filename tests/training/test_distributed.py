"""Two processes train as one."""

import os
import socket
import subprocess
import sys

import pytest
import torch

from fastdiff.training import load_model, new_state, save_checkpoint, train, train_step
from fastdiff.training.distributed import World, world
from fastdiff.training.log import read_log
from tests.support.helpers import import_path
from tests.support.runs import config, data

WORKER = """
import sys
from tests.support.runs import config, data
from fastdiff.training import train
from fastdiff.training.distributed import world
with world("cpu") as (ranks, device):
    assert ranks.size == 2
    train(config(batch=8, model={"dropout": 0.0}), data(), data(), sys.argv[1], "cpu",
          True, 3, ranks)
"""


def run_two(out):
    """What torchrun sets, without its rendezvous."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ, "PYTHONPATH": import_path(), "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(out)],
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said


def test_two_gloo_processes_give_the_loss_of_one(tmp_path):
    """They take over a run of one after three steps, and end where it ends."""
    settings = config(batch=8, model={"dropout": 0.0})
    one, two = tmp_path / "one", tmp_path / "two"
    alone = train(settings, data(), data(), one, every=3, progress=False)
    started = new_state(settings, data())
    for _ in range(3):
        train_step(started, data(), settings)
    two.mkdir()
    save_checkpoint(two / "checkpoint.safetensors", started, settings)
    run_two(two)
    assert read_log(one / "loss.csv")[-1] == pytest.approx(read_log(two / "loss.csv")[-1], rel=1e-4)
    together, _, step = load_model(two / "checkpoint.safetensors")
    together = together.state_dict()
    assert step == 6
    for name, value in alone.ema.module.state_dict().items():
        torch.testing.assert_close(together[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.slow  # the test before it trains in two processes, too
def test_torchrun(tmp_path):
    """The command line under torchrun: two processes, one folder, the losses of one process."""
    environment = {
        **os.environ, "PYTHONPATH": import_path(), "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    options = ["--steps", "3", "--batch", "8", "--hidden", "8", "--dropout", "0", "--every", "2"]
    logs = []
    for name, start in (("one", []), ("two", torchrun)):
        command = [sys.executable, "-m", *start, "fastdiff", "train", "ddpm", *options]
        command += ["--device", "cpu", "--out", str(tmp_path / name)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stderr
        assert done.stdout.replace("\n", "").count("trained for 3 steps") == 1  # said once
        logs.append(read_log(tmp_path / name / "loss.csv"))
    assert [row["step"] for row in logs[1]] == [2, 3]
    for alone, together in zip(*logs, strict=True):
        assert alone == pytest.approx(together, rel=1e-4)


def test_shares_of_a_batch():
    assert World().share(5) == slice(0, 5)
    assert [World(r, 4).share(8) for r in (0, 3)] == [slice(0, 2), slice(6, 8)]
    with pytest.raises(ValueError, match="batch: expected a multiple of the 3 processes, got 8"):
        World(0, 3).share(8)


def test_alone_without_torchrun(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with world("cpu") as (ranks, device):
        assert ranks == World() and ranks.first and device.type == "cpu"
