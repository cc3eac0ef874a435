"""SamplerState and sample(): what they accept, leave alone and call back."""

import copy
import pickle
import sys

import numpy as np
import pytest
import torch

import fastdiff as fd
from tests.support.helpers import assert_within, same_bits
from tests.support.toy import SOLVERS, TABLES, Counting, finish, model, start, table_of

every_solver = pytest.mark.parametrize("name", SOLVERS)
HALF = [torch.bfloat16, torch.float16]


@every_solver
def test_the_initial_state_is_left_alone(name):
    for dtype in (torch.float32, torch.float64, *HALF):
        x = start(dtype=dtype)
        before = x.clone()
        fd.sample(model, x, TABLES[name])
        assert same_bits(x, before)


@every_solver
@pytest.mark.parametrize("dtype", HALF)
def test_half_precision_is_that_of_the_model(name, dtype):
    """The state is float32; the model sees and returns x's dtype."""
    x = start(dtype=dtype)
    seen = Counting()
    sample = fd.sample(seen, x, TABLES[name])
    assert sample.dtype == torch.float32
    assert all(y.dtype == dtype and t.dtype == torch.float32 for y, t, _ in seen.calls)
    same = fd.sample(model, x.float(), TABLES[name], model_dtype=dtype)
    assert same_bits(sample, same)

    def upcast(y, t):
        return model(y.to(dtype), t).float()

    assert same_bits(sample, fd.sample(upcast, x.float(), TABLES[name]))


@every_solver
def test_float64(name):
    x = start(dtype=torch.float64)
    seen = Counting()
    sample = fd.sample(seen, x, TABLES[name])
    assert sample.dtype == torch.float64
    assert all(y.dtype == t.dtype == torch.float64 for y, t, _ in seen.calls)
    single = fd.sample(model, x.float(), TABLES[name])
    assert_within(single, sample, 1e-4 * float(sample.abs().max()))
    narrow = Counting()
    fd.sample(narrow, x, TABLES[name], model_dtype=torch.float32)
    assert all(y.dtype == t.dtype == torch.float32 for y, t, _ in narrow.calls)


@every_solver
def test_what_the_model_is_asked(name):
    """The state, scaled, and the model's time, of each level of the table."""
    table, seen = TABLES[name], Counting()
    states = []

    def callback(state):
        states.append(state.x.clone())

    x = start()
    fd.sample(seen, x, table, callback=callback)
    assert len(seen) == len(states) == table.nfe
    for k, (y, t, _) in enumerate(seen.calls):
        state = x if k == 0 else states[k - 1]
        assert same_bits(y, state * np.float32(table.levels[k + 1, 3]))
        assert t.tolist() == [np.float32(table.model_t[k])] * 3


@every_solver
def test_layout_of_the_initial_state(name):
    x = start(2, (3, 8, 5))
    expected = fd.sample(model, x, TABLES[name])
    assert same_bits(
        fd.sample(model, x.to(memory_format=torch.channels_last), TABLES[name]), expected
    )
    assert same_bits(fd.sample(model, x.mT.contiguous().mT, TABLES[name]), expected)
    one = fd.sample(model, x[:1].expand(2, 3, 8, 5), TABLES[name], seeds=[0, 0])
    assert same_bits(one[0], expected[0]) and same_bits(one[1], expected[0])


@every_solver
def test_layout_of_the_outputs(name):
    x, table = start(2, (3, 8, 5)), TABLES[name]
    expected = fd.sample(model, x, table)
    for change in (
        lambda out: out.to(memory_format=torch.channels_last),
        lambda out: torch.cat((out, out), dim=1)[:, :3],
        lambda out: out.mT.contiguous().mT,
        lambda out: torch._neg_view(-out),
        lambda out: torch.nn.Parameter(out, requires_grad=False),
        lambda out: [out],
        lambda out: (out,),
    ):
        assert same_bits(fd.sample(lambda x, t, f=change: f(model(x, t)), x, table), expected)


@every_solver
@pytest.mark.parametrize("view", ["itself", "first sample", "transposed"])
def test_a_model_that_returns_its_input(name, view):
    x = start(40, (40,))
    views = {
        "itself": lambda x: x,
        "first sample": lambda x: x[:1].expand_as(x),
        "transposed": lambda x: x.T,
    }
    expected = fd.sample(lambda x, t: views[view](x).clone(), x, TABLES[name])
    try:
        sample = fd.sample(lambda x, t: views[view](x), x, TABLES[name])
    except ValueError as error:
        assert view != "itself" and "out: expected memory of its own" in str(error)
    else:
        assert same_bits(sample, expected)


