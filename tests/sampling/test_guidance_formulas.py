"""Guidances that adapt, without a loop: their formulas, and as the line of a loop of one's own."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fastdiff as fd
from fastdiff.guidance import APG, CFG, TCFG, CFGZeroStar
from tests.sampling.guidance_formulas import (
    FORMULAS,
    assert_close,
    every_formula,
    mixed_by,
    outputs,
)
from tests.support.helpers import same_bits


@every_formula
@given(scale=st.floats(-3, 12), seed=st.integers(0, 50))
def test_the_formula(name, scale, seed):
    guidance, formula = FORMULAS[name]
    u, c = outputs(seed)
    torch.testing.assert_close(
        mixed_by(guidance(scale), u, c), formula(u, c, scale), rtol=1e-9, atol=1e-9
    )


@every_formula
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-9), (torch.float32, 1e-5), (torch.bfloat16, 1e-2), (torch.float16, 2e-3)],
)
@pytest.mark.parametrize("scale", [4.0, [2.0, 1.0, -0.5]])
def test_a_mix_in_a_loop_of_ones_own(name, dtype, tolerance, scale):
    guidance, formula = FORMULAS[name]
    u, c = (v.to(dtype) for v in outputs(4))
    s = torch.tensor(scale, dtype=torch.float64).expand(3).reshape(3, 1, 1)
    expected = formula(u.double(), c.double(), s)
    mixed = fd.guidance.mix(u, c, guidance(scale))
    assert mixed.dtype == dtype
    assert_close(mixed.double(), expected, tolerance)
    out = torch.empty_like(u)
    assert fd.guidance.mix(u, c, guidance(scale), out=out) is out and same_bits(out, mixed)
    assert same_bits(fd.guidance.mix(u, c, guidance(scale), out=c), mixed)  # c is overwritten


def test_a_mix_with_plain_guidance():
    u, c = outputs(5, dtype=torch.float32)
    assert same_bits(fd.guidance.mix(u, c, CFG(3.0)), fd.guidance.mix(u, c, 3.0))
    scales = torch.tensor([3.0, 1.0, 2.0])
    for given_ in (scales, scales.tolist()):
        assert same_bits(fd.guidance.mix(u, c, CFG(given_)), fd.guidance.mix(u, c, scales))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda u, c: fd.guidance.mix(u, c, APG(2.0), rescale=0.5), ValueError,
         "rescale: expected 0 beside a guidance, got 0.5"),
        (lambda u, c: fd.guidance.mix(u, c, APG(2.0, interval=(0, 1))), ValueError,
         "scale: expected a guidance without an interval, zero steps or"),
        (lambda u, c: fd.guidance.mix(u, c, CFGZeroStar(2.0)), ValueError,
         "scale: expected a guidance without an interval, zero steps or"),
        (lambda u, c: fd.guidance.mix(u, c, TCFG([2.0, 3.0])), ValueError,
         r"scale: expected a number or a tensor \[\] or \[3\]"),
        (lambda u, c: fd.guidance.mix(u, c.requires_grad_(), TCFG(2.0)), RuntimeError,
         "cond: expected a tensor without gradient"),
        (lambda u, c: fd.guidance.mix(u, c, fd.guidance.MultiCondition((2.0,))), TypeError,
         "scale: expected a finite number"),
    ],
)  # fmt: skip
def test_mixes_that_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(*outputs(6))


@every_formula
def test_degenerate_outputs(name):
    """Zeros, and two outputs that are one: finite, except for a deviation of nothing."""
    guidance, _ = FORMULAS[name]
    _, c = outputs(2)
    zero = torch.zeros_like(c)
    torch.testing.assert_close(mixed_by(guidance(3.0), c, c), c)
    assert mixed_by(guidance(3.0), zero, c).isfinite().all()
    if "rescale" not in name:
        assert mixed_by(guidance(3.0), c, zero).isfinite().all()
        assert (mixed_by(guidance(3.0), zero, zero) == 0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CFG(2.0, rescale=1.5), r"rescale: expected a finite number in \[0, 1\], got 1.5"),
        (lambda: CFG(2.0, (0, 1)), r"rescale: expected a finite number in \[0, 1\], got \(0, 1\)"),
        (lambda: APG(2.0, eta=np.nan), "eta: expected a finite number, got nan"),
        (lambda: APG(2.0, momentum=np.inf), "momentum: expected a finite number, got inf"),
        (
            lambda: APG(2.0, 0.5, from_uncond=True, momentum=0.1),
            "rescale: expected 0 beside from",
        ),
        (lambda: APG(2.0, norm=0.0), "norm: expected a number > 0, got 0.0"),
        (lambda: CFGZeroStar(2.0, zero_steps=-1), "zero_steps: expected an integer >= 0"),
        (lambda: CFGZeroStar(2.0, zero_steps=0.5), "zero_steps: expected an integer >= 0"),
        (lambda: TCFG([[2.0]]), "scale: expected a finite number or one per sample"),
    ],
)
def test_errors(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()
