"""The training operations on a device: results and gradients have the bits of the CPU."""

import pytest
import torch

from fastdiff import ops
from tests.gpu.device_calls import DEVICE, assert_equal, needs_cuda
from tests.support.training_cases import CLASSES, DTYPES, LAYOUTS, OPS, call

pytestmark = needs_cuda
SHAPES = [
    (0, 3),
    (2, 0),
    (1, 1),
    (3, 7),
    (5, 128),
    (3, 513),
    (2, 2048),
    (2, 3, 57, 59),
    (70_001, 3),
]


def assert_same(case):
    moved = case.changed(lambda v: v.to(DEVICE))
    for k, (got, expected) in enumerate(zip(moved.run(), case.run(), strict=True)):
        assert got.is_cuda
        assert_equal(got, expected, f"{case.name}, result {k}")


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bits(name, dtype, shape):
    assert_same(call(name, shape, dtype))


@pytest.mark.parametrize("name", ["mix", "gaussian_sample"])
def test_given_noise(name):
    assert_same(call(name, (3, 513), keys=False))


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides(name, layout):
    case = call(name, (3, 4, 5, 70))
    expected = case.run()
    strided = case.changed(lambda v: LAYOUTS[layout](v.to(DEVICE)))
    for got, value in zip(strided.run(), expected, strict=True):
        assert_equal(got.contiguous(), value, name)


def test_unaligned():
    """No wide accesses where the data do not begin at a multiple of 16 bytes."""
    for name in OPS:
        case = call(name, (4, 64))

        def shifted(v):
            room = torch.empty(v.numel() + 1, dtype=v.dtype, device=DEVICE)
            return room[1:].view(v.shape).copy_(v)

        for got, expected in zip(case.changed(shifted).run(), case.run(), strict=True):
            assert_equal(got, expected, name)


def test_levels_outside_of_the_classes_make_their_sample_nan():
    level = torch.tensor([[0, CLASSES], [1, 2]], device=DEVICE)
    logits = torch.zeros(2, 2, CLASSES, device=DEVICE, requires_grad=True)
    log_prob = ops.categorical(level, logits)
    log_prob.sum().backward()
    assert log_prob[0].isnan() and logits.grad[0, 1].isnan().all()
    assert log_prob[1].isfinite() and logits.grad[1].isfinite().all()


@pytest.mark.parametrize("name", OPS)
def test_nothing_waits_for_the_device(name, no_sync):
    case = call(name, (4, 300)).changed(lambda v: v.to(DEVICE))
    cotangents = case.cotangents().to(DEVICE)
    case.cotangents = lambda: cotangents
    case.run()
    with no_sync():
        case.run()
