"""Random calls of step_ made of nothing but torch, and the same call on another device."""

import random

import pytest
import torch

from fastdiff.ops.operands import NAMES as ARGUMENTS
from fastdiff.ops.operands import WRITTEN
from fastdiff.ops.select import HAS_CUDA
from fastdiff.row import COLUMN, FIELDS, HISTORY, WIDTH
from tests.support import toy
from tests.support.helpers import same_bits

DEVICE = "cuda"
MISSING = (
    "needs a CUDA device (torch.cuda.is_available() is false)"
    if not torch.cuda.is_available()
    else "" if HAS_CUDA else "needs CUDA kernels (the native module was built without nvcc)"
)  # fmt: skip
needs_cuda = pytest.mark.skipif(bool(MISSING), reason=MISSING)

COEFFICIENTS = [
    COLUMN[name] for name in FIELDS if name[:2] in ("p_", "c_", "d_", "e_") or name == "in_scale"
]
SHAPES = [(), (1,), (7,), (3, 5), (2, 3, 5), (4, 7, 9), (129,), (512,), (3, 40, 44), (2053,)]
LAYOUTS = {
    "contiguous": lambda v: v,
    "channels_last": lambda v: v if v.dim() < 3 else v.movedim(1, -1).contiguous().movedim(-1, 1),
    "transposed": lambda v: v.transpose(0, -1).contiguous().transpose(0, -1),
    "sliced": lambda v: torch.cat((v, v - 1), -1)[..., : v.shape[-1]],
    "every_other": lambda v: torch.stack((v, v - 1), -1)[..., 0],
    "expanded": lambda v: v[:1].expand(v.shape),
    "offset": lambda v: torch.cat((v.new_zeros(1), v.flatten()))[1:].view(v.shape),
}


def random_rows(count, g, zeros=0.3, slots=HISTORY, saved=True, clip=None):
    """[count + 1, WIDTH] float64: rows of normal coefficients, a part ``zeros`` of them 0; END."""
    rows = torch.zeros(count + 1, WIDTH, dtype=torch.float64)
    body = rows[:-1]
    values = torch.randn(count, len(COEFFICIENTS), generator=g, dtype=torch.float64)
    body[:, COEFFICIENTS] = values * (torch.rand(values.shape, generator=g) >= zeros)
    absent = [f"{k}_h{slot}" for k in "cd" for slot in range(slots, HISTORY)]
    absent += [] if saved else ["c_s", *(name for name in FIELDS if name[:2] == "d_")]
    body[:, [COLUMN[name] for name in absent]] = 0
    body[:, COLUMN["clip_lo"]], body[:, COLUMN["clip_hi"]] = clip or (-torch.inf, torch.inf)
    body[:, COLUMN["t_next"]] = 1000 * torch.rand(count, generator=g)
    body[:, COLUMN["slot"]] = torch.randint(-1, slots, (count,), generator=g).double()
    body[:, COLUMN["draw"]] = torch.randint(1, 6, (count,), generator=g).double()
    body[:, COLUMN["live"]] = 1
    rows[-1, COLUMN["slot"]] = -1
    return rows


