"""The command line with a tiny model: what it writes, what it says, how it refuses."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from fastdiff import models
from fastdiff.cli.app import app

runner = CliRunner()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    config = models.UNetConfig(image_size=8, widths=(8, 8), attention=(False, False), emb_dim=16)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    models.save(path, config, models.UNet(config).state_dict())
    return str(path)


def sample(out, weights, *options):
    return runner.invoke(app, ["sample", str(out), "--model", weights, "--steps", "3", *options])


@pytest.mark.parametrize("solver", ["DPMpp2M", "ddpm"])
def test_a_picture_and_a_table_of_times(tmp_path, weights, solver):
    result = sample(tmp_path / "s.png", weights, "--n", "12", "--solver", solver)
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "s.png") as picture:
        assert picture.size == (10 * 8 * 2, 2 * 8 * 2)
    for words in ("in the model", "outside it", "fastdiff", "plain PyTorch"):
        assert words in result.output


def test_arrays_hold_the_same_samples(tmp_path, weights):
    for name in ("s.npz", "s.safetensors"):
        options = ["--n", "4", "--classes", "3,7-8", "--seed", "5", "--no-compare"]
        assert sample(tmp_path / name, weights, *options).exit_code == 0
    with np.load(tmp_path / "s.npz") as file:
        npz = dict(file)
    tensors = load_file(tmp_path / "s.safetensors")
    assert npz["images"].shape == (4, 1, 8, 8) and npz["labels"].tolist() == [3, 7, 8, 3]
    np.testing.assert_array_equal(npz["images"], tensors["images"].numpy())
    np.testing.assert_array_equal(npz["labels"], tensors["labels"].numpy())


def test_the_loop_without_fastdiff_makes_the_same_samples(tmp_path, weights):
    result = sample(tmp_path / "s.npz", weights, "--n", "2", "--solver", "UniPC")
    difference = result.output.split("samples:")[-1].split()[0]
    assert float(difference) < 1e-5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["s.jpg"], "out: expected a name ending in .png, .npz, .safetensors"),
        (["missing/s.png"], "out: expected an existing folder"),
        (["s.png", "--solver", "rk9"], "solver: expected one of"),
        (["s.png", "--classes", "3-12"], "classes: expected labels from 0 to 9"),
        (["s.png", "--classes", "x"], "classes: expected labels such as"),
        (["s.png", "--scale", "nan"], "scale: expected a finite number"),
        (["s.png", "--model", "none.safetensors"], "path: expected a model file"),
        (["s.png", "--classes", "\u00b2"], "classes: expected labels such as"),
        (["s.png", "--solver", "DDIMInverse"], "solver: expected one that goes from noise to data"),
        (["s.png", "--solver", "RePaint"], "solver: expected one that needs no known data"),
        (["s.png", "--device", "cpy"], "device: expected auto, or a torch device"),
        (["s.png", "--seed", str(2**70)], "seed"),
    ],
)
def test_bad_options_are_named(tmp_path, monkeypatch, weights, options, words):
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, ["sample", "--model", weights, *options])
    assert result.exit_code != 0
    assert words in result.output + result.stderr
    assert not list(tmp_path.iterdir())


def test_info_lists_the_installation():
    result = runner.invoke(app, ["info"])
    assert result.exit_code == 0
    for words in ("torch", "cpu clone", "cuda archs", "DPMpp2M"):
        assert words in result.output


def test_without_the_extra_it_says_what_to_install():
    code = "import sys; sys.modules['typer'] = None; from fastdiff.cli import main; main()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert "pip install 'fastdiff[cli]'" in result.stderr


def test_bench(tmp_path):
    """Both loops of each solver, a fixed point each of what is written and shown."""
    out = tmp_path / "b.json"
    options = ["--solver", "DDIM, ddpm", "--shape", "2x3x8", "--rounds", "3", "--steps", "4"]
    result = runner.invoke(app, ["bench", *options, "--json", str(out)])
    assert result.exit_code == 0, result.output
    records = json.loads(out.read_text())["records"]
    assert [r["name"] for r in records] == ["DDIM", "ddpm"]
    assert records[0]["difference"] < 1e-5 and "difference" not in records[1]
    for record in records:
        assert record["shape"] == [2, 3, 8] and record["plain / fastdiff"] > 0
        assert record["name"] in result.output
    assert runner.invoke(app, ["bench", *options, "--scale", "1"]).exit_code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shape", "4"], "shape: expected sizes such as 1x4x64x64, batch first, got '4'"),
        (["--shape", "0x4"], "shape: expected sizes"),
        (["--solver", "DDIM,Magic"], "solver: expected one of"),
        (["--solver", "Inpaint"], "solver: expected one that needs no known data"),
        (["--device", "moon"], "device: expected auto"),
    ],
)
def test_bench_refuses(options, message):
    result = runner.invoke(app, ["bench", "--rounds", "3", *options])
    assert result.exit_code == 1 and message in result.output
