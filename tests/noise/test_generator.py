"""torch's generators, drawn natively: the bits of torch.randn, and the generator moved as far."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdiff import ops
from fastdiff.ops import generator as native
from tests.support.helpers import CLONES, cpu_clone, native_only, same_bits, thread_count

WORDS = 624
FLOATS = [torch.float32, torch.bfloat16, torch.float16]


def supported(dtype):
    if not native.is_same(dtype):
        pytest.skip(f"torch {torch.__version__} makes other numbers of {dtype} on this machine")


def generators(seed=5):
    return [torch.Generator().manual_seed(seed) for _ in range(2)]


@native_only
def test_this_torch_is_supported():
    """x86 builds of torch >= 2.10 on processors with AVX2, which the tests run on."""
    assert native.is_same(torch.float32) == (torch.backends.cpu.get_cpu_capability() != "DEFAULT")


@native_only
@pytest.mark.parametrize("clone", CLONES)
@given(
    seed=st.integers(0, 2**63 - 1),
    before=st.integers(0, 2000),
    sizes=st.lists(st.one_of(st.integers(16, 700), st.integers(16, 5000)), min_size=1, max_size=4),
)
def test_the_numbers_and_the_place_after_them(clone, seed, before, sizes):
    supported(torch.float32)
    ours, stock = generators(seed)
    for generator in (ours, stock):
        torch.randint(10, (before,), generator=generator)
    for size in sizes:
        out = torch.empty(size)
        with cpu_clone(clone):
            native._draw(out, ours)
        assert same_bits(out, torch.randn(size, generator=stock))
        assert torch.equal(ours.get_state(), stock.get_state())
    assert torch.equal(torch.rand(3, generator=ours), torch.rand(3, generator=stock))


@pytest.mark.parametrize("dtype", [*FLOATS, torch.float64])
@pytest.mark.parametrize("shape", [(3,), (1, 16, 7), (2, 3, 16, 16), (5, 401), (300000,)])
def test_randn(dtype, shape):
    ours, stock = generators()
    for _ in range(2):
        out = torch.empty(shape)
        assert ops.randn_(out, ours, dtype) is out
        assert same_bits(out, torch.randn(shape, generator=stock, dtype=dtype).float())
    assert torch.equal(ours.get_state(), stock.get_state())


@pytest.mark.parametrize("out", [torch.empty(40, 50).T, torch.empty(2000, dtype=torch.float64)])
def test_what_torch_draws_otherwise_is_left_to_it(out):
    ours, stock = generators()
    ops.randn_(out, ours)
    assert same_bits(out, torch.empty_like(out).normal_(generator=stock))


def test_the_default_generator():
    torch.manual_seed(3)
    out = ops.randn_(torch.empty(4096))
    torch.manual_seed(3)
    assert same_bits(out, torch.randn(4096))


@native_only
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("way", ["native", "integers"])
@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**63 - 1),
    before=st.integers(0, 2000),
    sizes=st.lists(st.integers(16, 5000), min_size=1, max_size=2),
)
def test_skipping_leaves_the_generator_where_drawing_does(dtype, way, seed, before, sizes):
    if not native.skips_alike(dtype):
        pytest.skip(f"torch {torch.__version__} draws other words for {dtype} on this machine")
    ours, stock = generators(seed)
    for generator in (ours, stock):
        torch.randint(10, (before,), generator=generator)
    for size in sizes:
        words = native._words(size, dtype)
        if way == "native":
            native._skip(words, ours)
        elif words % 2 == 0:
            native._skip_by_integers(words, ours)
        else:
            continue
        torch.randn(size, generator=stock, dtype=dtype)
        assert torch.equal(ours.get_state(), stock.get_state())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [*FLOATS, torch.float64])
@pytest.mark.parametrize("shape", [(3,), (1, 16, 7), (2, 3, 16, 16), (5, 401), (0, 4), (13, 77)])
def test_skip_like(monkeypatch, threads, dtype, shape):
    """The default generator and others, alone and beside another thread of Python."""
    monkeypatch.setattr(native.sys, "_current_frames", lambda: dict.fromkeys(range(threads)))
    plain = torch.empty(shape, dtype=dtype)
    for x in (plain, plain.movedim(0, -1).contiguous().movedim(-1, 0)):  # and of other strides
        states = []
        for draw in (ops.skip_like, torch.randn_like):
            torch.manual_seed(3)
            draw(x), draw(x)
            states.append(torch.get_rng_state())
        assert torch.equal(*states)
        ours, stock = generators()
        ops.skip_like(x, ours)
        torch.empty_like(x).normal_(generator=stock)
        assert torch.equal(ours.get_state(), stock.get_state())


@native_only
def test_threads_do_not_matter():
    results = []
    for threads in (1, 2, 3):
        with thread_count(threads):
            results.append(ops.randn_(torch.empty(200_003), generators()[0]))
    assert all(same_bits(result, results[0]) for result in results)


@native_only
@pytest.mark.parametrize(
    "state,out,message",
    [
        (
            torch.zeros(7, dtype=torch.uint8),
            torch.empty(16),
            "^state: expected uint8 .5056. on cpu, got",
        ),
        (torch.zeros(5056), torch.empty(16), "^state: expected uint8"),
        (torch.zeros(5056, dtype=torch.uint8), torch.empty(16), "^state: expected the place .* 0"),
        (torch.Generator().get_state(), torch.empty(15), "^out: expected .* 16 numbers or more"),
        (torch.Generator().get_state(), torch.empty(16).double(), "^out: expected .*, got float64"),
        (torch.Generator().get_state(), torch.empty(16, 2)[:, 0], "^out: expected contiguous"),
    ],
)
def test_bad_arguments(state, out, message):
    with pytest.raises(ValueError, match=message):
        ops.native.draw_from_state(state, out)


@native_only
@pytest.mark.parametrize(
    "state,words,message",
    [
        (torch.zeros(5056), 16, "^state: expected uint8"),
        (torch.zeros(5056, dtype=torch.uint8), 16, "^state: expected the place"),
        (torch.Generator().get_state(), -1, "^words: expected 0 or more, got -1"),
    ],
)
def test_bad_arguments_of_skipping(state, words, message):
    before = state.clone()
    with pytest.raises(ValueError, match=message):
        ops.native.skip_in_state(state, words)
    assert torch.equal(state, before)


def untempered(y):
    """The words of a state that are drawn as ``y``, int64."""
    y = y ^ (y >> 18)
    y = y ^ ((y << 15) & 0xEFC60000)
    low = y.clone()
    for _ in range(4):  # seven bits more are right each time
        low = y ^ ((low << 7) & 0x9D2C5680)
    high = low.clone()
    for _ in range(2):
        high = low ^ (high >> 11)
    return high


@native_only
@pytest.mark.slow
@pytest.mark.parametrize("role", ["radius", "angle"])
def test_every_number_of_24_bits(role):
    """Generators whose next words are known: each radius beside one angle, and each angle beside
    one radius."""
    supported(torch.float32)
    per_state = 608 // 2  # whole blocks of sixteen
    template = torch.Generator().manual_seed(0)
    torch.rand(1, generator=template)  # the first words are made
    state = template.get_state().view(torch.int64)
    assert state[2] == 1  # one is gone
    ours, stock = generators()
    out, expected = torch.empty(608), torch.empty(608)
    for first in range(0, 2**24, per_state):
        varied = torch.arange(first, first + per_state) % 2**24
        words = torch.full((2, per_state), 0x654321)
        words[0 if role == "radius" else 1] = varied
        blocks = words.view(2, -1, 8).transpose(0, 1).reshape(-1)
        state[4 : 4 + 608] = untempered(blocks)
        for generator in (ours, stock):
            generator.set_state(state.view(torch.uint8))
        native._draw(out, ours)
        expected.normal_(generator=stock)
        assert same_bits(out, expected), first
    recovered = torch.Generator()
    recovered.set_state(state.view(torch.uint8))
    drawn = torch.rand(608, generator=recovered) * 2**24
    assert torch.equal(drawn.long(), blocks)
