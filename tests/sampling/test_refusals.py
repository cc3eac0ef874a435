"""What SamplerState and sample() refuse, by the name of the argument, with the state as it was."""

import numpy as np
import pytest
import torch
from helpers import same_bits
from toy import TABLES, model, start

import fastdiff as fd
from fastdiff.guidance import CFG


def test_gradients_are_refused():
    x, table = start(), TABLES["DDIM"]
    state = fd.SamplerState(table, x)
    weight = torch.ones((), requires_grad=True)
    for out in (weight * x, [weight * x]):
        with pytest.raises(RuntimeError, match=r"^out\[0\]: expected a tensor without gradient"):
            state.step(out)
    with pytest.raises(RuntimeError, match="^x: expected a tensor without gradient"):
        fd.SamplerState(table, x.requires_grad_())
    with torch.no_grad():
        state.step(weight * x)
    sample = fd.sample(lambda y, t: weight * y, x.detach(), table)
    assert not sample.requires_grad
    with torch.inference_mode():
        assert same_bits(fd.sample(lambda y, t: weight * y, x.detach(), table), sample)


@pytest.mark.parametrize("guidance", [None, CFG(2.0)])
@pytest.mark.parametrize("grad", [True, False])
def test_bad_outputs(guidance, grad):
    """Refused by name, with the state as it was."""
    state = fd.SamplerState(TABLES["DDIM"], start(), guidance=guidance)
    before = state.x.clone()
    good = torch.zeros_like(state.model_input)
    bad = [
        None, 3, "out", {"out": good}, object(), [], [None], [good[:1]], good[:2], good[None],
        good[0], good.flatten(), good.mT, good.double(), good.int(), good.bool(),
        good.to(torch.complex64),
        good.to(torch.float8_e5m2), good.numpy(), good.to("meta"), [good] * 5, good.to_sparse(),
        torch.zeros(()), (good, good.bfloat16()), iter([good]),
    ]  # fmt: skip
    with torch.set_grad_enabled(grad):
        for out in bad:
            with pytest.raises((ValueError, TypeError, RuntimeError), match="^out: expected .*got"):
                state.step(out)
    assert same_bits(state.x, before) and not state.done and state.row.unique().tolist() == [1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": None}, "^model: expected a callable"),
        ({"x": [1.0, 2.0]}, "^x: expected a floating-point tensor"),
        ({"x": torch.zeros(3, 2, dtype=torch.int64)}, "^x: expected a floating-point tensor"),
        ({"x": torch.zeros(3, dtype=torch.complex64)}, "^x: expected a floating-point tensor"),
        ({"x": torch.tensor(1.0)}, "^x: expected a floating-point tensor"),
        ({"x": np.zeros((3, 2))}, "^x: expected a floating-point tensor"),
        ({"x": torch.zeros(3, 2).to(torch.float8_e5m2)}, "^(x|model_dtype): expected"),
        ({"table": None}, "^table: expected a StepTable"),
        ({"table": "DDIM"}, "^table: expected a StepTable"),
        ({"table": fd.solvers.DDIM()}, "^table: expected a StepTable"),
        ({"table": TABLES["DDIM"].rows}, "^table: expected a StepTable"),
        ({"table": [TABLES["DDIM"]] * 2}, "^table: expected 3 .one per sample., got 2"),
        ({"table": [TABLES["DDIM"], None, 3]}, r"^table\[1\]: expected a StepTable, got NoneType"),
        ({"seeds": [1, 2]}, "^seeds: expected 3 .one per sample., got 2"),
        ({"seeds": 1.5}, "^seeds: expected an int"),
        ({"seeds": torch.zeros(2, dtype=torch.int64)}, "^seeds: expected int64"),
        ({"model_dtype": torch.float64}, "^model_dtype: expected float32, bfloat16 or float16"),
        ({"model_dtype": torch.int64}, "^model_dtype: expected"),
        ({"model_dtype": "float32"}, "^model_dtype: expected"),
        ({"graph": "always"}, "^graph: expected"),
        ({"callback": 3}, "^callback: expected"),
    ],
)
def test_bad_arguments(arguments, message):
    arguments = {"model": model, "x": start(), "table": TABLES["DDIM"], **arguments}
    with pytest.raises((ValueError, TypeError), match=message):
        fd.sample(arguments.pop("model"), arguments.pop("x"), arguments.pop("table"), **arguments)


def test_prediction_of_the_model():
    class Declared(torch.nn.Module):
        prediction = "v"

        def forward(self, x, t):
            return model(x, t)

    declared, x = Declared(), start()
    eps, v = (
        fd.solvers.DDIM().lower(fd.schedules.VPLinear(), 3, prediction=p) for p in ("eps", "v")
    )
    fd.sample(declared, x, v)
    for table in (eps, [v, eps, v], (v, v, eps)):
        with pytest.raises(ValueError, match="^table: expected one lowered for prediction='v'"):
            fd.sample(declared, x, table)


def test_tables_that_cannot_be():
    with pytest.raises(ValueError, match="times must decrease"):
        fd.solvers.DDIM().lower(fd.schedules.VPLinear(), None, grid=[1.0, 0.5, 0.7])
    with pytest.raises(ValueError, match='"eps" is undefined at alpha = 0'):
        fd.solvers.DDIM().lower(fd.schedules.RectifiedFlow(), 3, prediction="eps")
