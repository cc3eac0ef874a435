"""``fastdiff train`` and ``fastdiff evaluate``."""

import json

import pytest
import torch
import typer
from runs import data
from typer.testing import CliRunner

import fastdiff.training as training
from fastdiff.cli.app import app
from fastdiff.cli.device import resolve
from fastdiff.models import FAMILY
from fastdiff.training import exam, load_model, rows

runner = CliRunner()


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Few images, few samples, a judge that has hardly seen any."""
    usual, sizes = training.load, {"digits8": (17, 8), "mnist5k": (256, 28)}

    def load(name, pad=0):
        if name not in sizes:
            return usual(name, pad)
        return tuple(data(count, *sizes[name]).padded(pad) for count in (60, 30))

    monkeypatch.setattr(training, "load", load)
    monkeypatch.setattr(rows, "SAMPLES", 20)
    monkeypatch.setattr(exam, "judge", lambda *args, **options: training.judge.judge(
        *args, **options | {"epochs": 1}))  # fmt: skip


def invoke(*arguments):
    return runner.invoke(app, [*map(str, arguments)])


@pytest.mark.parametrize("family", FAMILY)
def test_train_and_evaluate(tmp_path, family):
    options = ["--steps", 3, "--batch", 8, "--hidden", 16, "--every", 2, "--device", "cpu"]
    result = invoke("train", family, "--out", tmp_path, *options)
    assert result.exit_code == 0, result.output
    assert f"{tmp_path}: trained for 3 steps" in result.output.replace("\n", "")
    model, config, step = load_model(tmp_path / "checkpoint.safetensors")
    assert config.family == family and config.model.hidden == 16 and step == 3
    result = invoke("evaluate", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout.strip().splitlines()[-1])
    assert numbers["family"] == family and numbers["steps"] == 3 and len(numbers) > 4
    assert all(isinstance(v, str) or v == v for v in numbers.values())


def test_evaluate_prints_a_table_and_takes_a_file(tmp_path):
    invoke("train", "vae", "--out", tmp_path, "--steps", 1, "--batch", 4, "--hidden", 8)
    result = invoke("evaluate", tmp_path / "checkpoint.safetensors", "--no-samples")
    assert result.exit_code == 0, result.output
    assert "IWAE64 bpd" in result.output and "FD" not in result.output


def test_options_of_tuples(tmp_path):
    options = ["--steps", 1, "--batch", 4, "--hidden", 8, "--latents", "6,5,4"]
    assert invoke("train", "hvae", "--out", tmp_path, *options).exit_code == 0
    assert load_model(tmp_path / "checkpoint.safetensors")[1].model.latents == (6, 5, 4)


def test_resume(tmp_path):
    options = ["train", "ddpm", "--out", tmp_path, "--steps", 2, "--batch", 4, "--hidden", 8]
    assert invoke(*options).exit_code == 0
    again = invoke(*options)
    assert again.exit_code == 1 and "out: expected a folder without a run" in again.output
    assert invoke(*options, "--resume").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "gan"], "No such command 'gan'"),
        (["train", "vae", "--data", "nowhere"], "data: expected digits8, mnist5k or a folder"),
        (["train", "vae", "--net", "rnn"], 'net: expected "mlp", "conv" or "linear", got \'rnn\''),
        (["train", "hvae", "--latents", "3,x"], "latents: expected numbers such as 24,8, got 'x'"),
        (["train", "sde", "--steps", "0"], "steps: expected at least 1, got 0"),
        (["train", "sde", "--every", "0"], "every: expected at least 1, got 0"),
        (["train", "ddpm", "--timesteps", "0"], "timesteps: expected at least 1, got 0"),
        (["train", "ddpm", "--vlb", "nan"], "vlb: expected at least 0, got nan"),
        (["train", "ddpm", "--vlb", "-1"], "vlb: expected at least 0, got -1.0"),
        (["train", "vae", "--latent", "0"], "latent: expected at least 1, got 0"),
        (["train", "vae", "--free-bits", "-1"], "free_bits: expected at least 0, got -1.0"),
        (["train", "hvae", "--kl-warmup", "-5"], "kl_warmup: expected at least 0, got -5"),
        (["train", "vae", "--dropout", "1"], "dropout: expected at least 0 and below 1, got 1.0"),
        (["train", "vdm", "--blocks", "0"], "blocks: expected at least 1, got 0"),
        (["train", "vdm", "--data", ""], "data: expected digits8, mnist5k or a folder of images"),
        (["train", "sde", "--lr", "nan"], "lr: expected a positive number, got nan"),
        (["train", "sde", "--device", "gpu"], "device: expected auto, or a torch device that wo"),
        (["train", "digits", "--device", "cuda:99"], "that works here, got 'cuda:99'"),
        (["evaluate", "x", "--device", "cuda:99"], "that works here, got 'cuda:99'"),
        *[
            (["train", family, "--hidden", "0"], "hidden: expected at least 1, got 0")
            for family in FAMILY
        ],
        (["evaluate", "nowhere"], "path: expected a checkpoint, got 'nowhere': no such file"),
    ],
)
def test_bad_options_are_named(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code != 0
    assert words in " ".join((result.output + result.stderr).split())
    assert not list(tmp_path.iterdir())


def test_every_training_runs_on_what_there_is():
    for command in typer.main.get_command(app).commands["train"].commands.values():
        (device,) = (option for option in command.params if option.name == "device")
        assert device.default == "auto"
    assert resolve("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve("cpu") == torch.device("cpu")


def test_other_data_must_fit(tmp_path):
    invoke("train", "vae", "--out", tmp_path, "--steps", 1, "--batch", 4, "--hidden", 8)
    result = invoke("evaluate", tmp_path, "--data", "mnist5k")
    assert result.exit_code == 1 and "data: expected Space(shape=(1, 8, 8)" in result.output


def test_digits_writes_the_model_file(tmp_path):
    from fastdiff.models import load

    options = ["--steps", 1, "--batch", 2, "--no-bf16", "--label-dropout", 0.2]
    result = invoke("train", "digits", "--out", tmp_path, *options)
    assert result.exit_code == 0, result.output
    model, meta = load(tmp_path / "digits.safetensors")
    assert model.config.image_size == 32 and meta["training"]["model"]["label_dropout"] == 0.2
    assert meta["command"] == (
        "fastdiff train digits --steps 1 --seed 0 --batch 2 --lr 0.001 --ema 0.999 "
        "--label-dropout 0.2 --no-bf16"
    )
