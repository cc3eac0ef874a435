"""The mix of two outputs by itself, against float64 and against what pipelines write."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fastdiff as fd
from fastdiff.guidance import CFG, mix
from fastdiff.guidance.mix import FEW
from tests.support.helpers import assert_within, native_only, same_bits

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def halves(shape, dtype=torch.float32, seed=0):
    """Two outputs of one model, as views of one tensor."""
    generator = torch.Generator().manual_seed(seed)
    both = torch.randn((2 * shape[0], *shape[1:]), generator=generator, dtype=torch.float64)
    both[shape[0] :] = 0.8 * both[: shape[0]] + 0.5 * both[shape[0] :] + 0.1
    return both.to(dtype).chunk(2)


def eager(uncond, cond, scale, rescale=0.0):
    """The lines of pipelines; Lin et al. 2023, eqs. 15 and 16."""
    if isinstance(scale, torch.Tensor):
        scale = scale.reshape(-1, *[1] * (cond.dim() - 1)).to(cond.dtype)
    mixed = uncond + scale * (cond - uncond)
    if not rescale:
        return mixed
    every = tuple(range(1, cond.dim()))
    rescaled = mixed * (cond.std(every, keepdim=True) / mixed.std(every, keepdim=True))
    return rescale * rescaled + (1 - rescale) * mixed


def truth(uncond, cond, scale, rescale=0.0):
    scale = scale.double() if isinstance(scale, torch.Tensor) else scale
    return eager(uncond.double(), cond.double(), scale, rescale)


def rounding(uncond, cond, scale, wanted):
    """What the arithmetic in the outputs' precision, float32 at least, may be off by."""
    largest = max(1.0, float(abs(torch.as_tensor(scale)).max()))
    inside = 4 * torch.finfo(torch.promote_types(cond.dtype, torch.float32)).eps
    size = largest * (uncond.double().abs() + cond.double().abs() + 1)
    smallest = torch.finfo(cond.dtype).smallest_normal
    return inside * size + torch.finfo(cond.dtype).eps / 2 * wanted.abs() + smallest


shapes = st.lists(st.integers(1, 6), min_size=2, max_size=4)
scales = st.one_of(st.floats(-3, 12), st.just(0.0), st.just(1.0))


@given(
    shape=shapes, seed=st.integers(0, 99), dtype=st.sampled_from(DTYPES), scale=scales,
    each=st.booleans(), double=st.booleans(),
)  # fmt: skip
def test_against_float64(shape, seed, dtype, scale, each, double):
    uncond, cond = halves(shape, dtype, seed)
    if each:
        wide = torch.float64 if double else torch.float32
        scale = torch.linspace(scale, scale + 2, shape[0], dtype=wide)
    mixed, wanted = mix(uncond, cond, scale), truth(uncond, cond, scale)
    assert mixed.dtype == dtype and mixed.shape == cond.shape
    slack = rounding(uncond, cond, scale, wanted)
    if each and double:  # the scale itself is rounded
        slack = slack * 2
    assert_within(mixed, wanted, slack)


@given(
    shape=shapes, seed=st.integers(0, 99), dtype=st.sampled_from(DTYPES), scale=st.floats(0.5, 12),
    each=st.booleans(), rescale=st.floats(0.01, 1),
)  # fmt: skip
def test_rescale_against_float64(shape, seed, dtype, scale, each, rescale):
    shape = [*shape, 3]  # a single element has no deviation
    uncond, cond = halves(shape, dtype, seed)
    if each:
        scale = torch.linspace(scale, scale + 2, shape[0], dtype=torch.float32)
    wanted = truth(uncond, cond, scale, rescale)
    deviation = truth(uncond, cond, scale).flatten(1).std(1)
    gain = 1 + cond.double().flatten(1).std(1) / deviation  # how much larger errors become
    slack = rounding(uncond, cond, scale, wanted) * gain.reshape(-1, *[1] * (cond.dim() - 1))
    assert_within(mix(uncond, cond, scale, rescale=rescale), wanted, 4 * slack)


@pytest.mark.parametrize("rescale", [0.0, 0.7])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_no_worse_than_the_line_of_pipelines(dtype, rescale):
    uncond, cond = halves((3, 4, 16, 16), dtype)
    for scale in (1.5, 7.5, torch.tensor([1.1, 4.0, 7.3])):
        wanted = truth(uncond, cond, scale, rescale)
        ours = (mix(uncond, cond, scale, rescale=rescale) - wanted).abs()
        theirs = (eager(uncond, cond, scale, rescale) - wanted).abs()
        once = torch.finfo(dtype).eps / 2 * wanted.abs()
        assert_within(ours, 0 * once, torch.maximum(theirs, once) + 1e-5)
        assert ours.mean() < 0.8 * theirs.mean()


@pytest.mark.parametrize("rescale", [0.0, 0.7])
@every_dtype
def test_a_sample_does_not_see_its_batch(dtype, rescale):
    uncond, cond = halves((5, 3, 4), dtype)
    scale = torch.tensor([0.0, 1.0, 1.5, 4.0, 7.3])
    together = mix(uncond, cond, scale, rescale=rescale)
    for b in range(5):
        one = slice(b, b + 1)
        assert same_bits(mix(uncond[one], cond[one], scale[one], rescale=rescale), together[one])
        number = mix(uncond[one], cond[one], float(scale[b]), rescale=rescale)
        assert_within(number, together[one], 2 * torch.finfo(dtype).eps * 10)


