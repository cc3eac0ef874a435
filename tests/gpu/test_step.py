"""The row kernel on a device: the bits of the CPU, whatever it is asked to do."""

import pytest
import torch

from fastdiff import ops
from fastdiff.ops.operands import BOUND, CALL
from fastdiff.row import COLUMN
from tests.gpu.device_calls import (
    DEVICE,
    LAYOUTS,
    WRITTEN,
    assert_equal,
    assert_same,
    at,
    needs_cuda,
    random_call,
    run,
)

pytestmark = needs_cuda
SEEDS = 25  # calls in one test


def check(call, what):
    assert_same(run(at(call)), run(at(call, "cpu")), what)


@pytest.mark.parametrize("first", range(0, 12 * SEEDS, SEEDS))
def test_random_calls(first):
    for seed in range(first, first + SEEDS):
        check(random_call(seed), f"seed {seed}")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("outputs", [1, 2, 3, 4])
def test_layouts(layout, outputs):
    for seed, shape in enumerate([(4, 5, 7), (4, 8, 8), (3, 520), (16,)]):
        call = random_call(seed, layout=layout, outputs=outputs, shape=shape, zeros=0.0)
        check(call, f"{shape}")


DTYPES = {
    torch.float32: [torch.float32, torch.bfloat16, torch.float16],
    torch.float64: [torch.float32, torch.bfloat16, torch.float16, torch.float64],
}


@pytest.mark.parametrize(
    ("state", "out", "model"),
    [(s, o, m) for s, floats in DTYPES.items() for o in floats for m in floats],
)
def test_dtypes(state, out, model):
    for seed, shape in enumerate([(3, 8, 16), (3, 7, 5)]):
        check(random_call(seed, state=state, out=out, model=model, shape=shape), f"{shape}")


@pytest.mark.parametrize(
    ("batch", "shape"),
    [
        (0, ()), (0, (3, 5)), (3, (0,)), (2, (4, 0, 3)), (1, ()), (5, ()),  # nothing, and one
        (3, (511,)), (3, (512,)), (3, (513,)), (2, (1027,)), (2, (4, 129)),  # around a block
        (1, (2**19 + 3,)), (2, (3, 201, 199)), (1, (4, 512, 512)),
        (70_001, (3,)), (66_000, ()),  # beyond 65535 rows
    ],
)  # fmt: skip
@pytest.mark.parametrize("state", [torch.float32, torch.float64])
def test_sizes(batch, shape, state):
    for seed in range(3):
        check(random_call(seed, batch=batch, shape=shape, state=state), f"seed {seed}")


def test_a_bound_table_from_its_first_row_to_beyond_its_last():
    """The counters advance on the device, the tickets of one launch serve the next."""
    for seed in range(40):
        call = random_call(seed, rows=3, row=torch.zeros(3, dtype=torch.int64), batch=3)
        both = at(call), at(call, "cpu")
        steps = []
        for one in both:
            taken = {k: v for k, v in one.items() if k in BOUND}
            steps.append(ops.bind(**taken))
        for k in range(5):
            for one, step in zip(both, steps, strict=True):
                step(*(one[name] for name in CALL))
            assert_same(*both, f"seed {seed}, step {k}")
        assert (both[0]["row"] == 3).all()


@pytest.mark.parametrize("q", [0.001, 0.25, 0.5, 0.9, 0.995, 1.0])
@pytest.mark.parametrize("shape", [(1,), (2,), (700,), (3, 33, 31), (100_003,)])
def test_thresholds(q, shape):
    for seed, (state, ties) in enumerate([(torch.float32, True), (torch.float64, False)]):
        call = random_call(seed, state=state, shape=shape, threshold=True, clip=(-torch.inf, 9.0))
        call["rows"][:-1, [COLUMN[name] for name in ("dynamic", "p_x", "c_m")]] = torch.tensor(
            [q, 3.0, 1.0], dtype=state
        )
        if ties:
            call["x"].round_()
        check(call, f"seed {seed}")


@pytest.mark.parametrize("wrong", [-1, 4, 2**31, 2**62, -(2**63)])
@pytest.mark.parametrize("threshold", [False, True])
def test_a_counter_outside_the_table_touches_nothing(wrong, threshold):
    """A device cannot raise: the sample is left alone, its neighbours are not."""
    for shape in [(5,), (4, 700)]:
        call = random_call(0, batch=3, shape=shape, rows=3, threshold=threshold)
        good = run(at(call | {"row": torch.tensor([0, 1, 2])}))
        bad = run(at(call | {"row": torch.tensor([0, wrong, 2])}))
        for name in (n for n in WRITTEN if n != "row" and call[n] is not None):
            before, after, wanted = (samples(c[name], name, 3) for c in (call, bad, good))
            assert_equal(after[:, 1], before[:, 1], f"{shape} {name} of the wrong sample")
            assert_equal(after[:, [0, 2]], wanted[:, [0, 2]], f"{shape} {name} of the others")
        assert bad["row"].tolist() == [1, wrong, 3]


def samples(value, name, batch):
    """[copies, batch, ...] of a buffer."""
    return value if name == "history" else value.unflatten(0, (-1, batch))


UNBOUND = {
    "slot": {"slot": 7.0},
    "slot NaN": {"slot": torch.nan},
    "history": {"c_h3": 1.0},
    "saved": {"d_x": 1.0},
    "outputs": {"c_o": 1.0},
    "gain": {"c_z": 1.0, "g_1": 1.0},
    "known": {"k_known": 1.0},
    "threshold": {"c_m": 1.0, "p_x": 1.0, "dynamic": 0.5},
}


@pytest.mark.parametrize("asked", UNBOUND)
@pytest.mark.parametrize("shape", [(5,), (4, 700)])
def test_a_row_that_asks_for_what_is_not_there_makes_its_sample_nan(asked, shape):
    """And writes nothing else: canaries around the state, which lies in the middle of a buffer."""
    call = random_call(
        0, batch=2, shape=shape, rows=2, zeros=1.0, slots=0, saved=False, gain=False, known=False,
        threshold=False, row=torch.tensor([0, 1]), unmixed=True, outputs=1, state=torch.float32,
    )  # fmt: skip
    for field, value in {"c_x": 1.0, "in_scale": 1.0, **UNBOUND[asked]}.items():
        call["rows"][1, COLUMN[field]] = value
    call["rows"][0, COLUMN["c_x"]] = 2.0
    call["outputs"] = [] if asked == "outputs" else call["outputs"]
    moved = at(call)
    memory = torch.full((3 * moved["x"].numel(),), 7.0, device=DEVICE)
    low, middle, high = memory.chunk(3)
    moved["x"] = middle.view(moved["x"].shape).copy_(moved["x"])
    run(moved)
    assert (low == 7).all() and (high == 7).all()
    assert_equal(moved["x"][0], 2 * call["x"][0], "the other sample")
    assert moved["x"][1].isnan().all()
    assert_equal(moved["model_input"], call["model_input"], "model_input")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_the_device_of_the_tensors_need_not_be_the_current_one():
    call = random_call(1)
    with torch.cuda.device(0):
        assert_same(run(at(call, "cuda:1")), run(at(call, "cpu")))
        assert torch.cuda.current_device() == 0
