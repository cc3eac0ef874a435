"""The layout of one row: what to do after one model evaluation.

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

HISTORY = 4

#: Operands of the mixtures x' and s', in the order in which their terms are summed.
OPERANDS = ("x", "s", "m", "o", "u", *(f"h{k}" for k in range(HISTORY)), "z", "zp")

FIELDS = (
    "p_x", "p_o", "clip_lo", "clip_hi", "dynamic",
    *(f"c_{name}" for name in OPERANDS),
    *(f"d_{name}" for name in OPERANDS),
    "e_x", "e_m", "e_o", "e_u",
    "g_0", "g_1", "k_known", "k_z",
    "in_scale", "t_next", "slot", "draw", "live",
)  # fmt: skip

WIDTH = len(FIELDS)

COLUMN = {name: index for index, name in enumerate(FIELDS)}
