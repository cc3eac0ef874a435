"""What a callback writes acts as it does in k-diffusion, in every sampler."""

import pytest
import torch

from fastdiff.integrations import k_diffusion as ours
from tests.integrations.kd_cases import (
    Seen,
    arguments,
    assert_alike,
    denoiser,
    every_sampler,
    sample,
    start,
)


class Writing(Seen):
    """A callback that writes to what it is given, on some steps."""

    def __init__(self, what, dtype=torch.float32):
        super().__init__(dtype)
        self.what = what

    def callback(self, info):
        super().callback(info)
        for key in self.what.split() if info["i"] in (0, 1, 3) else ():
            info[key].mul_(0.9).add_(torch.cos(3 * info[key]), alpha=0.2)


@every_sampler
@pytest.mark.parametrize("what", ["x", "denoised", "x denoised"])
def test_writing_in_place(kd, name, what):
    given = name not in ("euler", "heun", "dpm_2", "lms", "dpmpp_2m")
    mine, stock = (
        sample(m, name, start(10.0), *arguments(kd, name), seen=Writing(what), given=given)
        for m in (ours, kd)
    )
    assert_alike(mine, stock, 1e-3 if name == "dpm_adaptive" else 1e-4)


@pytest.mark.parametrize("name", ["dpm_fast", "dpm_adaptive"])
def test_writing_to_x_with_noise(kd, name):
    mine, stock = (
        sample(m, name, start(10.0), *arguments(kd, name), seen=Writing("x"), given=True, eta=0.7)
        for m in (ours, kd)
    )
    assert_alike(mine, stock, 1e-3)


@every_sampler
def test_another_tensor_in_its_place_is_not_followed(kd, name):
    def callback(info):
        info["x"], info["denoised"] = torch.zeros(1), None

    outs = []
    for told in (None, callback):
        torch.manual_seed(0)
        function = getattr(ours, f"sample_{name}")
        outs.append(function(denoiser, start(10.0), *arguments(kd, name), callback=told,
                             disable=True))  # fmt: skip
    assert torch.equal(*outs)


def written(kd, name, write, dtype=torch.float32):
    torch.manual_seed(0)
    return getattr(ours, f"sample_{name}")(
        lambda y, s: denoiser(y.float(), s.float()).to(y.dtype), start(10.0, dtype),
        *arguments(kd, name), callback=write, disable=True,
    )  # fmt: skip


@every_sampler
def test_writing_through_numpy_and_in_inference_mode(kd, name):
    def by_numpy(info):
        info["x"].numpy()[..., 0] = 0.5

    def by_torch(info):
        info["x"][..., 0] = 0.5

    expected = written(kd, name, by_torch)
    assert torch.equal(written(kd, name, by_numpy), expected)
    assert not torch.equal(written(kd, name, None), expected)
    with torch.inference_mode():
        assert torch.equal(written(kd, name, by_torch), expected)


@every_sampler
def test_what_is_not_written_to_keeps_its_digits(kd, name):
    """In half precision a callback sees less of the sample than there is."""
    seen = []
    plain = written(kd, name, None, torch.bfloat16)
    looked = written(kd, name, lambda info: seen.append(info["x"].mul_(1.0)), torch.bfloat16)
    assert torch.equal(plain, looked) and seen[0].dtype == torch.bfloat16

    def write(info):
        if info["i"] == 0:
            info["x"][1] = 0.0

    if name != "dpm_adaptive":  # whose steps are those of the whole batch
        assert torch.equal(written(kd, name, write, torch.bfloat16)[0], plain[0])


@every_sampler
def test_another_shape_is_refused(kd, name):
    def callback(info):
        info["x"].resize_(3)

    with pytest.raises(ValueError, match=r'callback: expected to leave "x" \[2, 3, 4, 5\]'):
        written(kd, name, callback)


@every_sampler
def test_the_callers_tensor_is_left_alone(kd, name):
    x = start(10.0)
    before = x.clone()
    getattr(ours, f"sample_{name}")(denoiser, x, *arguments(kd, name),
                                    callback=lambda info: info["x"].zero_(),
                                    disable=True)  # fmt: skip
    assert torch.equal(x, before)
