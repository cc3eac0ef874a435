"""The layout of one row: what to do after one model evaluation.

A packed row is ``WIDTH`` numbers of the state's dtype. The host lowers every solver to such rows,
the C++, CUDA and Triton kernels and the reference op execute them; this file is the only place that
says which column is which. For one element of one sample, every operand being the value *before*
the row::

    o   = sum_g w_g out_g                          mix of the model outputs (guidance)
    m   = clip(p_x x + p_o o, clip_lo, clip_hi)    what the solver works in (x0 or eps)
    x'  = c_x x + c_s s + c_m m + c_o o + sum_k c_hk h_k + c_z z + c_zp z_prev
    s'  = d_x x + d_s s + d_m m + d_o o + sum_k d_hk h_k + d_z z + d_zp z_prev
    h_slot = e_x x + e_m m + e_o o
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
y, t_next
    The next model input and the next model timestep. ``in_scale`` 0 means that no input is written
    (the last row).
clip_lo, clip_hi
    -inf and +inf for no clipping; NaN stays NaN.
live
    1 for a row to execute. A table ends with one all-zero END row (slot -1): a sample standing on
    it is finished.

A zero coefficient means that the operand is not read, so NaN in an unread operand does not spread.

A packed table is ``[entry] + rows 1..N + [END]``. The entry row runs before the first model
evaluation, so it uses no model output (all of p, c_m, c_o, d_m, d_o, e are zero): normally
``x' = x`` together with the input scale and the timestep of the first evaluation.
"""

HISTORY = 4

FIELDS = (
    "p_x", "p_o", "clip_lo", "clip_hi",
    "c_x", "c_s", "c_m", "c_o", "c_h0", "c_h1", "c_h2", "c_h3", "c_z", "c_zp",
    "d_x", "d_s", "d_m", "d_o", "d_h0", "d_h1", "d_h2", "d_h3", "d_z", "d_zp",
    "e_x", "e_m", "e_o",
    "in_scale", "t_next", "slot", "draw", "live",
)  # fmt: skip

WIDTH = len(FIELDS)

COLUMN = {name: index for index, name in enumerate(FIELDS)}
