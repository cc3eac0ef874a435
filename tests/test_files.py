"""Every file of the package: whole or not at all, on the disk, and refused where it is damaged."""

import errno
import io
import json
import os
import resource
import stat
import threading
import zipfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fastdiff import files, models, schedules, solvers
from fastdiff.cli import sample
from fastdiff.training import judge, load_checkpoint, load_model, new_state, save_checkpoint
from fastdiff.training.log import Log, plot, read_log
from tests.support import runs

CONFIG = models.UNetConfig(image_size=8, widths=(4,), attention=(False,), blocks=1, emb_dim=4)


def save_table(path, steps):
    solvers.DDIM().lower(schedules.VPLinear(), steps).save(path)


def save_model(path, seed):
    torch.manual_seed(seed)
    models.save(path, CONFIG, models.UNet(CONFIG).state_dict(), {"seed": seed})


@cache
def run_of(seed):
    settings = runs.config(seed=seed)
    return new_state(settings, runs.data()), settings


def save_run(path, seed):
    save_checkpoint(path, *run_of(seed))


def save_judge(path, seed):
    Path(path).unlink(missing_ok=True)
    judge.judge(runs.data(), runs.data(), seed=seed, epochs=1, features=4, cache=path)


def save_plot(path, last):
    rows = [{"step": 1, "train_loss": 1.0, "test_loss": 2.0}] * 2
    plot(path, [*rows, {"step": 2, "train_loss": float(last), "test_loss": 1.0}])


def save_samples(path, seed):
    rng = torch.Generator().manual_seed(seed)
    sample._save(Path(path), torch.randn(200, 1, 8, 8, generator=rng), torch.arange(200))


def load_run(path):
    load_checkpoint(path, *run_of(1))


def load_judge(path):
    judge.judge(runs.data(), runs.data(), features=4, cache=path)


# How each kind of file is written (a second argument makes another one), and its name.
WRITERS = {
    "table": (save_table, "t.npz"),
    "model": (save_model, "m.safetensors"),
    "checkpoint": (save_run, "c.safetensors"),
    "plot": (save_plot, "loss.png"),
    "picture": (save_samples, "s.png"),
    "npz": (save_samples, "s.npz"),
    "safetensors": (save_samples, "s.safetensors"),
}
# How each kind of file is read, and what writes it.
READERS = {
    "table": (solvers.StepTable.load, save_table),
    "model": (models.load, save_model),
    "run": (models.load, save_run),
    "run of training": (load_model, save_run),
    "checkpoint": (load_run, save_run),
    "judge": (load_judge, save_judge),
}
every_writer = pytest.mark.parametrize(("write", "name"), WRITERS.values(), ids=WRITERS)
every_reader = pytest.mark.parametrize(("read", "write"), READERS.values(), ids=READERS)


