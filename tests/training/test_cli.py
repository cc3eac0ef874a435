"""``fastdiff train`` and ``fastdiff evaluate``."""

import json

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

import fastdiff.training as training
from fastdiff import models
from fastdiff.cli.app import app
from fastdiff.cli.device import resolve
from fastdiff.models import FAMILY
from fastdiff.training import exam, load_model, rows
from tests.support.runs import data

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


# Options of the training, options of the sampling, and whether there are labels.
DRAWN = [
    ("vae", [], [], False),
    ("hvae", [], [], False),
    ("vdm", [], ["--steps", 3], False),
    ("ddpm", ["--timesteps", 5], [], False),
    ("ddpm", ["--timesteps", 9], ["--steps", 3, "--solver", "UniPC"], False),
    ("ddpm", ["--timesteps", 5, "--variance", "learned", "--label-dropout", 0.1], [], True),
    ("ncsn", ["--levels", 3], ["--steps", 2], False),
    ("sde", [], ["--steps", 3, "--solver", "ddim"], False),
    ("sde", ["--label-dropout", 0.1], ["--steps", 3, "--classes", "3,7-8"], True),
    ("sde", ["--label-dropout", 0.0], ["--steps", 3, "--scale", 1], True),
]


@pytest.mark.parametrize(("family", "made", "drawn", "labelled"), DRAWN)
def test_sample_draws_from_a_run(tmp_path, family, made, drawn, labelled):
    run, out = tmp_path / "run", tmp_path / "s.npz"
    options = ["--steps", 1, "--batch", 4, "--hidden", 8, *made]
    assert invoke("train", family, "--out", run, *options).exit_code == 0
    result = invoke("sample", out, "--model", run, "-n", 12, "--seed", 5, *drawn)
    assert result.exit_code == 0, result.output
    with np.load(out) as file:
        found = dict(file)
    assert found["images"].shape == (12, 1, 8, 8) and np.isfinite(found["images"]).all()
    assert ("labels" in found) == labelled
    asked = [3, 7, 8] if "--classes" in drawn else range(10)
    expected = [asked[i % len(asked)] for i in range(12)]
    assert not labelled or found["labels"].tolist() == expected
    # A sample is a matter of its own seed and label.
    checkpoint, one = run / "checkpoint.safetensors", tmp_path / "one.npz"
    label = ["--classes", expected[2]] if labelled else []
    arguments = ["--model", checkpoint, "-n", 1, "--seed", 7, *drawn, *label]
    assert invoke("sample", one, *arguments).exit_code == 0
    with np.load(one) as file:
        np.testing.assert_allclose(file["images"][0], found["images"][2], rtol=1e-4, atol=1e-4)


def test_every_generative_member_is_drawn_from():
    assert {family for family, *_ in DRAWN} == set(FAMILY) - {"classifier"}


@pytest.mark.parametrize(
    ("family", "made", "drawn", "words"),
    [
        ("classifier", [], [], "model: expected a generative member, got Classifier"),
        ("vae", [], ["--steps", 3], "steps: expected none for a VAE (options: none), got 3"),
        ("vae", [], ["--solver", "rk9"], "solver: expected one of"),
        ("vdm", [], ["--solver", "DDIM"], "solver: expected none for a VDM (options: steps)"),
        ("sde", [], ["--classes", "3"], "classes: expected none for a ScoreSDE trained without"),
        ("sde", [], ["--scale", 2], "scale: expected 1 without labels y, got 2.0"),
        ("sde", ["--label-dropout", 0], ["--scale", 2], "scale: expected 1 for a ScoreSDE that"),
        ("sde", ["--label-dropout", 0.5], ["--classes", "3-10"], "labels from 0 to 9, got '3-10'"),
        ("sde", [], ["--solver", "DDIMInverse"], "solver: expected one that goes from noise"),
        ("ddpm", ["--variance", "learned"], ["--solver", "DDIM"], "solver: expected none, as the"),
    ],
)
def test_sample_refuses_what_a_run_has_no_use_for(tmp_path, family, made, drawn, words):
    run, out = tmp_path / "run", tmp_path / "s.npz"
    options = ["--steps", 1, "--batch", 4, "--hidden", 8, *made]
    assert invoke("train", family, "--out", run, *options).exit_code == 0
    result = invoke("sample", out, "--model", run, "-n", 2, *drawn)
    assert result.exit_code == 1 and words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1 and not out.exists()


@pytest.mark.parametrize("family", FAMILY)
def test_a_run_is_loaded_by_its_folder(tmp_path, family):
    options = ["--steps", 1, "--batch", 4, "--hidden", 8]
    assert invoke("train", family, "--out", tmp_path, *options).exit_code == 0
    trained, config, step = load_model(tmp_path)
    settings = json.loads(json.dumps(config.to_dict()))
    for path in (tmp_path, tmp_path / "checkpoint.safetensors", str(tmp_path)):
        model, meta = models.load(path)
        assert type(model) is FAMILY[family] and not model.training
        assert meta == {"steps": 1, "training": settings} and step == 1
        kept = trained.state_dict()
        for name, value in model.state_dict().items():
            assert torch.equal(value, kept[name]) and value.dtype == kept[name].dtype


def test_a_picture_of_colour_images(tmp_path):
    rng, folder = np.random.default_rng(0), tmp_path / "images"
    folder.mkdir()
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (6, 4, 3), np.uint8)).save(folder / f"{i}.png")
    options = ["--steps", 1, "--batch", 4, "--hidden", 8, "--data", folder]
    assert invoke("train", "sde", "--out", tmp_path / "run", *options).exit_code == 0
    for name in ("s.png", "s.npz"):
        arguments = ["--model", tmp_path / "run", "-n", 3, "--steps", 2]
        assert invoke("sample", tmp_path / name, *arguments).exit_code == 0
    with Image.open(tmp_path / "s.png") as picture, np.load(tmp_path / "s.npz") as file:
        pixels = np.asarray(picture)[::2, ::2]
        wanted = np.concatenate(list(file["images"]), axis=2)  # [C, H, 3 W]
    np.testing.assert_array_equal(pixels, np.round((wanted + 1) * 127.5).transpose(1, 2, 0))


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
    nothing = invoke(*options, "--resume")
    assert nothing.exit_code == 1 and not any(tmp_path.iterdir())
    words = f"error: resume: expected a run to continue in '{tmp_path}', got a folder without "
    assert nothing.stderr.startswith(words) and len(nothing.stderr.splitlines()) == 1
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
        (["train", "sde", "--lr", "nan"], "lr: expected a finite number > 0, got nan"),
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