@every_solver
def test_callback_and_replace(name):
    """Editing the state between steps is what a loop by hand would do; buffers keep their place."""
    table, x = TABLES[name], start()
    places = []

    def callback(state):
        places.append((state.x.data_ptr(), state.model_input.data_ptr(), state.t.data_ptr()))
        state.replace(state.x.clamp(-1, 1))
        assert state.x.abs().max() <= 1

    sample = fd.sample(model, x, table, callback=callback)
    assert len(set(places)) == 1 and len(places) == table.nfe
    state = fd.SamplerState(table, x)
    while not state.done:
        state.step(model(state.model_input, state.t))
        scale = table.levels[int(state.row_index[0]), 3] if not state.done else 0.0
        state.x = state.x.clamp(-1, 1)
        assert same_bits(state.model_input, state.x * np.float32(scale))
    assert same_bits(sample, state.x) and sample.abs().max() <= 1


def test_assigning_the_state_is_replacing_it():
    state = fd.SamplerState(TABLES["DDIM"], start())
    address = state.x.data_ptr()
    state.x = torch.ones(3, 7, 5, dtype=torch.float64)
    assert state.x.data_ptr() == address and (state.x == 1).all()
    for wrong in (torch.ones(2, 7, 5), torch.ones(3, 7), 3, None):
        with pytest.raises((ValueError, TypeError), match="^x: expected"):
            state.x = wrong
        with pytest.raises((ValueError, TypeError), match="^x: expected"):
            state.replace(wrong)


@every_solver
def test_done(name):
    """Exactly nfe steps; one more is an error that changes nothing."""
    state = fd.SamplerState(TABLES[name], start())
    for _ in range(TABLES[name].nfe):
        assert not state.done
        state.step(torch.zeros(3, 7, 5))
    assert state.done
    before = state.x.clone()
    for out in (torch.ones(3, 7, 5), None):
        with pytest.raises(RuntimeError, match="^step: expected an unfinished sample"):
            state.step(out)
    assert same_bits(state.x, before)


def test_place():
    tables = [table_of("DDIM", 2), table_of("DDIM", 4)]
    state = fd.SamplerState(tables, start(2))
    places = [state.row_index.tolist()]
    while not state.done:
        state.step(torch.zeros(2, 7, 5))
        places.append(state.row_index.tolist())
        assert state.row.tolist() == places[-1]
    assert places == [[1, 5], [2, 6], [3, 7], [3, 8], [3, 9]]


def test_progress(capsys):
    """One tick for each evaluation of the model."""
    fd.sample(model, start(), TABLES["Heun"], progress=True)
    nfe = TABLES["Heun"].nfe
    assert f"{nfe}/{nfe}" in capsys.readouterr().err


def test_progress_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match="^progress: needs tqdm; pip install"):
        fd.sample(model, start(), TABLES["DDIM"], progress=True)


def test_model_errors_pass_through():
    def broken(x, t):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fd.sample(broken, start(), TABLES["DDIM"], progress=True)


def test_states_do_not_share_anything():
    """Two states of one table, stepped in turn."""
    x = start()
    for name in SOLVERS:
        one, two = (fd.SamplerState(TABLES[name], x, seeds=s) for s in (1, 5))
        while not one.done:
            one.step(model(one.model_input, one.t))
            two.step(model(two.model_input, two.t))
        assert same_bits(one.x, fd.sample(model, x, TABLES[name], seeds=1))
        assert same_bits(two.x, finish(fd.SamplerState(TABLES[name], x, seeds=5)))


@every_solver
@pytest.mark.parametrize("noise", ["philox", "torch", "brownian", "generator"])
@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))], ids=["copied", "pickled"]
)
def test_a_copy_goes_its_own_way(name, noise, duplicate):
    """Made in the middle: it ends as the original does, and neither moves the other."""
    source = torch.Generator().manual_seed(4) if noise == "generator" else noise
    try:
        state = fd.SamplerState(TABLES[name], start(), noise=source)
    except ValueError as error:
        assert noise == "brownian" and "brownian" in str(error)
        pytest.skip(str(error))
    state.step(model(state.model_input, state.t))
    other = duplicate(state)
    for attribute in ("x", "model_input", "t", "row", "keys"):
        theirs = getattr(other, attribute)
        assert same_bits(theirs, getattr(state, attribute))
        assert theirs.data_ptr() != getattr(state, attribute).data_ptr()
    samples = []
    for one in (other, state):
        torch.manual_seed(9)
        samples.append(finish(one))
    assert same_bits(*samples)