@contextmanager
def disk_of(size):
    """Files cannot grow beyond ``size`` bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@every_writer
@pytest.mark.parametrize("size", [0, 100])
def test_a_full_disk_leaves_the_old_file_and_names_the_path(tmp_path, write, name, size):
    path = tmp_path / name
    write(path, 1)
    old = path.read_bytes()
    with disk_of(size), pytest.raises(OSError, match="path: expected a file that can be") as error:
        write(path, 2)
    assert repr(str(path)) in str(error.value) and error.value.errno == errno.EFBIG
    assert path.read_bytes() == old and [p.name for p in tmp_path.iterdir()] == [name]
    write(path, 2)
    assert path.read_bytes() != old


@every_writer
def test_a_place_that_cannot_be_written_to_is_named(tmp_path, write, name):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "folder" / name
    folder.mkdir(parents=True)
    for path in (folder, tmp_path / "absent" / name, tmp_path / "file" / name):
        with pytest.raises(OSError, match="path: expected a file that can be written") as error:
            write(path, 1)
        assert repr(str(path)) in str(error.value)
    assert not any(folder.iterdir()) and len(list(folder.parent.iterdir())) == 1


def test_the_order_in_which_a_file_gets_to_the_disk(tmp_path, monkeypatch):
    """The bytes, the name, the folder: in another order a power failure could leave half a file."""
    calls, path = [], tmp_path / "f"
    fsync, replace = os.fsync, os.replace

    def synced(descriptor):
        what = os.fstat(descriptor)
        calls.append("folder" if stat.S_ISDIR(what.st_mode) else what.st_size)
        fsync(descriptor)

    def replaced(source, target):
        calls.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    files.write(path, b"12345")
    assert calls == [5, "f", "folder"]
    calls.clear()
    files.append(path, b"678")
    assert calls == [8] and path.read_bytes() == b"12345678"


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_a_write_that_fails_anywhere_leaves_the_old_file_alone(tmp_path, monkeypatch, step, error):
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def fail(*arguments):
        raise error

    with monkeypatch.context() as failing, pytest.raises(type(error)):
        failing.setattr(os, step, fail)
        files.write(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_row_that_does_not_fit_leaves_the_rows_before(tmp_path):
    log = Log(tmp_path)
    log.add(step=1, lr=0.1, train_loss=1.0, test_loss=2.0)
    before = log.path.read_bytes()
    with disk_of(len(before) + 5), pytest.raises(OSError, match="expected a file .*loss.csv"):
        log.add(step=2, lr=0.1, train_loss=1.0, test_loss=2.0)
    assert log.path.read_bytes() == before
    log.add(step=2, lr=0.1, train_loss=1.0, test_loss=2.0)
    assert [row["step"] for row in read_log(log.path)] == [1, 2]


def test_a_row_that_was_cut_off_is_left_out_and_nothing_else(tmp_path):
    log = Log(tmp_path)
    for step in (1, 2, 3):
        log.add(step=step, lr=0.1, train_loss=1.0, test_loss=2.0)
    whole = log.path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == 10]
    for length in range(len(whole) + 1):
        log.path.write_bytes(whole[:length])
        rows = sum(end <= length for end in ends[1:])
        assert [row["step"] for row in read_log(log.path)] == [1, 2, 3][:rows]
        again = Log(tmp_path, until=2)
        assert [row["step"] for row in again.rows] == [1, 2][:rows]
    for foreign in (b"a,b\n1,2\n", b"\xff\xfe\n", b"step,lr,train_loss,test_loss\n1,x,1,1\n"):
        log.path.write_bytes(foreign)
        with pytest.raises(ValueError, match="path: expected a log of losses, got .*loss.csv"):
            read_log(log.path)


def test_links_are_followed_and_permissions_kept(tmp_path):
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "f", tmp_path / "link"
    link.symlink_to(target)
    files.write(link, b"1")
    target.chmod(0o640)
    files.write(link, b"22")
    assert link.is_symlink() and target.read_bytes() == b"22"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_what_is_no_regular_file_is_written_to(tmp_path):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    files.write(pipe, b"through")
    reader.join()
    assert got == [b"through"] and stat.S_ISFIFO(pipe.stat().st_mode)


def test_names_as_long_as_they_may_be(tmp_path):
    for name in ("n" * 255, "\u00e4" * 127):
        files.write(tmp_path / name, b"1")
        assert (tmp_path / name).read_bytes() == b"1"


def test_leftovers_are_swept_and_nothing_else(tmp_path):
    path = tmp_path / "c[1].safetensors"
    left = tmp_path / ".c[1].safetensors.0123abcd.partial"
    others = [path, tmp_path / ".other.0123abcd.partial", tmp_path / ".c[1].safetensors.partial"]
    for file in (left, *others):
        file.write_bytes(b"")
    files.sweep(path)
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_writers_at_once_leave_one_of_their_files(tmp_path):
    path, versions = tmp_path / "f", [bytes([k]) * 100_000 for k in range(4)]
    path.write_bytes(versions[0])
    done = threading.Event()

    def write(version):
        for _ in range(5):
            files.write(path, version)

    def watch():
        while not done.is_set():
            assert path.read_bytes() in versions

    failed = []
    monitor = threading.Thread(target=lambda: failed.extend(raised(watch)))
    writers = [threading.Thread(target=write, args=(version,)) for version in versions]
    for thread in (monitor, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    monitor.join()
    assert not failed and list(tmp_path.iterdir()) == [path]


def raised(function):
    try:
        function()
    except BaseException as error:
        return [error]
    return []


# Reading.


def refused(read, path):
    with pytest.raises(ValueError, match="path: expected .*got") as error:
        read(path)
    assert repr(str(path)) in str(error.value) and "\n" not in str(error.value)


@every_reader
def test_every_damaged_byte_and_every_cut_is_refused(tmp_path, read, write):
    path = tmp_path / "f"
    write(path, 1)
    read(path)
    good, rng = path.read_bytes(), np.random.default_rng(0)
    header = 8 + int.from_bytes(good[:8], "little") if good[:2] != b"PK" else 600
    places = {*range(16), *rng.integers(0, header, 150).tolist(), header, len(good) - 1}
    places |= set(rng.integers(header, len(good), 50).tolist())
    for place in places:
        damaged = bytearray(good)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        refused(read, path)
    for length in {0, 1, 7, 8, 9, header, *rng.integers(0, len(good), 50).tolist(), len(good) - 1}:
        path.write_bytes(good[:length])
        refused(read, path)
    path.write_bytes(good + b"\0")
    refused(read, path)


def foreign():
    """Names and contents of files that are something else."""
    archive, arrays, pickled = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.txt", "text")
    np.savez(arrays, rows=np.zeros((3, 40)), levels=np.zeros((3, 7)), meta=np.array("[1]"))
    torch.save({"a": torch.zeros(2)}, pickled)
    yield from {"empty": b"", "text": b"hello\n", "zeros": b"\0" * 100}.items()
    yield from {"zip": archive.getvalue(), "npz": arrays.getvalue()}.items()
    yield "pickle", pickled.getvalue()
    for text in ("[]", "{}", "null", '{"__metadata__": 3}', '{"__metadata__": {"format": 3}}',
                 '{"__metadata__": {"format": ["a"]}}', '{"a": {"dtype": "F99"}}'):  # fmt: skip
        yield text, len(text).to_bytes(8, "little") + text.encode()
    yield "long header", (2**63).to_bytes(8, "little") + b"{}"


@every_reader
def test_foreign_files_are_refused(tmp_path, read, write):
    path = tmp_path / "f"
    for _, contents in foreign():
        path.write_bytes(contents)
        refused(read, path)
    for _, other in READERS.values():
        if other is not write and {other, write} != {save_model, save_run}:
            other(path, 1)
            refused(read, path)


@pytest.mark.parametrize("read", [solvers.StepTable.load, models.load, load_model, load_run])
def test_what_cannot_be_read_is_named(tmp_path, read):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "absent", tmp_path / "folder", tmp_path / "file" / "f"):
        with pytest.raises(OSError, match=str(path)):
            read(path)


def rewritten(path, header=lambda h: h, tensors=lambda t: t):
    """The file as an older version or another program would write it: without a checksum."""
    with safe_open(str(path), framework="pt") as file:
        old, kept = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}
    del old["checksum"]
    save_file(tensors(kept), str(path), metadata=header(old))


def older(header):
    return header | {"format": "fastdiff-unet-1"}


def test_models_of_before_the_checksum_are_read(tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(path, 1)
    expected = models.load(path)
    rewritten(path)
    refused(models.load, path)  # a file of today has one
    rewritten_again = tmp_path / "old.safetensors"
    save_model(rewritten_again, 1)
    rewritten(rewritten_again, older)
    found = models.load(rewritten_again)
    assert runs.same(found[0], expected[0]) and found[1] == expected[1] == {"seed": 1}


@pytest.mark.parametrize(
    ("header", "tensors"),
    [
        (lambda h: older(h) | {"config": "{broken"}, lambda t: t),
        (lambda h: older(h) | {"config": "[1]"}, lambda t: t),
        (lambda h: older(h) | {"config": '{"colour": 1}'}, lambda t: t),
        (lambda h: older(h) | {"meta": "x"}, lambda t: t),
        (lambda h: {"format": "fastdiff-unet-1"}, lambda t: t),
        (older, lambda t: {}),
        (older, lambda t: {name: torch.zeros(3) for name in t}),
        (older, lambda t: t | {"stray": torch.zeros(1)}),
    ],
)
def test_older_models_that_do_not_fit_are_refused(tmp_path, header, tensors):
    path = tmp_path / "m.safetensors"
    save_model(path, 1)
    rewritten(path, header, tensors)
    refused(models.load, path)


def test_an_older_judge_is_read(tmp_path):
    path = tmp_path / "judge"
    save_judge(path, 1)
    images = runs.data()
    expected = judge.judge(images, images, features=4, cache=path)
    rewritten(path, lambda header: None)
    found = judge.judge(images, images, features=4, cache=path)
    assert torch.equal(found.features(images.images), expected.features(images.images))


def test_text_in_a_model_cannot_be_taken_for_its_checksum(tmp_path):
    path = tmp_path / "m.safetensors"
    meta = {"checksum": "0" * 8, '"checksum":"': '"checksum":"00000000"'}
    models.save(path, CONFIG, models.UNet(CONFIG).state_dict(), meta)
    assert models.load(path)[1] == json.loads(json.dumps(meta))
