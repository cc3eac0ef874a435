"""What holds for every member of the family."""

from dataclasses import replace

import pytest
import torch

from fastdiff import models, noise
from tests.models.members import SETTINGS, SPACE, batch, label, make

every = pytest.mark.parametrize("case", SETTINGS, ids=label)


def test_every_member_is_tested():
    assert {family for family, _ in SETTINGS} == set(models.FAMILY)


@every
def test_the_loss_trains_every_parameter(case):
    model = make(*case)
    loss = model.loss(batch())
    assert loss.shape == (6,) and loss.isfinite().all()
    loss.mean().backward()
    for name, parameter in model.named_parameters():
        # 6 images do not show every label, and a frozen schedule learns nothing.
        if parameter.requires_grad and "label" not in name:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0, name


@every
def test_the_loss_is_a_function_of_the_batch(case):
    model = make(*case)
    torch.manual_seed(1)
    first = model.loss(batch())
    torch.manual_seed(2)
    assert torch.equal(model.loss(batch()), first)
    assert not torch.equal(model.loss(replace(batch(), keys=batch(seed=1).keys)), first)


@every
def test_samples_do_not_mix(case):
    if case[1].get("free_bits"):
        return  # they are a mean over the batch, by definition
    model, whole = make(*case).eval(), batch()
    part = models.Batch(whole.x[2:4], whole.y[2:4], whole.u[2:4], whole.keys[2:4], whole.step)
    torch.testing.assert_close(model.loss(part), model.loss(whole)[2:4], rtol=1e-4, atol=1e-5)


@every
def test_a_state_dict_is_the_whole_model(case):
    model = make(*case).eval()
    copy = models.find(case[0])(model.config, SPACE).eval()
    copy.load_state_dict(model.state_dict())
    assert torch.equal(copy.loss(batch()), model.loss(batch()))


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        ("vae", {"decoder": "poisson"}, "decoder: expected one of auto, .*, got 'poisson'"),
        ("vae", {"net": "gru"}, 'net: expected "mlp", "conv" or "linear", got \'gru\''),
        ("hvae", {"latents": (3, 0)}, r"latents: expected positive dimensions, got \(3, 0\)"),
        ("vdm", {"head": "v"}, 'head: expected "auto", "bayes" or "eps", got \'v\''),
        ("vdm", {"gamma_min": 6.0}, r"ends: expected gamma\(0\) < gamma\(1\), got 6 and 5"),
        ("ddpm", {"prediction": "score"}, 'prediction: expected "eps", "x0" or "v"'),
        ("ddpm", {"variance": "small"}, 'variance: expected "fixed" or "learned"'),
        ("ddpm", {"betas": "sqrt"}, 'betas: expected "linear" or "cosine"'),
        ("ddpm", {"net": "unet", "variance": "learned"}, "net: expected square images and one"),
        ("ddpm", {"weight": "min"}, 'weight: expected "eps", "x0"'),
        ("ddpm", {"label_dropout": 1.5}, r"label_dropout: expected a number in \[0, 1\], got 1.5"),
        ("ncsn", {"objective": "explicit"}, 'objective: expected "denoising" or "sliced"'),
        ("ncsn", {"levels": 1}, "levels: expected at least 2, got 1"),
        ("sde", {"process": "brown"}, "process: expected one of vp, subvp, ve"),
        ("sde", {"prediction": "edm"}, "prediction: expected one of eps, x0, v, score, flow"),
        ("sde", {"times": "edm"}, 'times: expected "uniform" or "log-snr"'),
        ("sde", {"net": "transformer"}, 'net: expected "mlp" or "unet"'),
        ("classifier", {"process": "brown"}, "process: expected one of vp"),
    ],
)
def test_bad_settings_name_the_argument(family, settings, message):
    with pytest.raises(ValueError, match=message):
        make(family, settings)


def test_unknown_member():
    with pytest.raises(ValueError, match="family: expected one of vae, hvae, .*, got 'gan'"):
        models.find("gan")
    with pytest.raises(ValueError, match=r"depth: expected an integer in \[2, 65,536\], got 1"):
        models.Space((1, 8, 8), 1, 10)


def test_levels_and_values_are_inverse():
    space = models.Space((3, 2, 2), 256, 1)
    levels = torch.arange(12).reshape(1, 3, 2, 2) * 20
    assert torch.equal(space.levels(space.values[levels]), levels)
    assert space.dims == 12 and space.values[0] == -1 and space.values[-1] == 1


def test_label_dropout():
    n, empty = 10_000, torch.zeros(10_000)
    big = models.Batch(empty, torch.arange(n) % 10, empty, noise.keys(0, n))
    dropped = big.drop_labels(10, 0.1)
    assert abs((dropped == 10).float().mean() - 0.1) < 0.015
    kept = dropped != 10
    assert torch.equal(dropped[kept], big.y[kept])
    assert torch.equal(big.drop_labels(10, 0.0), big.y)


def test_labels_are_all_known_in_evaluation():
    model = make("sde", {"label_dropout": 0.5})
    model.train()
    assert (model.labels(batch(64)) == 10).any()
    model.eval()
    assert torch.equal(model.labels(batch(64)), batch(64).y)
    assert make("sde", {}).labels(batch()) is None


COLOUR = models.Space((3, 64, 64), 256, 2)


@pytest.mark.parametrize("family", ["vae", "hvae", "vdm"])
def test_defaults_fit_the_data(family):
    """A number for each level of each pixel where they are few, else one for each pixel."""
    few = models.find(family)(models.find(family).Config(), SPACE)
    many = models.find(family)(models.find(family).Config(), COLOUR)
    kind = [m.bayes if family == "vdm" else m.likelihood.kind == "categorical" for m in (few, many)]
    assert kind == [True, False]
    assert sum(p.numel() for p in many.parameters()) < 2**24
    loss = many.loss(batch(2, space=COLOUR))
    loss.mean().backward()
    assert loss.isfinite().all()


@pytest.mark.parametrize(
    ("family", "settings", "hint"),
    [
        ("vae", {"decoder": "categorical"}, "decoder: .* got 805,306,368 .*--decoder logistic"),
        ("hvae", {"decoder": "categorical"}, "decoder: .* got 805,306,368 .*--decoder logistic"),
        ("vdm", {"head": "bayes"}, "head: expected .* got 805,306,368 .*--head eps"),
    ],
)
def test_layers_that_cannot_be_are_refused(family, settings, hint):
    member = models.find(family)
    with pytest.raises(ValueError, match=hint):
        member(member.Config(**settings), COLOUR)
