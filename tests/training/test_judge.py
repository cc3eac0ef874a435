"""The judge of samples, and drawing them."""

import pytest
import torch

import fastdiff as fd
from fastdiff.models import find
from fastdiff.training import draw as draw_module
from fastdiff.training import exam, rows
from fastdiff.training.draw import draw
from fastdiff.training.judge import frechet_distance, judge
from tests.support.runs import config, data


def test_frechet_distance_of_gaussians():
    """|m1 - m2|^2 + sum (s1 - s2)^2 where covariances are diagonal."""
    eye = torch.eye(3, dtype=torch.float64) * (5 / 2) ** 0.5  # sample covariance exactly I
    points = torch.cat([eye, -eye])
    scale, shift = torch.tensor([2.0, 0.5, 1.0]).double(), torch.tensor([1.0, 0.0, -2.0]).double()
    expected = 5 + (scale - 1).square().sum().item()
    assert frechet_distance(points, points * scale + shift) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(points, points) == pytest.approx(0, abs=1e-10)
    with pytest.raises(ValueError, match="f1, f2: expected"):
        frechet_distance(points, points[:, :2])


def test_a_judge_learns_and_is_reproducible(tmp_path):
    images = data(200)
    levels = images.levels.clone()
    levels[images.labels < 5] //= 4  # dark and bright classes
    images = type(images)(levels, (images.labels >= 5).long(), 17, 2)
    first = judge(images, images, epochs=4, features=8, cache=tmp_path / "judge")
    again = judge(images, images, epochs=4, features=8)
    cached = judge(images, images, features=8, cache=tmp_path / "judge")
    assert first.test_accuracy > 0.95
    assert torch.equal(first.features(images.images), again.features(images.images))
    assert torch.equal(first.classify(images.images), cached.classify(images.images))
    with pytest.raises(ValueError, match="images: expected"):
        first.classify(torch.zeros(2, 1, 9, 9))


@pytest.mark.parametrize("family", ["vae", "hvae", "vdm", "ddpm", "ncsn", "sde"])
def test_samples_have_their_own_seeds(family):
    settings = config(family)
    model = find(family)(settings.model, data().space).eval()
    together = draw(model, 4, seed=3)
    assert together.shape == (4, 1, 8, 8) and together.abs().max() <= 1
    torch.testing.assert_close(draw(model, 2, seed=4), together[1:3], rtol=1e-4, atol=1e-4)
    assert not torch.equal(draw(model, 4, seed=50), together)


def test_samples_are_made_some_at_a_time(monkeypatch):
    settings = config("vdm")
    model = find("vdm")(settings.model, data().space).eval()
    together = draw(model, 5, seed=3)
    monkeypatch.setattr(draw_module, "LOGITS", 2 * 64 * 17)
    sizes, usual = [], model.predict
    model.predict = lambda z, gamma: sizes.append(len(z)) or usual(z, gamma)
    torch.testing.assert_close(draw(model, 5, seed=3), together, rtol=1e-4, atol=1e-4)
    assert set(sizes) == {1, 2}


def test_guided_samples():
    settings = config("sde", model={"label_dropout": 0.1})
    torch.manual_seed(0)
    model = find("sde")(settings.model, data().space).eval()
    torch.nn.init.normal_(model.net.out.weight)
    y = torch.tensor([1, 2])
    plain, cond, strong = (
        draw(model, 2, y=label, scale=s) for label, s in ((None, 1.0), (y, 1.0), (y, 3.0))
    )
    zero = draw(model, 2, y=y, scale=0.0)
    torch.testing.assert_close(zero, plain, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(cond, plain) and not torch.allclose(strong, cond)


def test_a_classifier_draws_nothing():
    model = find("classifier")(config("classifier").model, data().space)
    with pytest.raises(TypeError, match="model: expected a generative member, got Classifier"):
        draw(model, 1)


@pytest.mark.parametrize("fraction", [-1.0, 1.0])
def test_a_learned_variance_is_sampled_with(fraction):
    """Its ends are the two fixed ones."""
    model = find("ddpm")(config("ddpm", model={"variance": "learned"}).model, data().space).eval()
    with torch.no_grad():
        model.net.out.weight.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
        model.net.out.weight[64:] = 0
        model.net.out.bias[64:] = fraction
    name = "fixed_small" if fraction < 0 else "fixed_large"
    table = fd.solvers.DDPM(name).lower(model.schedule, 100, prediction="eps", clip=1.0)
    keys = fd.noise.keys(3, 4)
    x = float(model.schedule.sigma(table.t[0])) * fd.noise.draw(keys, (1, 8, 8))
    with torch.no_grad():
        expected = fd.sample(lambda x, t: model(x, t)[:, :1], x, table, seeds=keys).clamp(-1, 1)
    torch.testing.assert_close(draw(model, 4, seed=3), expected, rtol=1e-3, atol=1e-3)


# Rows.


def test_the_tighter_bound_is_of_other_samples():
    """Of the same ones it could not be the looser."""
    model, seen = find("vae")(config("vae").model, data().space).eval(), []
    usual = model.log_weights
    model.log_weights = lambda x, eps: seen.append(eps) or usual(x, eps)
    with torch.no_grad():
        rows._vae(model, exam.Exam(data(), data(20)))
    assert len(seen) == 2 and (seen[0] != seen[1]).all()


def test_numbers_of_a_conditional_model_say_so(monkeypatch):
    monkeypatch.setattr(rows, "SAMPLES", 40)
    monkeypatch.setattr(exam, "judge", lambda *args, **options: judge(
        *args, **options | {"epochs": 1}))  # fmt: skip
    settings = config("sde", model={"label_dropout": 0.2})
    torch.manual_seed(0)
    model, labels = find("sde")(settings.model, data().space).eval(), []
    usual = model.forward
    model.forward = lambda x, t, y=None: labels.append(y) or usual(x, t, y)
    found = rows.row(model, settings, exam.Exam(data(60), data(30)))
    assert "bpd" not in found and "bpd given y" in found
    assert {"DDIM(5) FD", "2M(5) FD", "class std at 8", "FD at 1.5"} <= found.keys()
    assert all(y is not None for y in labels)  # and neither is the FD of the null class
