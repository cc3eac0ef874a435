"""Random calls of step_: arguments of every kind and layout."""

import torch
from hypothesis import strategies as st

from fastdiff.ops.operands import NAMES, WRITTEN
from fastdiff.row import COLUMN, FIELDS, HISTORY, WIDTH
from tests.support.helpers import same_bits

ARGUMENTS, MUTATED = NAMES, WRITTEN
HALF = (torch.bfloat16, torch.float16)
COEFFICIENTS = [
    COLUMN[name] for name in FIELDS if name[:2] in ("p_", "c_", "d_", "e_") or name == "in_scale"
]
LAYOUTS = (
    "contiguous",
    "channels_last",
    "transposed",
    "sliced",
    "every_other",
    "expanded",
    "offset",
)


class Case:
    """The arguments of one call, by name; ``state`` is the dtype of x."""

    def __init__(self, arguments):
        self.arguments = dict.fromkeys(ARGUMENTS) | arguments
        self.state = arguments["x"].dtype

    def __repr__(self):
        return f"Case({', '.join(f'{k}={_describe(v)}' for k, v in self.arguments.items())})"

    def __getattr__(self, name):
        if name not in ARGUMENTS:
            raise AttributeError(name)
        return self.arguments[name]

    @property
    def positional(self):
        return tuple(self.arguments[name] for name in ARGUMENTS)

    def copy(self, **changes):
        """A copy whose buffers are its own; the outputs keep their layout."""
        copied = {
            name: value.clone() if isinstance(value, torch.Tensor) and name in MUTATED else value
            for name, value in self.arguments.items()
        }
        return Case({**copied, **changes})

    def run(self, op=None):
        op = op or torch.ops.fastdiff.step_
        op(**self.arguments)
        return self

    @property
    def after(self):
        """Where x' goes."""
        return self.x if self.x_out is None else self.x_out

    def sample(self, b):
        """The call for sample b alone."""
        batch = len(self.x)
        count = 1 if self.weights is None else self.weights.shape[2]

        def parts(v):
            return None if v is None else torch.cat([part[b : b + 1] for part in v.chunk(count)])

        one = {name: self.arguments[name][b : b + 1].clone() for name in ("x", "row", "keys")}
        single = ("saved", "z", "z_prev", "gain", "known", "mask", "threshold")
        for name in (*single, "x_in", "x_out", "x0_out"):
            value = self.arguments[name]
            one[name] = None if value is None else value[b : b + 1].clone()
        one |= {"rows": self.rows, "model_input": parts(self.model_input), "t": parts(self.t)}
        one["history"] = (
            None if self.history is None else self.history[:, b : b + 1].clone().contiguous()
        )
        for name in ("weights", "second_weights"):
            value = self.arguments[name]
            one[name] = None if value is None else value[:, b : b + 1]
        if len(self.outputs) == 1 and count > 1:
            pieces = [self.outputs[0][g * batch + b : g * batch + b + 1] for g in range(count)]
        else:
            pieces = [o[b : b + 1] for o in self.outputs]
        return Case({**one, "outputs": pieces})


def _describe(value):
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype)[6:]}{list(value.shape)}{list(value.stride())}"
    return [_describe(v) for v in value] if isinstance(value, list) else value


def assert_same(a, b, what=""):
    """Every buffer has the same bits."""
    for name in MUTATED:
        assert same_bits(getattr(a, name), getattr(b, name)), f"{what} {name}"


def lay_out(values, layout):
    """A tensor of these values whose memory is arranged otherwise."""
    if layout == "channels_last" and values.dim() > 2:
        return values.movedim(1, -1).contiguous().movedim(-1, 1)
    if layout == "transposed" and values.dim() > 1:
        return values.transpose(0, -1).contiguous().transpose(0, -1)
    if layout == "sliced" and values.dim() > 1:
        return torch.cat((values, values + 1), dim=1)[:, : values.shape[1]]
    if layout == "every_other":
        return torch.stack((values, values - 1), dim=-1)[..., 0]
    if layout == "expanded" and values.dim() > 1:
        return values[:, :1].expand(values.shape)
    if layout == "offset":
        return torch.cat((values.new_zeros(1), values.flatten()))[1:].reshape(values.shape)
    return values.contiguous()


def random_rows(count, zeros, generator, clip=None, slots=HISTORY, dtype=torch.float32):
    """[count + 1, 40] rows of normal coefficients, a fraction ``zeros`` of them zero, then END."""
    rows = torch.zeros(count + 1, WIDTH, dtype=torch.float64)
    body = rows[:-1]
    values = torch.randn(count, len(COEFFICIENTS), generator=generator, dtype=torch.float64)
    kept = torch.rand(values.shape, generator=generator) >= zeros
    body[:, COEFFICIENTS] = values * kept
    body[:, COLUMN["clip_lo"]], body[:, COLUMN["clip_hi"]] = clip or (-torch.inf, torch.inf)
    body[:, COLUMN["t_next"]] = 1000 * torch.rand(count, generator=generator)
    body[:, COLUMN["slot"]] = torch.randint(-1, slots, (count,), generator=generator).double()
    body[:, COLUMN["draw"]] = torch.randint(1, 6, (count,), generator=generator).double()
    body[:, COLUMN["live"]] = 1
    for prefix in "cd":
        unused = [COLUMN[f"{prefix}_h{k}"] for k in range(slots, HISTORY)]
        body[:, unused] = 0
    rows[-1, COLUMN["slot"]] = -1
    return rows.to(dtype)


