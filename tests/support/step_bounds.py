"""How far the results of step_ may be from those of the reference."""

import torch

from fastdiff import ops
from fastdiff.ops import reference
from fastdiff.row import COLUMN
from tests.support.helpers import assert_within, same_bits
from tests.support.step_cases import COEFFICIENTS, Case


def with_native_noise(case):
    """The same call with the noise drawn beforehand by ``normal``, for a reference to use."""
    if case.z is not None:
        return case
    number = case.rows[case.row, COLUMN["draw"]].long()
    numel = case.x[0].numel() if len(case.x) else 0
    given = {}
    for name, n in (("z", number), ("z_prev", number - 1)):
        keys = case.keys + torch.stack((torch.zeros_like(n), n * -(-numel // 4)), dim=1)
        given[name] = ops.normal(keys, case.x.shape[1:]).to(case.state)
    return case.copy(**given)


def magnitudes(case):
    """sum |coefficient operand| of everything written, operands o and m expanded: the reference on
    absolute values, in float64. A clip bounds m from below by the larger of its finite ends."""
    rows = case.rows.double().abs()
    signed = [COLUMN[name] for name in ("slot", "live", "g_0", "g_1")]
    rows[:, signed] = case.rows[:, signed].double()
    ends = [COLUMN["clip_lo"], COLUMN["clip_hi"]]
    finite = torch.where(rows[:, ends].isinf(), 0.0, rows[:, ends]).amax(dim=1)
    rows[:, ends[0]], rows[:, ends[1]] = finite, torch.inf
    absolute = {
        name: value.double().abs() if isinstance(value, torch.Tensor) else value
        for name, value in case.arguments.items()
        if name not in ("row", "keys", "t", "gain")
    }
    absolute["outputs"] = [o.double().abs() for o in case.outputs]
    absolute |= {"rows": rows, "row": case.row.clone(), "keys": case.keys, "t": None}
    absolute["gain"] = case.gain
    return Case(absolute).run(reference.step_)


def terms(case):
    """Most roundings that a value goes through: terms of x', of m and of o."""
    rows = case.rows[:, [*COEFFICIENTS, COLUMN["k_known"], COLUMN["k_z"]]] != 0
    outputs = 1 if case.weights is None else case.weights.shape[2]
    if case.gain is not None:  # the rounding of the exponent, times its size, and that of exp
        columns = case.rows[:, [COLUMN["g_0"], COLUMN["g_1"]]].double().abs()
        largest = case.gain.double().abs().max() if case.gain.numel() else 0.0
        outputs += 3 + 2 * int((columns[:, 0] + columns[:, 1] * largest).max().ceil())
    return int(rows.sum(dim=1).max()) + outputs if len(rows) else outputs


def assert_close(actual, expected, case, noise_error=0.0, what=""):
    """``actual`` (after the call) against ``expected`` (the reference after the call), where
    ``case`` is the call before, with given noise."""
    unit = 2.0**-53 if case.state == torch.float64 else 2.0**-24
    size, n = magnitudes(case), terms(case)
    n = 2 * n if case.state == torch.float64 else n  # there the reference rounds as often
    assert torch.equal(actual.row, expected.row), f"{what} row"
    assert same_bits(actual.t, expected.t), f"{what} t"
    for name in ("after", "saved", "history", "x0_out"):
        if getattr(case, name) is not None:
            bound = (n + 2) * unit * getattr(size, name) + noise_error
            given, wanted = getattr(actual, name), getattr(expected, name)
            if given.dtype != case.state:  # rounded once more
                bound = bound + torch.finfo(given.dtype).eps * wanted.double().abs()
                bound = bound + torch.finfo(given.dtype).smallest_normal
            assert_within(given, wanted, bound, f"{what} {name}")
    if case.x_out is not None:
        assert same_bits(actual.x, case.x), f"{what} x"


def assert_input_is_scaled_state(actual, case, what=""):
    """y = in_scale x', rounded once to the model's dtype; untouched where nothing is written."""
    if case.model_input is None or case.after.dtype != case.state:
        return  # x' itself is nowhere to be seen
    scale = case.rows[case.row, COLUMN["in_scale"]].reshape(-1, *[1] * (case.x.dim() - 1))
    written = (scale != 0) & (case.rows[case.row, COLUMN["live"]] != 0).reshape(scale.shape)
    y = (scale * actual.after).to(case.model_input.dtype)
    count = 1 if case.weights is None else case.weights.shape[2]
    before = case.model_input.chunk(count) if len(case.x) else [case.model_input]
    after = actual.model_input.chunk(count) if len(case.x) else [actual.model_input]
    for old, new in zip(before, after, strict=True):
        assert same_bits(new, torch.where(written, y, old)), f"{what} model_input"
