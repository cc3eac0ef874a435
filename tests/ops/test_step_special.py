"""step_ where ordinary numbers do not tell: NaN, infinity, aliases, gradients, the fused noise."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from fastdiff import noise, ops
from fastdiff.ops import reference
from fastdiff.row import COLUMN, FIELDS
from tests.support.helpers import native_only, same_bits
from tests.support.step_cases import ARGUMENTS, Case, assert_same, cases, random_rows

BOTH = pytest.mark.parametrize(
    "op", [pytest.param(None, marks=native_only), reference.step_], ids=["native", "reference"]
)


@BOTH
@given(case=cases(batches=st.integers(1, 5)), data=st.data())
def test_bad_numbers_stay_in_their_sample(op, case, data):
    """NaN or infinity in one sample's outputs changes no other sample."""
    assume(case.outputs and case.x.numel())
    b = data.draw(st.integers(0, len(case.x) - 1))
    bad = data.draw(st.sampled_from([torch.nan, torch.inf, -torch.inf]))
    clean = case.copy().run(op)
    spoiled = [o.clone() for o in case.outputs]
    for o in spoiled:
        o[b :: len(case.x)] = bad
    dirty = case.copy(outputs=spoiled).run(op)
    for other in set(range(len(case.x))) - {b}:
        assert_same(dirty.sample(other), clean.sample(other), f"sample {other}")


@BOTH
@given(case=cases(batches=st.integers(1, 3)))
def test_operands_that_are_not_read_do_not_matter(op, case):
    """Whatever has a zero coefficient in every row, or in the row of its sample, may hold NaN."""
    clean = case.copy().run(op)
    rows = case.rows[case.row]

    def unread(*names):
        used = (rows[:, [COLUMN[name] for name in names]] != 0).any(dim=1)
        return ~used.reshape(-1, *[1] * (case.x.dim() - 1))

    nan = torch.full_like(case.x, torch.nan)
    changes = {}
    for name, columns in (
        ("z", ("c_z", "d_z", "k_z")), ("z_prev", ("c_zp", "d_zp")), ("known", ("k_known",)),
        ("mask", ("k_known", "k_z")),
    ):  # fmt: skip
        if getattr(case, name) is not None:
            changes[name] = torch.where(unread(*columns), nan, getattr(case, name))
    idle = unread("p_o", "c_o", "d_o", "e_o"), unread("c_u", "d_u", "e_u")
    count = 1 if case.weights is None else case.weights.shape[2]
    parts = case.outputs[0].chunk(count) if len(case.outputs) == 1 else case.outputs
    outputs = []
    for g, part in enumerate(parts if case.outputs else []):
        skip = torch.ones_like(idle[0])
        for mix, weights in zip(idle, (case.weights, case.second_weights), strict=True):
            zero = g > 0  # without weights the first output is taken
            if weights is not None:
                zero = weights[case.row, torch.arange(len(case.x)), g] == 0
                zero = zero.reshape(mix.shape)
            skip &= mix | zero
        outputs.append(torch.where(skip, torch.nan, part.double()).to(part.dtype))
    dirty = case.copy(**changes, outputs=outputs).run(op)
    assert_same(dirty, clean)


@BOTH
@given(case=cases(batches=st.integers(1, 3), drawn=st.just(False)))
def test_nan_passes_through_the_clip(op, case):
    """A NaN in the model's output is not clipped away."""
    assume(case.outputs and case.x.numel())
    case.rows[:-1, [COLUMN["p_o"], COLUMN["c_m"]]] = 1.0
    case.rows[:-1, [COLUMN["clip_lo"], COLUMN["clip_hi"]]] = torch.tensor([-1.0, 1.0]).to(
        case.state
    )
    case.rows[:, [COLUMN["k_known"], COLUMN["k_z"]]] = 0
    case.row.zero_()
    if case.weights is not None:
        case.arguments["weights"] = torch.ones_like(case.weights)
        case.arguments["second_weights"] = None
        case.rows[:, [COLUMN[f"{k}_u"] for k in "cde"]] = 0
    outputs = [torch.full_like(o, torch.nan) for o in case.outputs]
    assert case.copy(outputs=outputs).run(op).after.isnan().all()


def _views(buffer, shape):
    """Views of a buffer that have the shape of a model output [B, ...]."""
    rest = len(shape) - 1
    yield "itself", buffer
    yield "first sample", buffer[:1].expand(shape)
    yield "first element", buffer.flatten()[:1].expand(shape)
    for dim in range(1, rest + 1):
        yield f"expanded {dim}", buffer.narrow(dim, 0, 1).expand(shape)
        for other in range(dim):
            if shape[dim] == shape[other]:
                yield f"transposed {other} {dim}", buffer.transpose(other, dim)


