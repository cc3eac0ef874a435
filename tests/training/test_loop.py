"""Settings, batches, steps, averages, logs."""

import json
import math
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch

from fastdiff.models import FAMILY, UNet, load
from fastdiff.training import (
    TrainConfig,
    batch_seed,
    evaluate,
    export,
    make_batch,
    new_state,
    preset,
    train,
    train_step,
)
from fastdiff.training.config import digits
from fastdiff.training.ema import ema_decay, make_ema
from fastdiff.training.loop import learning_rate
from tests.support.runs import config, data

DATA = data()
every_family = pytest.mark.parametrize("family", FAMILY)

# Settings.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("batch", 0),
        ("lr", 0.0),
        ("ema", 1.0),
        ("lr", math.nan),
        ("clip", math.inf),
        ("weight_decay", math.nan),
        ("warmup", -1),
        ("pad", -2),
    ],
)
def test_bad_settings_name_the_argument(name, value):
    with pytest.raises(ValueError, match=f"{name}: expected .*, got {value}"):
        TrainConfig(**{name: value})


def test_settings_of_another_model_are_refused():
    with pytest.raises(TypeError, match="model: expected a VAEConfig, got SDEConfig"):
        TrainConfig(family="vae", model=FAMILY["sde"].Config())


@every_family
def test_settings_survive_json(family):
    settings = config(family)
    assert TrainConfig.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


@every_family
def test_presets_are_settings(family):
    assert preset(family, seed=3).seed == 3 and preset(family).family == family


def test_the_digit_preset_is_the_packaged_model():
    settings = digits()
    net = FAMILY["sde"](settings.model, replace(DATA.space, shape=(1, 32, 32))).net
    assert isinstance(net, UNet) and net.config == UNet().config
    assert settings.model.label_dropout == 0.1 and settings.model.process == "cosine"


def test_learning_rate_warms_up_and_decays():
    settings = config(steps=100, warmup=10, lr=1.0)
    rates = [learning_rate(step, settings) for step in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10:] == sorted(rates[10:], reverse=True) and 0 < rates[-1] < 1e-3


# Batches and steps.


def test_a_batch_is_a_function_of_its_seed():
    settings = config(shift=1, batch=32)
    seed = batch_seed(settings, 5)
    a, b = (make_batch(DATA, settings, seed, 5) for _ in range(2))
    for name in ("x", "y", "u", "keys"):
        assert torch.equal(getattr(a, name), getattr(b, name))
    seeds = {batch_seed(config(seed=s), step) for s in range(5) for step in range(20)}
    assert len(seeds) == 100
    assert torch.equal((a.u * 32).floor().sort().values, torch.arange(32.0))


@every_family
def test_training_lowers_the_loss(family):
    settings = config(family, steps=60, batch=32, lr=3e-3)
    before = new_state(settings, DATA)
    first = evaluate(before.model, DATA, settings)
    for _ in range(60):
        train_step(before, DATA, settings)
    assert evaluate(before.model, DATA, settings) < first - 1e-3


def test_ema_is_the_recursion_with_warm_up():
    model = torch.nn.Linear(1, 1, bias=False)
    ema = make_ema(model, 0.99)
    expected = None
    for step in range(30):
        with torch.no_grad():
            model.weight.fill_(float(step**2 % 7))
        decay = min(0.99, (1 + step) / (10 + step))
        current = model.weight.item()
        expected = current if expected is None else decay * expected + (1 - decay) * current
        ema.update_parameters(model)
        assert ema.module.weight.item() == pytest.approx(expected, rel=1e-5)
    assert ema_decay(10**6, 0.99) == 0.99


def test_training_leaves_the_global_generators_alone(tmp_path):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(config(steps=2), DATA, DATA, tmp_path, progress=False)
    assert torch.equal(torch.rand(3), expected)


# Logs and export.


def test_tensorboard_is_written_where_it_is_installed(tmp_path, monkeypatch):
    written = []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            written.append((folder, purge_step))

        def add_scalar(self, name, value, step):
            written.append((name, step))

        def flush(self):
            pass

        def close(self):
            written.append("closed")

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    train(config(steps=2), DATA, DATA, tmp_path, every=2, progress=False)
    assert written[0] == (str(tmp_path / "tensorboard"), 1) and written[-1] == "closed"
    assert ("test_loss", 2) in written and ("train_loss", 2) in written


def test_export_and_load(tmp_path):
    images = data(size=16)
    settings = config("sde", steps=3, model={"net": "unet", "hidden": 8, "blocks": 1,
                                            "label_dropout": 0.1, "process": "cosine"})  # fmt: skip
    state = new_state(settings, images)
    for _ in range(2):
        train_step(state, images, settings)
    path = tmp_path / "m.safetensors"
    meta = export(path, state, settings, images, images, "the command")
    model, stored = load(path)
    assert stored == json.loads(json.dumps(meta)) and stored["command"] == "the command"
    assert stored["steps"] == 2 and TrainConfig.from_dict(stored["training"]) == settings
    assert not model.training and model.config == state.model.net.config
    for name, value in state.ema.module.net.state_dict().items():
        assert torch.equal(model.state_dict()[name], value.bfloat16().float())
    trained = evaluate(state.ema.module, images, settings)
    assert math.isclose(stored["train_loss"], trained, rel_tol=0.01)
    with pytest.raises(ValueError, match="state: expected a model with a UNet, got ResidualMLP"):
        export(path, new_state(config(), DATA), config(), DATA, DATA, "")


def test_test_loss_does_not_depend_on_the_batch_size_of_its_evaluation():
    settings = config()
    state, big = new_state(settings, data(300)), data(300)
    assert np.isfinite(evaluate(state.model, big, settings))
    assert evaluate(state.model, big, settings) == evaluate(state.model, big, settings)
