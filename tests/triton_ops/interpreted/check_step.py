"""step_ against the reference, and against the native kernel to the bit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fastdiff
from fastdiff import noise, ops
from fastdiff.kernels.triton import launch
from fastdiff.kernels.triton import step as kernels
from fastdiff.ops import reference
from fastdiff.ops.operands import BOUND
from fastdiff.row import COLUMN, WIDTH
from tests.ops import test_step_special, test_threshold
from tests.support.helpers import native_only, same_bits
from tests.support.step_bounds import assert_close, assert_input_is_scaled_state, with_native_noise
from tests.support.step_cases import assert_same, cases
from tests.triton_ops.calls import call, drawn
from tests.triton_ops.probe import FUSES

STEP = torch.ops.fastdiff_triton.step_


def check(case):
    before = case.copy()
    given_noise = with_native_noise(before)
    expected = given_noise.copy().run(reference.step_)
    done = case.copy().run(STEP)
    assert_close(done, expected, given_noise)
    assert_input_is_scaled_state(done, before)
    if ops.native is not None and FUSES:
        assert_same(done, case.copy().run())


@settings(max_examples=3 * settings.default.max_examples)
@given(case=cases())
def test_reference(case):
    check(case)


@given(case=cases(batches=st.integers(1, 2), shapes=st.sampled_from([[1025], [3, 40, 20]])))
def test_several_tiles(case):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "SMALL_TILE_BYTES", 2048)
        check(case)


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "sliced"])
@pytest.mark.parametrize("state", [torch.float32, torch.float64])
def test_everything_at_once(layout, state):
    check(call(3, (4, 9, 10), layout, state))
    check(drawn(call(3, (4, 9, 10), layout, state)))


@given(case=cases())
def test_finished_samples_are_left_alone(case):
    case.row.fill_(len(case.rows) - 1)
    case.arguments["outputs"] = [torch.full_like(o, torch.nan) for o in case.outputs]
    assert_same(case.copy().run(STEP), case)


@given(case=cases(batches=st.integers(1, 3)))
def test_a_sample_does_not_see_its_batch(case):
    together = case.copy().run(STEP)
    for b in range(len(case.x)):
        assert_same(case.sample(b).run(STEP), together.sample(b), f"sample {b}")


@pytest.mark.parametrize("index", [-1, 3, -(2**63), 2**63 - 1])
@pytest.mark.parametrize("shape", [(5,), (2, 300)])
def test_a_row_outside_the_table_touches_nothing(index, shape):
    """Its sample stays as it is, the others do not notice."""
    case = call(3, shape)
    clean = case.copy().run(STEP)
    case.row[1] = index
    done = case.copy().run(STEP)
    assert_same(done.sample(1), case.sample(1))
    assert done.row[1] == index
    for other in (0, 2):
        assert_same(done.sample(other), clean.sample(other))


@pytest.mark.parametrize("rows", [0, 1])
def test_a_table_of_no_rows_touches_nothing(rows):
    case = call(2, (5,))
    cut = {name: getattr(case, name)[-rows:][:rows] for name in ("rows", "weights")}
    case.arguments |= {**cut, "second_weights": cut["weights"]}
    case.row.zero_()
    assert_same(case.copy().run(STEP), case)


@pytest.mark.parametrize(
    "name",
    ["test_bad_numbers_stay_in_their_sample", "test_operands_that_are_not_read_do_not_matter",
     "test_nan_passes_through_the_clip"],
)  # fmt: skip
def test_special_numbers(name):
    getattr(test_step_special, name)(op=STEP)


def test_nan_goes_only_where_it_is_read():
    """An output that one result reads does not show in the others."""
    rows = torch.zeros(1, WIDTH)
    rows[0, [COLUMN[name] for name in ("c_x", "d_m", "p_x", "e_o", "live", "clip_hi")]] = 1
    x = torch.ones(2, 5)
    saved, history = torch.zeros(2, 5), torch.zeros(1, 2, 5)
    operands = {"outputs": [torch.full((2, 5), torch.nan)], "saved": saved, "history": history}
    ops.step_(x, torch.zeros(2, dtype=torch.int64), rows, keys=noise.keys(0, 2), **operands)
    assert (x == 1).all() and (saved == 1).all() and history.isnan().all()


@pytest.mark.parametrize(
    "name", ["test_threshold_is_the_quantile", "test_nan_does_not_hide_the_others"]
)
def test_thresholds(name):
    getattr(test_threshold, name)(op=STEP)


def test_the_fused_noise_is_normal():
    """c_z = 1 or c_zp = 1, the rest 0: the state becomes a draw, or the one before, to the bit."""
    keys = torch.tensor([[-5, 2**62], [3, 1]])
    for name, number in (("c_z", 9), ("c_zp", 8)):
        for numel in (1, 7, 1030):
            rows = torch.zeros(1, WIDTH)
            rows[0, [COLUMN["live"], COLUMN[name]]] = 1
            rows[0, COLUMN["slot"]], rows[0, COLUMN["draw"]] = -1, 9
            x = torch.zeros(2, numel)
            ops.step_(x, torch.zeros(2, dtype=torch.int64), rows, keys=keys)
            assert same_bits(x, noise.draw(keys, (numel,), number))


@pytest.mark.parametrize("target", ["x", "model_input"])
def test_outputs_in_the_memory_that_is_written(target):
    """A model may return its input: right. Another view of it: refused."""
    case = call(2, (3, 5), model=torch.float32)
    case.arguments |= dict.fromkeys(("gain", "weights", "second_weights", "x_in", "x_out"))
    case.rows[:, [COLUMN["g_0"], COLUMN["g_1"]]] = 0
    case.arguments |= {"model_input": case.model_input[:2], "t": case.t[:2]}
    aliased = case.copy()
    out = getattr(aliased, target)
    expected = case.copy(outputs=[out.clone()]).run(STEP)
    aliased.arguments["outputs"] = [out]
    assert_same(aliased.run(STEP), expected)
    for view in (out.flip(0)[:1].expand(out.shape), out[:1].expand(out.shape)):
        if view.untyped_storage().data_ptr() == out.untyped_storage().data_ptr():
            with pytest.raises(ValueError, match="^out: expected memory of its own"):
                aliased.copy(outputs=[view], **{target: out}).run(STEP)


def test_too_many_dimensions():
    shape = (2,) * 8
    case = call(1, shape)
    ragged = [v.transpose(1, 8).contiguous().transpose(1, 8) for v in (case.outputs[0], case.gain)]
    check(case.copy(outputs=ragged[:1], gain=ragged[1]))
    order = (0, 2, 1, 4, 3, 6, 5, 8, 7)
    ragged = case.outputs[0].permute(order).contiguous().permute(order)
    with pytest.raises(ValueError, match="^out: expected at most 6 dimensions .* got 8"):
        case.copy(outputs=[ragged]).run(STEP)


def test_offsets_beyond_32_bits(monkeypatch):
    """The last of 2049 samples of 2^20 elements: 2^31 elements lie before it, in memory that is
    promised by the system but never touched."""
    batch, numel = 2049, 2**20
    monkeypatch.setattr(kernels, "tile_of", lambda *_: numel)
    try:
        x = torch.empty(batch, numel)
        model_input = torch.empty(batch, numel, dtype=torch.float16)
    except RuntimeError as error:
        pytest.skip(str(error))
    rows = torch.zeros(2, WIDTH)
    rows[0, [COLUMN["c_x"], COLUMN["in_scale"], COLUMN["live"]]] = torch.tensor([2.0, 0.5, 1.0])
    rows[:, COLUMN["slot"]] = -1
    row = torch.ones(batch, dtype=torch.int64)
    row[-1] = 0
    x[-1] = torch.arange(numel) % 1000
    ops.step_(x, row, rows, keys=noise.keys(0, batch), model_input=model_input)
    assert torch.equal(x[-1], 2.0 * (torch.arange(numel) % 1000))
    assert torch.equal(model_input[-1], (torch.arange(numel) % 1000).half())
    assert (row == 1).all()


@native_only
def test_bound_and_unbound_are_the_same():
    one, other = call(3, (4, 50)), call(3, (4, 50))
    one.run(STEP)
    buffers = {k: v for k, v in other.arguments.items() if k in BOUND}
    ops.bind(**buffers)(other.outputs[0], other.gain, other.x_in, other.x_out)
    assert_same(one, other)
    with fastdiff.backend("cpu"):
        assert ops.backend_of("cpu") == "cpu"
    assert set(buffers) == set(BOUND)
