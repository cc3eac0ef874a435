"""A little of everything that runs on a device, small enough for compute-sanitizer."""

import torch

from fastdiff import noise, ops
from fastdiff.ops.operands import BOUND, CALL
from tests.gpu.device_calls import (
    DEVICE,
    assert_equal,
    assert_same,
    at,
    needs_cuda,
    random_call,
    run,
)
from tests.support.training_cases import OPS
from tests.support.training_cases import call as training_call

pytestmark = needs_cuda


def test_steps():
    for seed in range(12):
        shape = (1029,) if seed % 3 == 0 else (4, 7, 9)
        call = random_call(seed, shape=shape, threshold=seed % 2 == 0)
        assert_same(run(at(call)), run(at(call, "cpu")), f"seed {seed}")


def test_a_bound_step():
    """Several blocks for a sample, so that the last of them advances it."""
    call = random_call(1, rows=2, row=torch.zeros(2, dtype=torch.int64), batch=2, shape=(2053,))
    both = at(call), at(call, "cpu")
    for one in both:
        step = ops.bind(**{k: v for k, v in one.items() if k in BOUND})
        for _ in range(3):
            step(*(one[name] for name in CALL))
    assert_same(*both)


def test_draws():
    keys = noise.keys(3, 3)
    for dtype in (torch.float32, torch.float64):
        drawn = ops.normal(keys, (1027,), dtype=dtype)
        assert_equal(ops.normal(keys.to(DEVICE), (1027,), dtype=dtype), drawn)
        sums = ops.moments(drawn, 2 * drawn)
        assert_equal(ops.moments(drawn.to(DEVICE), 2 * drawn.to(DEVICE)), sums)


def test_thresholds_and_small_samples():
    """Several samples in a block; a quantile of each."""
    for seed in range(4):
        call = random_call(seed, batch=5, shape=(3, 3), threshold=True, clip=(-9.0, 9.0))
        assert_same(run(at(call)), run(at(call, "cpu")), f"seed {seed}")


def test_training():
    """Results and gradients; the second shape has two chunks in a sample, which are added up."""
    for name in OPS:
        for shape in ((3, 67), (2, 2100)):
            case = training_call(name, shape)
            moved = case.changed(lambda v: v.to(DEVICE))
            for got, expected in zip(moved.run(), case.run(), strict=True):
                assert_equal(got, expected, f"{name} {shape}")
