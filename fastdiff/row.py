"""The contract of a step: the layout of a row and the operands that it is executed on.

A packed row is ``WIDTH`` numbers of the state's dtype. The host lowers every solver to such rows,
the C++, CUDA and Triton kernels and the reference op execute them; this file is the only place that
says which column is which. For one element of one sample, every operand being the value *before*
the row::

    o   = sum_g w_g out_g                          mix of the model outputs (guidance)
    u   = sum_g v_g out_g                          a second mix, of weights of its own
    m   = clip(p_x x + p_o o, clip_lo, clip_hi)    what the solver works in (x0 or eps)
    z~  = z exp(g_0 + g_1 gain)                    the draw, with a gain for each element
    x'  = c_x x + c_s s + c_m m + c_o o + c_u u + sum_k c_hk h_k + c_z z~ + c_zp z_prev
    x'  = mask (k_known known + k_z z) + (1 - mask) x'         where something is known
    s'  = d_x x + d_s s + d_m m + d_o o + d_u u + sum_k d_hk h_k + d_z z~ + d_zp z_prev
    h_slot = e_x x + e_m m + e_o o + e_u u
    y   = in_scale * x'

x
    The state: the point at which the model was evaluated; ``x'`` is the next one, or the sample.
s
    The saved anchor of multi-stage and predictor-corrector solvers. If all ``d`` are zero it is
    left as it is.
h_k
    The history ring, ``HISTORY`` *physical* slots: the lowering rotates them, a kernel never does.
    ``slot`` is the one written by this row, -1 for none.
z, z_prev
    Gaussian draws number ``draw`` and ``draw - 1`` of this sample. Draw 0 is the initial state,
    rows count from 1. A row that reads only ``z_prev`` therefore holds the number of the latest
    draw plus one.
gain
    An operand of the state's shape (the half of the model's output that is a learned variance);
    read where ``g_1`` is not zero. With ``g_0 = g_1 = 0`` the draw is taken as it is.
known, mask
    What is known of the sample, and where: operands of the state's shape, ``mask`` 0 to 1. Read
    where ``k_known`` or ``k_z`` is not zero.
m
    x0 as the row takes it: what the model says of clean data, clipped. A row that has no use for it
    holds p all the same, for an operand ``x0_out`` that receives it.
y, t_next
    The next model input and the next model timestep. ``in_scale`` 0 means that no input is written
    (the last row).
clip_lo, clip_hi, dynamic
    -inf and +inf for no clipping; NaN stays NaN. With ``dynamic`` = q > 0 the threshold is that of
    the sample: b = the q-quantile of |p_x x + p_o o| over its elements, at least 1 and at most
    ``clip_hi``, and m = clip(p_x x + p_o o, -b, b) / b.
live
    1 for a row to execute. A table ends with one all-zero END row (slot -1): a sample standing on
    it is finished.

A zero coefficient means that the operand is not read, so NaN in an unread operand does not spread.

A packed table is ``[entry] + rows 1..N + [END]``. The entry row runs before the first model
evaluation, so it uses no model output (all of p, c_m, c_o, c_u, d_m, d_o, d_u, e are zero):
normally ``x' = x`` together with the input scale and the timestep of the first evaluation.
"""

from typing import NamedTuple

HISTORY = 4

#: What the mixtures x' and s' are made of, in the order in which their terms are summed.
TERMS = ("x", "s", "m", "o", "u", *(f"h{k}" for k in range(HISTORY)), "z", "zp")

FIELDS = (
    "p_x", "p_o", "clip_lo", "clip_hi", "dynamic",
    *(f"c_{name}" for name in TERMS),
    *(f"d_{name}" for name in TERMS),
    "e_x", "e_m", "e_o", "e_u",
    "g_0", "g_1", "k_known", "k_z",
    "in_scale", "t_next", "slot", "draw", "live",
)  # fmt: skip

WIDTH = len(FIELDS)

COLUMN = {name: index for index, name in enumerate(FIELDS)}


class Operand(NamedTuple):
    """A tensor that a step reads or writes.

    Attributes:
        name: of the argument.
        dtype: "state" (that of x, float32 or float64), "int64", "model" (float32, bfloat16 or
            float16; float64 beside a float64 state), "time" (float64 if model_input is, else
            float32), "outputs" (that of the model's outputs).
        shape: sizes: numbers; "B" samples, "G" outputs, "GB" their product, "R" rows and "slots" as
            many as there are; "..." the rest of x's shape.
        about: what it is for.
        layout: "contiguous"; "any" strides; "rows" (the last stride is 1), "like weights".
        written: whether the step writes it.
        required: whether there has to be one.
    """

    name: str
    dtype: str
    shape: tuple
    about: str
    layout: str = "contiguous"
    written: bool = False
    required: bool = False


_LIKE_X = ("B", "...")

#: What a loop binds once. The same list is FD_STEP_OPERANDS in csrc/core/operands.h.
OPERANDS = (
    Operand("x", "state", _LIKE_X, "the state", written=True, required=True),
    Operand("row", "int64", ("B",), "index of the row on which each sample stands; advanced by one "
            "unless that row is not live", written=True, required=True),
    Operand("rows", "state", ("R", WIDTH), "packed rows (``StepTable.pack``)", required=True),
    Operand("weights", "state", ("R", "B", "G"), "the weight of each output, strides may be 0; "
            "None: there is one output", layout="rows"),
    Operand("keys", "int64", ("B", 2), "(seed, first block) of each sample's Philox stream",
            required=True),
    Operand("saved", "state", _LIKE_X, "the anchor s", written=True),
    Operand("history", "state", ("slots", "B", "..."), "the ring h", written=True),
    Operand("z", "state", _LIKE_X, "noise to use instead of drawing it"),
    Operand("z_prev", "state", _LIKE_X, "the noise before, likewise"),
    Operand("model_input", "model", ("GB", "..."), "receives in_scale x', G times", written=True),
    Operand("t", "time", ("GB",), "receives the next timestep", written=True),
    Operand("second_weights", "state", ("R", "B", "G"), "those of the second mix u",
            layout="like weights"),
    Operand("known", "state", _LIKE_X, "what is known of the sample"),
    Operand("mask", "state", _LIKE_X, "where it is known, 0 to 1"),
    Operand("threshold", "state", ("B",), "receives the bounds of rows that are ``dynamic``",
            written=True),
    Operand("x0_out", "state", _LIKE_X, "receives m, the estimate of x0, of rows that read the "
            "model", written=True),
)  # fmt: skip

#: What changes from call to call, beside the model's outputs.
CALL_OPERANDS = (
    Operand("gain", "outputs", _LIKE_X, "the log-gain of each element's noise", layout="any"),
    Operand("x_in", "model", _LIKE_X, "the state, to be read in the place of x", layout="any"),
    Operand("x_out", "model", _LIKE_X, "receives x' in the place of x", written=True),
)
