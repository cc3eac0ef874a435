"""Checkpoints: resumed, killed, damaged and refused; runs that diverge."""

import json
import os
import subprocess
import sys
import zlib

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fastdiff.models import FAMILY, tensor_file
from fastdiff.training import (
    Diverged,
    batch_seed,
    load_checkpoint,
    load_model,
    new_state,
    save_checkpoint,
    train,
    train_step,
)
from fastdiff.training import loop as training_loop
from fastdiff.training.log import read_log
from tests.support.helpers import import_path
from tests.support.runs import config, data, same

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


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(tmp_path, kills):
    """kill -9 at random points: the log has every row that the checkpoint contains, and weights and
    log end bit for bit as those of a run that nothing happens to."""
    script = os.path.join(os.path.dirname(__file__), "kills.py")
    done = subprocess.run(
        [sys.executable, script, str(tmp_path), str(kills), "0"],
        env={**os.environ, "PYTHONPATH": import_path(), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_log_row_is_on_the_disk_before_the_checkpoint_that_contains_it(tmp_path, monkeypatch):
    found, usual = [], training_loop.save_checkpoint

    def save(path, state, settings):
        found.append((state.step, [row["step"] for row in read_log(tmp_path / "loss.csv")]))
        usual(path, state, settings)

    monkeypatch.setattr(training_loop, "save_checkpoint", save)
    train(config(steps=5), DATA, DATA, tmp_path, every=2, progress=False)
    assert found == [(2, [2]), (4, [2, 4]), (5, [2, 4, 5])]


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_checkpoints_in_time_keep_the_losses_that_wait_for_their_row(tmp_path, monkeypatch, stop):
    """With a checkpoint after every step, a run that stops between two rows of the log writes the
    same log when it goes on, and ends with the same weights."""
    settings = config(steps=6, model={"dropout": 0.2})
    whole = train(settings, DATA, DATA, tmp_path / "whole", every=3, progress=False)
    usual = training_loop.train_step

    def step(state, *arguments):
        if state.step == stop:
            raise KeyboardInterrupt
        return usual(state, *arguments)

    out, options = tmp_path / "stopped", {"every": 3, "progress": False, "seconds": 0}
    with monkeypatch.context() as stopping, pytest.raises(KeyboardInterrupt):
        stopping.setattr(training_loop, "SHARE", 0)
        stopping.setattr(training_loop, "train_step", step)
        train(settings, DATA, DATA, out, **options)
    assert load_model(out)[2] == stop
    again = train(settings, DATA, DATA, out, resume=True, **options)
    assert same(again.model, whole.model) and same(again.ema, whole.ema)
    assert (out / "loss.csv").read_bytes() == (tmp_path / "whole" / "loss.csv").read_bytes()


def test_checkpoints_are_not_written_all_the_time(tmp_path, monkeypatch):
    """Not sooner than asked, and for at most a fiftieth of the time."""
    now, took, saved = [0.0], 0.4, []
    monkeypatch.setattr(training_loop.time, "monotonic", lambda: now[0])

    def save(path, state, settings):
        saved.append(state)
        now[0] += took

    monkeypatch.setattr(training_loop, "save_checkpoint", save)
    saver = training_loop._Saver(tmp_path / "c", 15)
    now[0] = 15
    assert not saver.long_ago
    now[0] = 15.01
    assert saver.long_ago
    saver.save(1, None)
    now[0] += 19.9
    assert not saver.long_ago
    now[0] += 0.2
    assert saver.long_ago and saved == [1]


@pytest.mark.parametrize("resume", [False, True])
def test_what_a_folder_must_have(tmp_path, resume):
    """A new run none, one that goes on a run of its own: else an error, and nothing is written."""
    if not resume:
        train(config(steps=1), DATA, DATA, tmp_path, progress=False)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(FileNotFoundError if resume else FileExistsError) as error:
        train(config(steps=1), DATA, DATA, tmp_path, resume=resume, progress=False)
    assert str(tmp_path) in str(error.value)
    assert str(error.value).startswith("resume: expected" if resume else "out: expected")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_steps_between_rows_are_named(tmp_path):
    with pytest.raises(ValueError, match="every: expected at least 1, got 0"):
        train(config(), DATA, DATA, tmp_path, every=0)


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
    tensor_file.write(path, tensors(kept), header(dict(old)))


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


def test_a_checkpoint_of_the_format_before_is_read_and_checked(tmp_path):
    """Its checksum was of the settings and the tensors, one after the other."""
    settings, path = config(), tmp_path / "c.safetensors"
    state = new_state(settings, DATA)
    train_step(state, DATA, settings)
    save_checkpoint(path, state, settings)
    with safe_open(str(path), framework="pt") as file:
        header, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}
    header.pop("checksum")
    written = b"".join(header[name].encode() for name in ("config", "space", "step"))
    for name in sorted(tensors):
        written += name.encode() + tensors[name].numpy().tobytes()
    header |= {"format": "fastdiff-training-3", "crc32": f"{zlib.crc32(written):08x}"}
    save_file(tensors, str(path), metadata=header)
    again = new_state(settings, DATA)
    load_checkpoint(path, again, settings)
    assert again.step == 1 and same(again.model, state.model) and same(again.ema, state.ema)
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    for read in (load_model, lambda p: load_checkpoint(p, again, settings)):
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
        unguarded.setattr("fastdiff.training.checkpoint.not_finite", lambda tensors: None)
        save_checkpoint(path, state, settings)
    for read in (load_model, lambda p: load_checkpoint(p, new_state(settings, DATA), settings)):
        with pytest.raises(ValueError, match="path: expected finite weights, got .*'model/.*c.saf"):
            read(path)