@native_only
@pytest.mark.parametrize("shape", [(4, 4), (3, 300), (2, 300, 300), (5, 2, 17, 17), (300, 300)])
@pytest.mark.parametrize("target", ["x", "model_input"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs_in_the_memory_that_is_written(shape, target, dtype):
    """A model may return its input, or a view of it: right, or refused, but never read half
    overwritten."""
    g = torch.Generator().manual_seed(0)
    state = getattr(torch, dtype)
    rows = random_rows(1, 0.0, g, slots=0, dtype=state)
    rows[:, [COLUMN[n] for n in FIELDS if n[:2] == "d_" or n in ("c_s", "c_zp")]] = 0
    arguments = dict.fromkeys(ARGUMENTS)
    arguments |= {
        "x": torch.randn(shape, generator=g, dtype=state),
        "row": torch.zeros(shape[0], dtype=torch.int64),
        "rows": rows,
        "keys": noise.keys(0, shape[0]),
        "model_input": torch.randn(shape, generator=g, dtype=state),
    }
    for name, _ in _views(arguments[target], shape):
        case = Case(arguments).copy()
        out = dict(_views(getattr(case, target), shape))[name]
        expected = case.copy(outputs=[out.clone()]).run()
        case.arguments["outputs"] = [out]
        try:
            case.run()
        except ValueError as error:
            assert name != "itself" and str(error).startswith("out: expected memory of its own")
            continue
        assert_same(case, expected, name)


@native_only
@pytest.mark.parametrize("stacked", [True, False])
def test_guided_model_that_returns_its_input(stacked):
    g = torch.Generator().manual_seed(0)
    rows = random_rows(1, 0.0, g, slots=0)
    rows[:, [COLUMN[n] for n in FIELDS if n[:2] == "d_" or n == "c_s"]] = 0
    arguments = dict.fromkeys(ARGUMENTS)
    arguments |= {
        "x": torch.randn(3, 1000, generator=g),
        "row": torch.zeros(3, dtype=torch.int64),
        "rows": rows,
        "keys": noise.keys(0, 3),
        "weights": torch.tensor([[[-1.0, 2.0]]]).expand(2, 3, 2),
        "model_input": torch.randn(6, 1000, generator=g),
    }
    case = Case(arguments).copy()
    expected = case.copy(outputs=[case.model_input.clone()]).run()
    case.arguments["outputs"] = [case.model_input] if stacked else list(case.model_input.chunk(2))
    assert_same(case.run(), expected)


@pytest.mark.parametrize("name", ["x", "outputs", "z", "z_prev", "weights", "saved", "history"])
def test_a_gradient_is_refused(name):
    """An operand that requires grad would lose it: an error, unless grad mode is off."""
    rows = random_rows(1, 0.0, torch.Generator().manual_seed(0), slots=1)
    tensors = {
        "x": torch.ones(2, 3),
        "outputs": [torch.ones(2, 3)],
        "z": torch.ones(2, 3),
        "z_prev": torch.ones(2, 3),
        "weights": torch.ones(2, 2, 1),
        "saved": torch.ones(2, 3),
        "history": torch.ones(1, 2, 3),
    }
    value = tensors[name][0] if name == "outputs" else tensors[name]
    value.requires_grad_()
    rest = {"row": torch.zeros(2, dtype=torch.int64), "rows": rows, "keys": noise.keys(0, 2)}
    with pytest.raises(RuntimeError, match=rf"^{name}(\[0\])?: expected a tensor without gradient"):
        ops.step_(**tensors, **rest)
    with torch.no_grad():
        ops.step_(**tensors, **rest)


@native_only
@given(
    keys=st.tuples(*[st.integers(-(2**63), 2**63 - 1)] * 2),
    draw=st.integers(1, 10_000),
    numel=st.one_of(st.integers(1, 1500), st.sampled_from([256, 257, 511, 512])),
    state=st.sampled_from([torch.float32, torch.float64]),
)
def test_fused_noise_is_normal(keys, draw, numel, state):
    """c_z = 1, the rest 0: the state becomes draw ``draw``, or the one before, to the bit."""
    keys = torch.tensor([keys])
    for name, number in (("c_z", draw), ("c_zp", draw - 1)):
        rows = torch.zeros(1, len(FIELDS), dtype=state)
        rows[0, [COLUMN["live"], COLUMN[name]]] = 1
        rows[0, COLUMN["slot"]], rows[0, COLUMN["draw"]] = -1, draw
        x = torch.zeros(1, numel, dtype=state)
        ops.step_(x, torch.zeros(1, dtype=torch.int64), rows, keys=keys)
        assert same_bits(x, noise.draw(keys, (numel,), number).to(state))