shapes = st.one_of(
    st.lists(st.integers(1, 7), max_size=4),
    st.lists(st.integers(0, 3), max_size=3),
    st.integers(1, 3000).map(lambda n: [n]),
    st.tuples(st.integers(1, 4), st.integers(1, 28), st.integers(1, 28)).map(list),
)


@st.composite
def cases(draw, batches=st.integers(0, 5), drawn=st.booleans(), shapes=shapes):  # noqa: B008
    """A valid call. ``drawn``: whether the noise is left to the kernel."""
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    state = draw(st.sampled_from([torch.float32, torch.float64]))
    floats = [torch.float32, *HALF] + [torch.float64] * (state == torch.float64)
    out_dtype, in_dtype = draw(st.sampled_from(floats)), draw(st.sampled_from(floats))
    batch, shape, count = draw(batches), draw(shapes), draw(st.integers(1, 4))
    slots = draw(st.integers(0, HISTORY))

    def randn(*size, dtype=state):
        return torch.randn(size, generator=g, dtype=torch.float64).to(dtype)

    clip = draw(st.sampled_from([None, (-1.0, 1.0), (-0.3, 2.0), (-torch.inf, 0.5), (0.25, 0.5)]))
    zeros = draw(st.sampled_from([0.0, 0.3, 0.7, 0.95]))
    rows = random_rows(draw(st.integers(1, 4)), zeros, g, clip, slots, state)
    saved = randn(batch, *shape) if draw(st.booleans()) else None
    if saved is None:
        rows[:, [COLUMN[name] for name in FIELDS if name[:2] == "d_" or name == "c_s"]] = 0
    weights = second = None
    if count > 1 or draw(st.booleans()):
        stride = draw(st.sampled_from(["full", "rows", "samples", "both"]))
        size = [1 if stride in ("rows", "both") else len(rows),
                1 if stride in ("samples", "both") else batch, count]  # fmt: skip
        weights = randn(*size) * (torch.rand(size, generator=g) > 0.2)
        weights = weights.expand(len(rows), batch, count)
        if draw(st.booleans()):
            second = randn(*size).expand(len(rows), batch, count)
    gain = known = mask = None
    if draw(st.integers(0, 2)) == 0:
        gain = randn(batch, *shape, dtype=out_dtype)
        rows[:-1, [COLUMN["g_0"], COLUMN["g_1"]]] = randn(len(rows) - 1, 2) * randn(1).sign()
    if draw(st.integers(0, 2)) == 0:
        known, mask = randn(batch, *shape), torch.rand(batch, *shape, generator=g).round(decimals=1)
        mask = mask.to(state)
        rows[:-1, [COLUMN["k_known"], COLUMN["k_z"]]] = randn(len(rows) - 1, 2)
    layouts = st.sampled_from(LAYOUTS)
    if count > 1 and draw(st.booleans()):
        outputs = [
            lay_out(randn(batch, *shape, dtype=out_dtype), draw(layouts)) for _ in range(count)
        ]
    else:
        outputs = [lay_out(randn(count * batch, *shape, dtype=out_dtype), draw(layouts))]
    if gain is not None:
        gain = lay_out(gain, draw(layouts))
    if draw(drawn):
        z = z_prev = None
    else:
        z, z_prev = randn(batch, *shape), randn(batch, *shape)
    reads = [COLUMN[f"{k}_{name}"] for name in "ou" for k in ("cde" if name == "u" else "pcde")]
    reads.append(COLUMN["g_1"])
    if not rows[:, reads].any() and draw(st.booleans()):
        outputs = []
    arguments = {
        "x": randn(batch, *shape),
        "row": torch.randint(0, len(rows), (batch,), generator=g),
        "rows": rows,
        "outputs": outputs,
        "weights": weights,
        "keys": torch.randint(-(2**63), 2**63 - 1, (batch, 2), generator=g),
        "saved": saved,
        "history": randn(slots, batch, *shape) if slots or draw(st.booleans()) else None,
        "z": z,
        "z_prev": z_prev,
        "model_input": randn(count * batch, *shape, dtype=in_dtype),
        "t": -torch.arange(count * batch, dtype=torch.float32) - 1,
        "second_weights": second,
        "gain": gain,
        "known": known,
        "mask": mask,
        "threshold": None,
        "x0_out": randn(batch, *shape) if draw(st.integers(0, 2)) == 0 else None,
        "x_in": lay_out(randn(batch, *shape, dtype=draw(st.sampled_from(floats))), draw(layouts))
        if draw(st.integers(0, 2)) == 0
        else None,
        "x_out": randn(batch, *shape, dtype=draw(st.sampled_from(floats)))
        if draw(st.integers(0, 2)) == 0
        else None,
    }
    if in_dtype == torch.float64:
        arguments["t"] = arguments["t"].double()
    if draw(st.integers(0, 9)) == 0:
        arguments["model_input"] = None
        arguments["t"] = arguments["t"].float()
    if draw(st.integers(0, 9)) == 0:
        arguments["t"] = None
    return Case(arguments)
