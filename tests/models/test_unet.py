"""The UNet and its model files."""

import sys
from importlib import resources

import pytest
import torch
from safetensors.torch import save_file

from fastdiff.models import UNet, UNetConfig, digits, load, save

TINY = UNetConfig(
    patch=4, widths=(16, 16), attention=(False, True), heads=2, emb_dim=16, dropout=0.1
)


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


# Model files.


def test_load_refuses_what_is_no_model(tmp_path):
    with pytest.raises(FileNotFoundError, match="path: expected a model file"):
        load(tmp_path / "absent.safetensors")
    (tmp_path / "text").write_text("text")
    with pytest.raises(ValueError, match="path: expected a model file, got a damaged or .*text"):
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
