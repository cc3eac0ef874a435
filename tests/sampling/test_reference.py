"""Native sampling against the same loop on the reference, and fastdiff without native code."""

import numpy as np
import pytest
import torch

import fastdiff as fd
from fastdiff.guidance import CFG
from tests.support.helpers import assert_within, native_only, run_python
from tests.support.toy import KINDS, SOLVERS, TABLES, finish, model, start, table_of, use_reference

pytestmark = native_only


def run_of(name, kind):
    """The initial state and the options of one solver's samples."""
    table, x = TABLES[name], start(3, (7, 41))
    return {
        "float32": (x, {}),
        "float64": (x.double(), {}),
        "guided": (x, {"guidance": CFG([2.0, 0.0, -1.0])}),
        "bfloat16": (x.bfloat16(), {}),
        "given noise": (x, {"noise": torch.ones(table.noise_draws, *x.shape)}),
    }[kind]


every_run = pytest.mark.parametrize(
    "kind", ["float32", "float64", "guided", "bfloat16", "given noise"]
)


@pytest.mark.covered(times=1)
@every_run
@pytest.mark.parametrize("name", SOLVERS)
def test_native_sampling_is_the_reference(name, kind, monkeypatch):
    """Every step within rounding of the reference, started from the same state."""
    x, options = run_of(name, kind)
    native = fd.SamplerState(TABLES[name], x, seeds=3, **options)
    use_reference(monkeypatch)
    plain = fd.SamplerState(TABLES[name], x, seeds=3, **options)
    unit = 2.0**-53 if x.dtype == torch.float64 else 2.0**-24
    noise_error = 2e-6 if TABLES[name].stochastic and "noise" not in options else 0.0
    while not native.done:
        out = model(native.model_input, native.t)
        for state in (native, plain):
            state.step(out)
        size = 1 + float(plain.x.abs().max())
        bound = (64 * unit + noise_error) * size
        assert_within(native.x, plain.x, bound, f"{kind} x")
        half = 2 * torch.finfo(native.model_input.dtype).eps
        assert_within(native.model_input, plain.model_input, bound + half * size, kind)
        assert torch.equal(native.t, plain.t) and torch.equal(native.row, plain.row)
        plain.x.copy_(native.x)
        for buffer in ("saved", "history"):
            mine, other = getattr(native.buffers, buffer), getattr(plain.buffers, buffer)
            if mine is not None:
                assert_within(mine, other, bound, buffer)
                other.copy_(mine)
    assert plain.done


@pytest.mark.covered(times=1)
@every_run
@pytest.mark.parametrize("name", SOLVERS)
def test_whole_runs_on_the_reference(name, kind, monkeypatch):
    x, options = run_of(name, kind)
    if kind == "guided":
        options["cond"] = {}  # the model needs no condition
    expected = fd.sample(model, x, TABLES[name], seeds=3, **options)
    use_reference(monkeypatch)
    sample = fd.sample(model, x, TABLES[name], seeds=3, **options)
    error = {"float64": 1e-5, "bfloat16": 0.1}.get(kind, 1e-4)
    assert_within(sample, expected, error * float(sample.abs().max()), kind)


def test_mixed_batch_on_the_reference(monkeypatch):
    tables = [table_of(name, 2 + k) for k, name in enumerate(SOLVERS)]
    x = start(len(tables))
    expected = fd.sample(model, x, tables, seeds=3)
    use_reference(monkeypatch)
    sample = finish(fd.SamplerState(tables, x, seeds=3))
    assert_within(sample, expected, 1e-4 * float(expected.abs().max()))


WITHOUT_NATIVE = """
import sys, warnings
sys.modules["fastdiff._C"] = None
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import fastdiff as fd
ours = [w for w in caught if "fastdiff" in str(w.message)]
assert [w.category for w in ours] == [RuntimeWarning], [str(w.message) for w in ours]
assert "native module is not available" in str(ours[0].message)
assert not fd.build_info()["native"]
warnings.simplefilter("error")
import numpy as np
from tests.support.toy import KINDS, TABLES, model, start
from fastdiff.guidance import CFG
results = {}
for name in KINDS:
    table = TABLES[name]
    results[name] = fd.sample(model, start(), table, seeds=7).numpy()
    results[name + " guided"] = fd.sample(model, start(), table, guidance=CFG(2.0), cond={}).numpy()
    fd.sample(model, start(0), table, guidance=CFG(2.0), cond={})
    fd.sample(model, start(2, (0,)), table)
results["normals"] = fd.noise.normal(fd.noise.keys(3, 4), (9,)).numpy()
a = fd.noise.normal(fd.noise.keys(0, 2), (50,))
results["moments"] = fd.ops.moments(a[:1], a[1:]).numpy()
np.savez(sys.argv[1], **results)
state = fd.SamplerState(TABLES["DDIM"], start())
for bad in (None, [], fd.noise.normal(fd.noise.key(0), (2, 2)), 3):
    try:
        state.step(bad)
    except (ValueError, TypeError) as error:
        assert str(error).startswith("out: expected"), error
    else:
        raise AssertionError(f"accepted {bad!r}")
"""


def test_package_without_native_code(tmp_path):
    """It warns once, and makes the same samples up to rounding; errors are the same, too."""
    file = tmp_path / "samples.npz"
    done = run_python("-c", WITHOUT_NATIVE, file)
    assert done.returncode == 0, done.stderr[-3000:]
    results = np.load(file)
    for name in KINDS:
        table = TABLES[name]
        for label, options in (("", {"seeds": 7}), (" guided", {"guidance": CFG(2.0), "cond": {}})):
            sample = fd.sample(model, start(), table, **options)
            assert_within(results[name + label], sample, 1e-4 * float(sample.abs().max()), name)
    assert_within(results["normals"], fd.noise.normal(fd.noise.keys(3, 4), (9,)), 1e-6)
    a = fd.noise.normal(fd.noise.keys(0, 2), (50,))
    assert_within(results["moments"], fd.ops.moments(a[:1], a[1:]), 1e-5)
