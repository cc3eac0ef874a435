"""What SamplerState and sample() refuse, by the name of the argument, with the state as it was."""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import fastdiff as fd
from fastdiff.guidance import CFG
from fastdiff.row import COLUMN
from tests.support.helpers import native_only, same_bits
from tests.support.toy import TABLES, model, start


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


COMPLEX = torch.zeros(3, 7, 5, dtype=torch.complex64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": start().to("meta")}, "^x: expected a tensor in memory, got one on meta"),
        ({"seeds": torch.zeros(3, 2).long().to("meta")}, "^seeds: expected a tensor in memory"),
        ({"noise": torch.zeros(9, 3, 7, 5).to("meta")}, "^noise: expected a tensor in memory"),
        ({"noise": COMPLEX.expand(9, 3, 7, 5)}, "^noise: expected real numbers, got torch.complex"),
        ({"noise": lambda n, shape: COMPLEX}, "^noise: expected real numbers"),
        ({"known": COMPLEX, "mask": start()}, "^known: expected real numbers"),
        ({"known": start().to("meta"), "mask": start()}, "^known: expected a tensor in memory"),
    ],
)
def test_what_cannot_be_read(arguments, message):
    name = "Inpaint" if "known" in arguments else "DDPM"
    solver = fd.solvers.Inpaint(fd.solvers.DDIM()) if name == "Inpaint" else fd.solvers.DDPM()
    table = solver.lower(fd.schedules.VPLinear(), 5)
    with pytest.raises(ValueError, match=message):
        fd.sample(model, arguments.pop("x", start()), table, **arguments)


@pytest.mark.parametrize("seeds", [np.arange(3), np.uint64(2**64 - 1), np.array(5)])
def test_seeds_of_numpy(seeds):
    table = TABLES["DDPM"]
    plain = seeds.tolist()
    assert same_bits(
        fd.sample(model, start(), table, seeds=seeds), fd.sample(model, start(), table, seeds=plain)
    )


@pytest.mark.parametrize("scale", [[], [1.0], [1.0] * 9, torch.ones(2), [2.0] * 2])
def test_scales_of_the_wrong_count(scale):
    """Scales that are all 1 are counted as well, although they mix nothing."""
    with pytest.raises(ValueError, match=r"^scale: expected 3 \(one per sample\), got"):
        fd.sample(model, start(), TABLES["DDIM"], guidance=CFG(scale), cond={})


def test_scales():
    with pytest.raises(ValueError, match="^scale: expected a finite number"):
        CFG(1e39)  # infinite in float32
    with pytest.raises(ValueError, match="^scale: expected a tensor in memory"):
        CFG(torch.ones((), device="meta"))
    with pytest.raises(RuntimeError, match="^scale: expected a tensor without gradient"):
        CFG(torch.ones((), requires_grad=True))


def test_conditions_that_nobody_reads():
    with pytest.raises(ValueError, match="^uncond: expected None without guidance"):
        fd.sample(model, start(), TABLES["DDIM"], uncond={"y": torch.zeros(3)})


@pytest.mark.parametrize("name", ["DDIM", "DDPM"])
def test_values_put_in_between_steps(name):
    """Refused ones leave the state as it was."""
    state = fd.SamplerState(TABLES[name], start())
    state.step(model(state.model_input, state.t))
    before = {name: getattr(state, name).clone() for name in ("x", "keys", "row", "model_input")}
    weighted = start() * torch.ones((), requires_grad=True)
    for put, x in (
        (state.replace, weighted), (lambda x: state.restart(0, x), weighted[0]),
        (state.replace, COMPLEX), (lambda x: state.restart(0, x), COMPLEX[0]),
        (state.replace, start().to("meta")), (lambda x: state.restart(0, x), [1.0]),
        (lambda x: state.restart(0, x), start()[0, 0]), (state.replace, start()[:2]),
    ):  # fmt: skip
        with pytest.raises((ValueError, TypeError, RuntimeError), match="^x: expected"):
            put(x)
    with pytest.raises(TypeError, match="^seed: expected an int"):
        state.restart(0, start()[0], seed=1.5)
    for name, value in before.items():
        assert same_bits(getattr(state, name), value), name


def test_noise_with_a_gradient():
    noise = torch.zeros(9, 3, 7, 5, requires_grad=True)
    with pytest.raises(RuntimeError, match="^noise: expected a tensor without gradient"):
        fd.SamplerState(TABLES["DDPM"], start(), noise=noise)


def without_memory():
    tensor = start()
    tensor.untyped_storage().resize_(0)
    return tensor


def traced():
    with FakeTensorMode():
        return torch.empty(3, 7, 5)


@native_only
@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
@pytest.mark.parametrize("make", [without_memory, traced])
def test_outputs_without_memory(make):
    state = fd.SamplerState(TABLES["DDIM"], start())
    with pytest.raises(ValueError, match="^out: expected a tensor in memory"):
        state.step(make())


@native_only
def test_under_functionalize():
    def run(x):
        state = fd.SamplerState(TABLES["DDIM"], x)
        state.step(x)
        return state.x

    with pytest.raises((ValueError, RuntimeError), match="expected a tensor in memory"):
        torch.func.functionalize(run)(start())


@native_only
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"slot": 3.0}, "^history: expected at least 4 slots"),
        ({"c_s": 3.0}, "^saved: expected a tensor like x"),
        ({"k_known": 1.0}, "^known: expected a tensor like x"),
        ({"slot": float("nan")}, "^history: expected at least"),
    ],
)
def test_rows_that_somebody_has_spoiled(values, message):
    """Rows may be written between steps; what they then need is looked at before it is read."""
    state = fd.SamplerState(TABLES["DDIM"], start())
    for name, value in values.items():
        state.rows[:, COLUMN[name]] = value
    with pytest.raises(ValueError, match=message):
        state.step(start())


def test_prediction_of_the_model():
    class Declared(torch.nn.Module):
        prediction = "v"

        def forward(self, x, t):
            return model(x, t)

    declared, x = Declared(), start()
    eps, v = (
        fd.solvers.DDIM().lower(fd.schedules.VPLinear(), 3, prediction=p) for p in ("eps", "v")
    )
    wrapped = torch.nn.DataParallel(declared)
    compiled = torch.compile(declared, backend="eager")
    for caller in (declared, declared.forward, wrapped, compiled, wrapped.forward):
        for table in (eps, [v, eps, v], (v, v, eps)):
            with pytest.raises(ValueError, match="^table: expected one lowered for prediction='v'"):
                fd.sample(caller, x, table)
    fd.sample(declared, x, v)
    fd.sample(declared.forward, x, v)


def test_tables_that_cannot_be():
    with pytest.raises(ValueError, match="times must decrease"):
        fd.solvers.DDIM().lower(fd.schedules.VPLinear(), None, grid=[1.0, 0.5, 0.7])
    with pytest.raises(ValueError, match='"eps" is undefined at alpha = 0'):
        fd.solvers.DDIM().lower(fd.schedules.RectifiedFlow(), 3, prediction="eps")
