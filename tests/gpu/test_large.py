"""More than 2^31 elements: what lies at the far end is what a small call makes of it."""

import pytest
import torch

import fastdiff as fd
from fastdiff import ops
from fastdiff.row import COLUMN, WIDTH
from tests.gpu.device_calls import DEVICE, assert_equal, needs_cuda

pytestmark = needs_cuda
MANY = 2**31 + 4099  # elements
SEED, OFFSET, DRAW = 5, 17, 3
GIGABYTES = 60

BACKENDS = pytest.mark.parametrize("backend", ["auto", "triton"])


def rows():
    """x' = 0.9 x + 0.5 o - 0.25 h + z, and h' = o."""
    row = torch.zeros(2, WIDTH)
    row[:, COLUMN["slot"]] = -1
    values = {"c_x": 0.9, "c_o": 0.5, "c_h0": -0.25, "c_z": 1.0, "e_o": 1.0, "slot": 0,
              "draw": DRAW, "in_scale": 0.5, "t_next": 3.0, "live": 1}  # fmt: skip
    for name, value in values.items():
        row[0, COLUMN[name]] = value
    row[0, [COLUMN["clip_lo"], COLUMN["clip_hi"]]] = torch.tensor([-torch.inf, torch.inf])
    return row.to(DEVICE)


def step(x, out, history, offsets):
    """The row on [B, D], each sample with its own first block; what it wrote."""
    keys = torch.tensor([[SEED, offset] for offset in offsets], device=DEVICE)
    written = {"x": x, "history": history, "model_input": torch.zeros_like(out),
               "t": torch.zeros(len(x), device=DEVICE)}  # fmt: skip
    row = torch.zeros(len(x), dtype=torch.int64, device=DEVICE)
    ops.step_(written.pop("x"), row, rows(), [out], keys=keys, **written)
    assert row.tolist() == [1] * len(x)
    return {"x": x, **written}


def blocks(numel):
    return -(-numel // 4)


@BACKENDS
@pytest.mark.parametrize(("batch", "numel"), [(1, MANY + 1), (3, 2**30 + 5)])
def test_step(backend, batch, numel, room):
    """One sample, in 16-byte accesses, and three of odd size."""
    room(GIGABYTES)
    torch.manual_seed(0)
    x, history = (torch.randn(batch, numel, device=DEVICE) for _ in range(2))
    out = torch.randn(batch, numel, device=DEVICE, dtype=torch.bfloat16)
    starts = [0, numel // 8 * 4, numel // 4 * 4 - 1024]
    pieces = [slice(first, first + 1028) for first in starts]  # the last one ends with the sample
    before = [[v[:, p].clone() for p in pieces] for v in (x, history, out)]
    with fd.backend(backend):
        large = step(x, out, history[None], [OFFSET] * batch)
        for p, x_, h_, out_ in zip(pieces, *before, strict=True):
            first = OFFSET + DRAW * (blocks(numel) - blocks(x_.shape[1])) + p.start // 4
            small = step(x_, out_, h_[None], [first] * batch)
            for name in ("x", "history", "model_input"):
                assert_equal(large[name][..., p], small[name], f"{name} from {p.start}")


@BACKENDS
def test_normals(backend, room):
    room(GIGABYTES)
    with fd.backend(backend):
        large = ops.normal(fd.noise.key(SEED, OFFSET, device=DEVICE)[None], (MANY,))
        for start in (0, 2**31 - 8, MANY // 4 * 4 - 60):
            piece = large[:, start : start + 64]
            key = fd.noise.key(SEED, OFFSET + start // 4, device=DEVICE)[None]
            assert_equal(piece, ops.normal(key, piece.shape[1:]), f"from {start}")


@BACKENDS
def test_moments(backend, room):
    """Sums of whole numbers, which are exact: ones and minus twos, but for the last elements."""
    room(GIGABYTES)
    a = torch.ones(1, MANY, device=DEVICE, dtype=torch.bfloat16)
    b = torch.full_like(a, -2)
    a[:, -3:], b[:, -1] = 5, 7
    n = MANY - 3
    expected = [n + 15, -2 * (n + 2) + 7, n + 75, -2 * n - 20 + 35, 4 * (n + 2) + 49]
    with fd.backend(backend):
        assert ops.moments(a, b).tolist() == [[float(total) for total in expected]]