def random_call(seed, **fixed):
    """The arguments of a valid call, by name; ``fixed`` choices are not left to chance."""
    pick, g = random.Random(seed), torch.Generator().manual_seed(seed)

    def choose(name, options):
        chosen = pick.choice(options)
        return fixed.get(name, chosen)

    def maybe(name, chance, value):
        return value() if choose(name, [True] * chance + [False] * (4 - chance)) else None

    state = choose("state", [torch.float32, torch.float64])
    floats = [torch.float32, torch.bfloat16, torch.float16] + [torch.float64] * (
        state == torch.float64
    )
    out, model = choose("out", floats), choose("model", floats)
    batch, shape = choose("batch", [1, 2, 3, 5]), choose("shape", SHAPES)
    count, slots = choose("outputs", [1, 2, 3, 4]), choose("slots", range(HISTORY + 1))
    layout = LAYOUTS[choose("layout", list(LAYOUTS))]

    def randn(*size, dtype=state):
        return torch.randn(size, generator=g, dtype=torch.float64).to(dtype)

    def like_x():
        return randn(batch, *shape)

    saved = maybe("saved", 2, like_x)
    clip = choose("clip", [None, None, (-1.0, 1.0), (-0.3, 2.0)])
    rows = random_rows(
        choose("rows", [1, 2, 3, 4]), g, choose("zeros", [0.0, 0.3, 0.7, 0.95]), slots,
        saved is not None, clip,
    )  # fmt: skip
    body = rows[:-1]
    gain = maybe("gain", 1, lambda: layout(randn(batch, *shape, dtype=out)))
    if gain is not None:
        body[:, [COLUMN["g_0"], COLUMN["g_1"]]] = randn(len(body), 2).double()
    known = maybe("known", 1, like_x)
    if known is not None:
        body[:, [COLUMN["k_known"], COLUMN["k_z"]]] = randn(len(body), 2).double()
    threshold = maybe("threshold", 1, lambda: randn(batch))
    if threshold is not None:
        q = torch.rand(len(body), generator=g).double()
        body[:, COLUMN["dynamic"]] = torch.where(q < 0.3, 0, q)
    size = [choose("rows_differ", [1, len(rows)]), choose("samples_differ", [1, batch]), count]
    weights = None if count == 1 and choose("unmixed", [True, False]) else randn(*size)
    second = None
    if weights is not None:
        weights[torch.rand(size, generator=g) < 0.2] = 0
        weights = weights.expand(len(rows), batch, count)
        if choose("second", [True, False]):
            second = randn(*size).expand(len(rows), batch, count)
    stacked = choose("stacked", [True, False])
    parts = [(count * batch, *shape)] if stacked else [(batch, *shape)] * count
    time = torch.float64 if model == torch.float64 else torch.float32
    return dict.fromkeys(ARGUMENTS) | {
        "x": like_x(),
        "row": fixed.get("row", torch.randint(0, len(rows), (batch,), generator=g)),
        "rows": rows.to(state),
        "outputs": [layout(randn(*part, dtype=out)) for part in parts],
        "weights": weights,
        "keys": torch.randint(-(2**63), 2**63 - 1, (batch, 2), generator=g),
        "saved": saved,
        "history": randn(slots, batch, *shape) if slots else None,
        "z": maybe("z", 1, like_x),
        "z_prev": maybe("z_prev", 1, like_x),
        "model_input": randn(count * batch, *shape, dtype=model),
        "t": -torch.arange(count * batch, dtype=time) - 1,
        "second_weights": second,
        "gain": gain,
        "known": known,
        "mask": None if known is None else torch.rand(known.shape, generator=g).to(state),
        "threshold": threshold,
        "x0_out": maybe("x0_out", 1, like_x),
        "x_in": maybe("x_in", 1, lambda: layout(randn(batch, *shape, dtype=out))),
        "x_out": maybe(
            "x_out", 1, lambda: randn(batch, *shape, dtype=choose("next", [state, out]))
        ),
    }


def at(value, device=DEVICE):
    """A copy on a device: of a tensor with its strides and offset, of a list, of a whole call."""
    if isinstance(value, dict):
        return {name: at(part, device) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [at(part, device) for part in value]
    if not isinstance(value, torch.Tensor):
        return value
    memory = value.new_empty(0).set_(value.untyped_storage())
    copy = torch.empty_like(memory, device=device).copy_(memory)
    return copy.as_strided(value.shape, value.stride(), value.storage_offset())


def run(call, op=None):
    """Execute the call in its buffers; returns it."""
    (op or torch.ops.fastdiff.step_)(**call)
    return call


def assert_same(actual, expected, what=""):
    """The same bits in everything that a call writes, wherever it is; NaN equals NaN, whose bits
    are each processor's own."""
    for name in WRITTEN:
        assert_equal(actual[name], expected[name], f"{what} {name}")


def assert_equal(a, b, what=""):
    if a is None or b is None:
        assert a is b, what
        return
    a, b = a.cpu(), b.cpu()
    assert (a.dtype, a.shape) == (b.dtype, b.shape), what
    both = a.isnan() & b.isnan()
    a, b = a.masked_fill(both, 0), b.masked_fill(both, 0)
    if not same_bits(a, b):
        wrong = (a != b).flatten()
        first = int(wrong.int().argmax())
        raise AssertionError(
            f"{what}: {int(wrong.sum())} of {wrong.numel()} differ, the first is {first}: "
            f"got {a.flatten()[first]:.9g}, expected {b.flatten()[first]:.9g}"
        )


class Net(torch.nn.Module):
    """``toy.model`` in float32 or wider: the same bits on every device, whatever the dtype."""

    def forward(self, x, t, shift=None):
        wide = x if x.dtype == torch.float64 else x.float()
        return toy.model(wide, t, shift).to(x.dtype)
