"""The Triton backend on a device: the words of Philox, the normals of the native kernel within 4
units in the last place, and the reference."""

import pytest
import torch

import fastdiff as fd
from fastdiff import ops
from fastdiff.ops import reference
from fastdiff.row import COLUMN
from tests.gpu.device_calls import DEVICE, MISSING, Net, assert_equal, at, random_call, run
from tests.support.helpers import assert_within
from tests.support.toy import TABLES, start

triton = pytest.importorskip("triton", reason="needs Triton")
tl = triton.language

from fastdiff.kernels.triton.philox import words  # noqa: E402

# Third parties may be about to change what they offer; that is not what is tested here.
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=MISSING),
    pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning"),
]


@pytest.fixture(autouse=True)
def backend():
    with fd.backend("triton"):
        yield


@triton.jit
def words_kernel(out, keys, SIZE: tl.constexpr):
    event = tl.program_id(0)
    block = tl.arange(0, SIZE)
    seed, first = tl.load(keys + 2 * event), tl.load(keys + 2 * event + 1)
    w0, w1, w2, w3 = words(seed, first + block)
    at = out + (event * SIZE + block) * 4
    tl.store(at, w0.to(tl.int64))
    tl.store(at + 1, w1.to(tl.int64))
    tl.store(at + 2, w2.to(tl.int64))
    tl.store(at + 3, w3.to(tl.int64))


def random_keys(count=6):
    g = torch.Generator().manual_seed(2)
    keys = torch.randint(-(2**63), 2**63 - 1, (count, 2), generator=g)
    keys[0], keys[1, 1], keys[2, 0] = torch.tensor([0, 0]), -3, 1  # wraps around; a seed of one
    return keys


def test_words():
    keys = random_keys()
    out = torch.zeros(len(keys), 64, 4, dtype=torch.int64, device=DEVICE)
    words_kernel[(len(keys),)](out, keys.to(DEVICE), SIZE=64)
    assert_equal(out, reference.words(keys, 64))


def ulps(a, b):
    """The largest distance in units in the last place, of floats of one dtype."""
    kind = {4: torch.int32, 8: torch.int64}[a.element_size()]
    lowest = torch.iinfo(kind).min
    order = [torch.where(v < 0, lowest - v, v) for v in (a.view(kind), b.view(kind))]
    return int((order[0] - order[1]).abs().max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("numel", [1, 5, 513, 2**20 + 3])
def test_normals(dtype, numel):
    keys = random_keys().to(DEVICE)
    drawn = ops.normal(keys, (numel,), dtype=dtype)
    with fd.backend("cuda"):
        native = ops.normal(keys, (numel,), dtype=dtype)
    assert drawn.isfinite().all()
    assert ulps(drawn, native) <= 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (3, 1), (3, 4096), (2, 3, 57, 59), (2, 100_003)])
def test_moments(dtype, shape):
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn((2, *shape), generator=g, dtype=torch.float64).to(dtype)
    sums = ops.moments(a.to(DEVICE), b.to(DEVICE))
    with fd.backend("cpu"):
        assert_equal(sums, ops.moments(a, b))


@pytest.mark.parametrize("first", range(0, 30, 10))
def test_random_calls_against_the_reference(first):
    bounds = pytest.importorskip("tests.support.step_bounds", reason="the bounds need hypothesis")
    from tests.support.step_cases import Case

    for seed in range(first, first + 10):
        given = seed % 2 == 0
        call = random_call(seed, threshold=False, z=given, z_prev=given)
        with fd.backend("cpu"):
            case = bounds.with_native_noise(Case(call))
        expected = case.copy().run(reference.step_)
        actual = at(run(at(case.arguments), torch.ops.fastdiff_triton.step_), "cpu")
        bounds.assert_close(Case(actual), expected, case, what=f"seed {seed}")
        bounds.assert_input_is_scaled_state(Case(actual), case, f"seed {seed}")


@pytest.mark.parametrize("q", [0.25, 0.995, 1.0])
def test_thresholds(q):
    for seed, shape in enumerate([(7,), (3, 33, 31)]):
        call = random_call(seed, threshold=True, shape=shape, z=True, z_prev=True, gain=False)
        call["rows"][:-1, COLUMN["dynamic"]] = q
        expected, actual = run(at(call)), run(at(call), torch.ops.fastdiff_triton.step_)
        for name in ("threshold", "x"):
            scale = float(expected[name].abs().max())
            assert_within(actual[name], expected[name], 1e-5 * scale, f"seed {seed} {name}")


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("name", TABLES)
def test_samples_of_every_solver(name, graph):
    net, x = Net(), start().to(DEVICE)
    sample = fd.sample(net, x, TABLES[name], seeds=5, graph=graph)
    with fd.backend("cuda"):
        native = fd.sample(net, x, TABLES[name], seeds=5, graph=False)
    assert_within(sample, native, 1e-4 * float(native.abs().max()))