@every_dtype
def test_rescale_is_the_same_in_batches_of_all_sizes(dtype):
    """Gains of few samples are computed in a loop, those of many by tensors."""
    uncond, cond = halves((2 * FEW, 3, 4), dtype)
    many = mix(uncond, cond, 4.0, rescale=0.7)
    for k in (1, FEW, FEW + 1):
        assert same_bits(mix(uncond[:k], cond[:k], 4.0, rescale=0.7), many[:k])


@pytest.mark.parametrize("value", [0.0, 3.0, math.nan])
def test_rescale_of_outputs_without_deviation(value):
    """0 / 0 and NaN, as in the line of pipelines."""
    flat = torch.full((1, 2, 3), value)
    assert mix(flat, flat, 4.0, rescale=0.7).isnan().all()


@pytest.mark.parametrize("rescale", [0.0, 0.7])
@every_dtype
def test_shapes_of_the_scale(dtype, rescale):
    uncond, cond = halves((3, 4, 5), dtype)
    scale = torch.tensor([2.0, 2.0, 2.0])
    wanted = mix(uncond, cond, scale, rescale=rescale)
    for same in (scale.reshape(3, 1, 1), torch.tensor(2.0), scale.double(), scale.to(dtype)):
        assert same_bits(mix(uncond, cond, same, rescale=rescale), wanted)


@pytest.mark.parametrize("rescale", [0.0, 0.7])
@every_dtype
def test_strides_and_offsets(dtype, rescale):
    """Outputs that are views: each is read where it is."""
    whole = torch.randn((4, 9, 7, 6), generator=torch.Generator().manual_seed(1)).to(dtype)
    views = {
        "channels": whole[:, :8].chunk(2, dim=1),
        "samples": whole.chunk(2),
        "turned": whole.transpose(1, 3).chunk(2),
        "every other": (whole[::2], whole[1::2]),
        "interleaved": (whole[..., ::2], whole[..., 1::2]),
        "offset": (whole[:, 1:4], whole[:, 5:8]),
        "expanded": (whole[:1].expand(4, 9, 7, 6), whole),
    }
    before = whole.clone()
    for name, (uncond, cond) in views.items():
        scale = torch.arange(1.0, 1 + len(cond))
        for given_scale in (3.0, scale):
            plain = mix(uncond.contiguous(), cond.contiguous(), given_scale, rescale=rescale)
            mixed = mix(uncond, cond, given_scale, rescale=rescale)
            assert_within(mixed, plain, 4 * torch.finfo(dtype).eps * plain.abs(), name)
            wanted = truth(uncond, cond, given_scale, rescale)
            assert_within(mixed, wanted, 20 * torch.finfo(dtype).eps, name)
    assert same_bits(whole, before)


@pytest.mark.parametrize("rescale", [0.0, 0.7])
@pytest.mark.parametrize("each", [False, True])
@every_dtype
def test_out(dtype, each, rescale):
    uncond, cond = halves((3, 4, 5), dtype)
    scale = torch.tensor([1.5, 2.0, 3.0]) if each else 2.5
    wanted = mix(uncond, cond, scale, rescale=rescale)
    room = torch.full((3, 5, 8), math.nan, dtype=dtype)
    strided = room.transpose(1, 2)[:, ::2]
    assert mix(uncond, cond, scale, rescale=rescale, out=strided) is strided
    assert same_bits(strided.contiguous(), wanted)
    assert room.transpose(1, 2)[:, 1::2].isnan().all()
    for place in (0, 1):
        parts = [uncond.clone(), cond.clone()]
        assert mix(*parts, scale, rescale=rescale, out=parts[place]) is parts[place]
        assert same_bits(parts[place], wanted)


def test_the_weights_are_those_of_the_tables():
    uncond, cond = halves((2, 3), torch.float64)
    for scale in (0.0, 0.3, 1.0, 7.5):
        w_u, w_c = CFG(scale).weights([1.0], 2)[0, 0]
        assert_within(mix(uncond, cond, scale), w_u * uncond + w_c * cond, 1e-14)


@every_dtype
def test_full_rescale_keeps_the_deviation(dtype):
    uncond, cond = halves((3, 500), dtype)
    mixed = mix(uncond, cond, torch.tensor([0.5, 3.0, 9.0]), rescale=1.0)
    deviations = [v.double().std(1) for v in (mixed, cond)]
    assert_within(*deviations, 4 * torch.finfo(dtype).eps)


def test_rescale_of_nearly_constant_outputs():
    """A mean that is large beside the deviation costs few digits."""
    uncond, cond = (100 + v for v in halves((2, 50), torch.float64))
    wanted = truth(uncond, cond, 4.0, 1.0)
    assert_within(mix(uncond, cond, 4.0, rescale=1.0), wanted, 1e-8)


