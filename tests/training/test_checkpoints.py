"""Checkpoints: resumed, killed, damaged and refused; runs that diverge."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from runs import config, data, same
from safetensors import safe_open
from safetensors.torch import save_file

from fastdiff.models import FAMILY
from fastdiff.training import (
    Diverged,
    batch_seed,
    checkpoint,
    load_checkpoint,
    load_model,
    new_state,
    save_checkpoint,
    train,
    train_step,
)
from fastdiff.training import loop as training_loop
from fastdiff.training.log import read_log

DATA = data()
every_family = pytest.mark.parametrize("family", FAMILY)


@every_family
def test_resumed_run_is_bitwise_the_uninterrupted_one(family, tmp_path):
    settings = config(family, model={"dropout": 0.2})
    through, first = new_state(settings, DATA), new_state(settings, DATA)
    for _ in range(settings.steps):
        train_step(through, DATA, settings)
    for _ in range(3):
        train_step(first, DATA, settings)
    save_checkpoint(tmp_path / "c.safetensors", first, settings)
    torch.manual_seed(999)  # whatever ran in between
    second = new_state(settings, DATA)
    load_checkpoint(tmp_path / "c.safetensors", second, settings)
    for _ in range(3):
        train_step(second, DATA, settings)
    assert second.step == settings.steps
    assert same(through.model, second.model) and same(through.ema, second.ema)
    save_checkpoint(tmp_path / "d.safetensors", second, settings)
    model, found, step = load_model(tmp_path / "d.safetensors")
    assert same(model, second.ema.module) and found == settings and step == settings.steps
    assert not model.training


def test_train_writes_the_folder_and_resumes(tmp_path):
    short = config(steps=4)
    done = train(short, DATA, DATA, tmp_path, every=2, progress=False)
    assert [row["step"] for row in read_log(tmp_path / "loss.csv")] == [2, 4]
    assert (tmp_path / "loss.png").stat().st_size > 1000
    again = train(short, DATA, DATA, tmp_path, resume=True, every=2, progress=False)
    assert again.step == 4 and same(done.model, again.model)
    message = (
        "config: expected the checkpoint's steps=4, got steps=5: the learning rate falls to zero"
    )
    with pytest.raises(ValueError, match=message):
        train(config(steps=5), DATA, DATA, tmp_path, resume=True)
    with pytest.raises(FileExistsError, match="out: expected a folder without a run, got"):
        train(short, DATA, DATA, tmp_path)
    assert load_model(tmp_path / "checkpoint.safetensors")[2] == 4  # nothing was lost


KILLED = """
import sys
sys.path.insert(0, {folder!r})
from runs import config, data
from fastdiff.training import train
train(config(steps=100000, model={{"dropout": 0.2}}), data(), data(), sys.argv[1], every=7)
"""


def test_a_killed_run_loses_at_most_the_steps_since_its_checkpoint(tmp_path):
    """kill -9 while it trains and writes; what is on the disk is whole and goes on exactly."""
    code = KILLED.format(folder=os.path.dirname(__file__))
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        deadline = time.monotonic() + 60
        while len(read_log(tmp_path / "loss.csv")) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    long = config(steps=100_000, model={"dropout": 0.2})
    state = new_state(long, DATA)
    load_checkpoint(tmp_path / "checkpoint.safetensors", state, long)
    logged = read_log(tmp_path / "loss.csv")[-1]["step"]
    assert state.step % 7 == 0 and logged <= state.step <= logged + 7
    through = new_state(long, DATA)
    for _ in range(state.step):
        train_step(through, DATA, long)
    assert same(through.model, state.model) and same(through.ema, state.ema)


def test_a_log_forgets_what_came_after_the_checkpoint(tmp_path):
    settings = config(steps=6)
    train(settings, DATA, DATA, tmp_path, every=2, progress=False)
    full = (tmp_path / "loss.csv").read_text()
    early = new_state(settings, DATA)
    for _ in range(2):
        train_step(early, DATA, settings)
    save_checkpoint(tmp_path / "checkpoint.safetensors", early, settings)
    train(settings, DATA, DATA, tmp_path, resume=True, every=2, progress=False)
    assert (tmp_path / "loss.csv").read_text() == full


def test_damaged_checkpoints_say_so(tmp_path):
    settings, path = config(), tmp_path / "c.safetensors"
    with pytest.raises(FileNotFoundError, match="path: expected a checkpoint, got .*no such file"):
        load_model(path)
    state = new_state(settings, DATA)
    save_checkpoint(path, state, settings)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:4], b"", b"\0" * 100):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="path: expected a checkpoint, got a damaged"):
            load_checkpoint(path, state, settings)
    save_file({"a": torch.zeros(1)}, str(path))
    with pytest.raises(ValueError, match="path: expected a checkpoint of format"):
        load_model(path)


def rewrite(path, header=lambda h: h, tensors=lambda t: t):
    """The file with other contents and a checksum that is right."""
    with safe_open(str(path), framework="pt") as file:
        old, kept = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}
    new, kept = header(dict(old)), tensors(kept)
    if {"config", "space", "step"} <= new.keys():
        new["crc32"] = checkpoint._checksum(new, kept)
    save_file(kept, str(path), metadata=new)


def without(*names):
    return lambda values: {k: v for k, v in values.items() if not k.startswith(names)}


def other_config(change):
    def header(old):
        config = json.loads(old["config"])
        change(config)
        return old | {"config": json.dumps(config)}

    return {"header": header}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"header": without("config")}, "no 'config' in it"),
        ({"header": without("step")}, "no 'step' in it"),
        ({"header": lambda h: h | {"config": "{broken"}}, "Expecting property name"),
        ({"header": lambda h: h | {"space": '{"shape": [1, 8, 8]}'}}, "missing 2 required"),
        (other_config(lambda c: c.pop("lr")), "lr: expected a value of this setting, got none"),
        (other_config(lambda c: c["model"].pop("hidden")), "hidden: expected a value of this"),
        (other_config(lambda c: c.update(family="gan")), "family: expected one of"),
        ({"tensors": without("ema/")}, "Missing key"),
        ({"tensors": lambda t: t | {"stray": torch.zeros(1)}}, "a tensor 'stray' in it"),
        ({"tensors": without("optimizer/")}, "no or wrong optimizer state of parameter 0"),
        ({"tensors": without("optimizer/2.exp_avg_sq")}, "no or wrong optimizer state .* 2"),
        ({"tensors": lambda t: t | {"optimizer/1.exp_avg": torch.zeros(3)}}, "optimizer state"),
        ({"tensors": lambda t: t | {"ema/n_averaged": torch.zeros(2)}}, "n_averaged"),
    ],
)
def test_a_checkpoint_that_lacks_something_is_named(tmp_path, change, message):
    settings, path = config(), tmp_path / "c.safetensors"
    state = new_state(settings, DATA)
    train_step(state, DATA, settings)
    save_checkpoint(path, state, settings)
    rewrite(path, **change)
    expected = rf"path: expected a checkpoint, got a damaged .*c\.safetensors': .*{message}"
    with pytest.raises(ValueError, match=expected) as error:
        load_checkpoint(path, new_state(settings, DATA), settings)
    assert "\n" not in str(error.value)
    if "optimizer" not in message and "n_averaged" not in message:
        with pytest.raises(ValueError, match=expected):
            load_model(path)


def test_flipped_bits_are_noticed(tmp_path):
    settings, path = config(), tmp_path / "c.safetensors"
    save_checkpoint(path, new_state(settings, DATA), settings)
    whole = bytearray(path.read_bytes())
    for place in (whole.index(b'\\"seed\\": 0') + 10, len(whole) // 2, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        for read in (load_model, lambda p: load_checkpoint(p, new_state(settings, DATA), settings)):
            with pytest.raises(ValueError, match="damaged .*c.safetensors'.*checksum"):
                read(path)


def test_a_run_is_not_continued_on_images_of_another_size(tmp_path):
    train(config(steps=2), DATA, DATA, tmp_path, progress=False)
    other = data(size=6)
    with pytest.raises(ValueError, match=r"data: expected Space\(shape=\(1, 8, 8\).*6, 6\)"):
        train(config(steps=2), other, other, tmp_path, resume=True, progress=False)


def test_a_run_does_not_touch_a_damaged_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"precious")
    for resume in (False, True):
        with pytest.raises((ValueError, FileExistsError)):
            train(config(), DATA, DATA, tmp_path, resume=resume)
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize(("step", "kept"), [(1, "none was written yet"), (4, "checkpoint.safet")])
def test_divergence_stops_with_step_seed_and_checkpoint(tmp_path, monkeypatch, step, kept):
    settings = config(steps=8)
    member = FAMILY["ddpm"]
    usual = member.loss

    def loss(self, batch):
        return usual(self, batch) * (torch.nan if batch.step == step else 1)

    monkeypatch.setattr(member, "loss", loss)
    seed = batch_seed(settings, step)
    message = rf"step {step}: expected a finite loss.*loss nan .*\(batch seed {seed}\).*{kept}"
    with pytest.raises(Diverged, match=message):
        train(settings, DATA, DATA, tmp_path, every=2, progress=False)
    if step == 4:
        monkeypatch.setattr(member, "loss", usual)
        assert load_model(tmp_path / "checkpoint.safetensors")[2] == 4
        assert all(v.isfinite().all() for v in load_model(
            tmp_path / "checkpoint.safetensors")[0].state_dict().values())  # fmt: skip


def test_a_gradient_that_is_not_finite_stops_too(tmp_path, monkeypatch):
    member = FAMILY["ddpm"]
    usual = member.loss

    def loss(self, batch):
        value = usual(self, batch)
        if batch.step == 2:
            value.register_hook(lambda g: g * torch.inf)
        return value

    monkeypatch.setattr(member, "loss", loss)
    with pytest.raises(Diverged, match="step 2: .*gradient norm (nan|inf)"):
        train(config(), DATA, DATA, tmp_path, every=3, progress=False)
    assert not (tmp_path / "checkpoint.safetensors").exists()


def dead(state):
    with torch.no_grad():
        next(state.model.parameters()).view(-1)[3] = torch.nan


@pytest.mark.parametrize("every", [1, 2])
def test_an_update_to_weights_that_are_not_finite_keeps_the_checkpoint(
    tmp_path, monkeypatch, every
):
    """The loss of the step is finite still, and so is that of the last one."""
    usual = training_loop.train_step

    def step(state, *arguments):
        numbers = usual(state, *arguments)
        if state.step == 4:
            dead(state)
        return numbers

    monkeypatch.setattr(training_loop, "train_step", step)
    with pytest.raises(Diverged, match=r"step 3: .*weights that are not \('model/.*checkpoint.saf"):
        train(config(steps=4), DATA, DATA, tmp_path, every=every, progress=False)
    assert load_model(tmp_path / "checkpoint.safetensors")[2] == 4 - every


def test_a_first_step_that_overflows_leaves_no_checkpoint(tmp_path):
    wild = config("vae", steps=1, lr=1e30, warmup=0, clip=1e9)
    with pytest.raises(Diverged, match="step 0: .*got (weights|test loss).*none was written yet"):
        train(wild, DATA, DATA, tmp_path, progress=False)
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_a_dead_state_is_neither_saved_nor_read(tmp_path, monkeypatch):
    settings, path = config(), tmp_path / "c.safetensors"
    state = new_state(settings, DATA)
    save_checkpoint(path, state, settings)
    before = path.read_bytes()
    dead(state)
    with pytest.raises(ValueError, match="state: expected finite numbers, got others in 'model/"):
        save_checkpoint(path, state, settings)
    assert path.read_bytes() == before
    with monkeypatch.context() as unguarded:
        unguarded.setattr(checkpoint, "not_finite", lambda tensors: None)
        save_checkpoint(path, state, settings)
    for read in (load_model, lambda p: load_checkpoint(p, new_state(settings, DATA), settings)):
        with pytest.raises(ValueError, match="path: expected finite weights, got .*'model/.*c.saf"):
            read(path)
