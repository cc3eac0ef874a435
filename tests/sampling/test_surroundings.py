"""Sampling in the surroundings that users make: default dtypes and devices, models with habits,
buffers that somebody else holds or drops."""

import gc
import weakref

import pytest
import torch

import fastdiff as fd
from fastdiff import ops
from fastdiff.guidance import CFG
from tests.support.helpers import native_only, same_bits
from tests.support.toy import TABLES, finish, model, on_backends, start, table_of, use_reference


@pytest.fixture(params=[pytest.param("native", marks=native_only), "reference"], autouse=True)
def backend(request, monkeypatch):
    if request.param == "reference":
        use_reference(monkeypatch)
    return request.param


@pytest.fixture
def defaults():
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


@on_backends
def test_default_dtype_and_device_do_not_matter(name, defaults):
    x, table = start(), TABLES[name]
    options = [{}, {"noise": torch.ones(table.noise_draws, *x.shape)}]
    options.append({"guidance": CFG(2.0), "cond": {}})
    expected = [fd.sample(model, x, table, seeds=[5, 6, 7], **o) for o in options]
    drawn = fd.noise.normal(fd.noise.keys(3, 2), (5,))
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    for wanted, o in zip(expected, options, strict=True):
        assert same_bits(fd.sample(model, x, table, seeds=[5, 6, 7], **o), wanted)
    assert same_bits(fd.noise.normal(fd.noise.keys(3, 2), (5,)), drawn)


@on_backends
def test_a_model_that_writes_to_its_input(name):
    """The state is not the model's input, so a model may use its input as scratch."""

    def scratch(x, t):
        out = model(x, t)
        x.fill_(torch.nan)
        t.zero_()
        return out

    for options in ({}, {"guidance": CFG(2.0), "cond": {}}):
        expected = fd.sample(model, start(), TABLES[name], **options)
        assert same_bits(fd.sample(scratch, start(), TABLES[name], **options), expected)


@on_backends
def test_a_model_that_reuses_its_output(name):
    buffer = torch.empty(3, 7, 5)

    def reusing(x, t):
        return buffer.copy_(model(x, t))

    assert same_bits(
        fd.sample(reusing, start(), TABLES[name]), fd.sample(model, start(), TABLES[name])
    )


@on_backends
def test_nan_stays_in_its_sample(name):
    def sick(x, t):
        out = model(x, t)
        out[1] = torch.nan
        return out

    sample = fd.sample(sick, start(), TABLES[name])
    assert same_bits(sample[::2], fd.sample(model, start(), TABLES[name])[::2])
    assert sample[1].isnan().all()


def test_row_counters_that_somebody_has_spoiled():
    for wrong in (-1, 7, 2**40):
        state = fd.SamplerState(TABLES["DDIM"], start())
        state.row[1] = wrong
        with pytest.raises(ValueError, match=rf"^row: expected .*got {wrong}"):
            state.step(torch.zeros(3, 7, 5))


@native_only
def test_the_executor_keeps_its_buffers():
    table = table_of("UniPC", 4)
    state = fd.SamplerState(table, start(), guidance=CFG(2.0), noise=torch.zeros(0, 3, 7, 5))
    expected = finish(fd.SamplerState(table, start(), guidance=CFG(2.0)))
    held = [weakref.ref(v) for v in (state.model_input, state.t, state.row, state.rows, state.keys)]
    model_input, t, executor = state.model_input, state.t, state._execute
    x = state.x
    del state
    gc.collect()
    if ops.native is not None:
        assert all(ref() is not None for ref in held)
    for _ in range(table.nfe):
        executor(model(model_input, t))
    assert same_bits(x, expected)


def test_long_runs(backend):
    """Many steps, staggered, without drift between the host's count and the rows."""
    steps = 1000 if backend == "native" else 100
    tables = [table_of("DDPM", steps), table_of("DDIM", steps // 3)]
    state = fd.SamplerState(tables, start(2), seeds=[1, 2])
    for k in range(steps):
        state.step(model(state.model_input, state.t))
        if k == steps // 2 - 1:
            state.restart(1, start(2)[1], seed=2)
    assert state.done and state.row.tolist() == state.row_index.tolist()
    assert same_bits(state.x[:1], fd.sample(model, start(2)[:1], tables[0], seeds=[1]))
    assert same_bits(state.x[1:], fd.sample(model, start(2)[1:], tables[1], seeds=[2]))