def gradients(function, dtype, scale):
    inputs = [v.clone().requires_grad_() for v in halves((3, 4), dtype)]
    if isinstance(scale, torch.Tensor):
        scale = scale.clone().requires_grad_()
        inputs.append(scale)
    function(*inputs[:2], scale).double().square().sum().backward()
    return [v.grad for v in inputs]


@pytest.mark.parametrize("scale", [2.5, torch.tensor([0.5, 2.0, 3.0])], ids=["one", "each"])
@every_dtype
def test_gradients(dtype, scale):
    ours, theirs = (gradients(f, dtype, scale) for f in (mix, truth))
    for mine, wanted in zip(ours, theirs, strict=True):
        assert mine.dtype == wanted.dtype
        assert_within(mine, wanted, 30 * torch.finfo(dtype).eps * max(1, wanted.abs().max()))


def test_no_gradient_is_lost():
    for place in range(3):
        given = [*halves((2, 3)), torch.ones(2)]
        given[place] = given[place].clone().requires_grad_()
        name = ("uncond", "cond", "scale")[place]
        with pytest.raises(RuntimeError, match=f"^{name}: expected a tensor without gradient"):
            mix(*given, rescale=0.5)
        with torch.no_grad():
            mix(*given, rescale=0.5)
        for dtype in (torch.float32, torch.bfloat16):
            parts = [v.detach().to(dtype) for v in given[:2]] + [given[2].detach()]
            parts[place].requires_grad_()
            with pytest.raises(RuntimeError):
                mix(*parts, out=torch.empty(2, 3, dtype=dtype))


@native_only
def test_backends_agree():
    uncond, cond = halves((3, 4, 5))
    scale = torch.tensor([0.5, 2.0, 9.0])
    with fd.backend("reference"):
        wanted = mix(uncond, cond, scale, rescale=0.7)
    assert_within(mix(uncond, cond, scale, rescale=0.7), wanted, 1e-6)


@pytest.mark.parametrize("rescale", [0.0, 0.7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_compiled_in_one_graph(dtype, rescale):
    """Nothing is read back while it runs: a graph is traced without the numbers."""
    uncond, cond = halves((3, 4, 5), dtype)
    scale = torch.tensor([0.5, 2.0, 9.0])
    compiled = torch.compile(mix, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        wanted = mix(uncond, cond, scale, rescale=rescale)
        # a graph mixes with gains, the host rescales what is mixed: other roundings of 9 (c - u)
        assert_within(compiled(uncond, cond, scale, rescale=rescale), wanted, 3e-6)


def test_without_storage():
    """On a device that holds no numbers, so none are read."""
    uncond, cond = (v.to("meta") for v in halves((3, 4), torch.bfloat16))
    mixed = mix(uncond, cond, torch.ones(3, device="meta"), rescale=0.5)
    assert mixed.is_meta and mixed.shape == (3, 4) and mixed.dtype == torch.bfloat16


@pytest.mark.parametrize("rescale", [0.0, 0.5])
def test_no_samples(rescale):
    uncond, cond = torch.ones(0, 3), torch.ones(0, 3)
    assert mix(uncond, cond, torch.ones(0), rescale=rescale).shape == (0, 3)


PART = torch.ones(2, 3)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1.0], PART, 2), {}, r"^uncond: expected a tensor, got \[1.0\]"),
        ((PART, None, 2), {}, "^cond: expected a tensor, got None"),
        ((PART.int(), PART.int(), 2), {}, r"^uncond: expected \[B, ...\] of .*, got torch.int32"),
        ((PART[0, 0], PART[0, 0], 2), {}, r"^uncond: expected \[B, ...\] of .*, got"),
        ((PART, PART[:1], 2), {}, r"^cond: expected torch.float32 \[2, 3\] .*, got .* \[1, 3\]"),
        ((PART, PART.double(), 2), {}, "^cond: expected torch.float32 .*, got torch.float64"),
        ((PART, PART.to("meta"), 2), {}, "^cond: expected .* on cpu like uncond, got .* on meta"),
        ((PART, PART, "2x"), {}, "^scale: expected a finite number .*, got '2x'"),
        ((PART, PART, math.nan), {}, "^scale: expected a finite number .*, got nan"),
        ((PART, PART, [1.0, 2.0]), {}, "^scale: expected a finite number .*, got"),
        ((PART, PART, torch.ones(3)), {}, r"^scale: expected a number or a tensor \[\] or \[2\]"),
        ((PART, PART, torch.ones(2, 3)), {}, r"^scale: expected .* got \[2, 3\]"),
        (
            (PART, PART, 2),
            {"rescale": 1.1},
            r"^rescale: expected a finite number in \[0, 1\], got 1.1",
        ),
        ((PART, PART, 2), {"rescale": math.nan}, "^rescale: expected a finite number"),
        ((PART, PART, 2), {"rescale": torch.ones(())}, "^rescale: expected a number"),
        ((PART, PART, 2), {"out": PART.double()}, "^out: expected torch.float32 .*, got"),
        ((PART, PART, 2), {"out": 3}, "^out: expected a tensor, got 3"),
    ],
)
def test_errors(arguments, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        mix(*arguments, **options)
