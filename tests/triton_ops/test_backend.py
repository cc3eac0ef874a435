"""Choosing a backend: by name, for a while, with an answer to who would run."""

import pytest
import torch

import fastdiff as fd
from fastdiff import noise, ops
from fastdiff.ops import select
from fastdiff.ops.operands import BOUND
from tests.support.helpers import native_only, run_python, same_bits
from tests.support.step_cases import Case, random_rows


@pytest.fixture
def reference_calls(monkeypatch):
    """A list that grows whenever the reference computes."""
    calls = []
    for name in ("_mix", "normals"):
        original = getattr(ops.reference, name)

        def counting(*arguments, original=original, name=name):
            calls.append(name)
            return original(*arguments)

        monkeypatch.setattr(ops.reference, name, counting)
    return calls


def step_case():
    rows = random_rows(2, 0.0, torch.Generator().manual_seed(0), slots=0)
    x = torch.ones(2, 5)
    like = {name: x.clone() for name in ("x", "saved", "z", "z_prev", "model_input")}
    return Case({"row": torch.zeros(2, dtype=torch.int64), "rows": rows, "outputs": [x / 3],
                 "keys": noise.keys(0, 2), "t": torch.zeros(2), **like})  # fmt: skip


@native_only
def test_default_of_the_cpu_is_native():
    assert fd.backend_of("cpu") == "cpu" == fd.backend_of(torch.device("cpu"))


@pytest.mark.parametrize(
    ("kind", "cuda", "triton", "expected"),
    [
        ("cuda", True, True, "cuda"),
        ("cuda", False, True, "triton"),  # ROCm calls its devices so, too
        ("cuda", False, False, "reference"),
        ("xpu", True, True, "triton"),
        ("xpu", True, False, "reference"),
        ("mps", True, True, "reference"),
        ("meta", True, True, "reference"),
    ],
)
def test_defaults(kind, cuda, triton, expected, monkeypatch):
    monkeypatch.setattr(select, "HAS_CUDA", cuda)
    monkeypatch.setattr(select, "HAS_TRITON", triton)
    assert fd.backend_of(kind) == expected


def test_for_a_while_and_nested():
    before = fd.backend_of("cpu")
    with fd.backend("reference"):
        assert fd.backend_of("cpu") == fd.backend_of("cuda") == "reference"
        with fd.backend("auto"):
            assert fd.backend_of("cpu") == before
        with pytest.raises(KeyError), fd.backend("auto"):
            raise KeyError
        assert fd.backend_of("cpu") == "reference"
    assert fd.backend_of("cpu") == before


@pytest.mark.parametrize("name", ["gpu", "", None, "CPU", 3])
def test_unknown(name):
    with pytest.raises(ValueError, match=r'^backend: expected one of "auto", "cpu", .*, got'):
        fd.backend(name)


@pytest.mark.parametrize("name", ["cpu", "cuda", "triton"])
def test_what_is_missing_is_named(name, monkeypatch):
    monkeypatch.setitem(select.MISSING, name, "pip install it")
    with pytest.raises(RuntimeError, match=f"^backend: '{name}' is not available: pip install it"):
        fd.backend(name)


def test_without_triton():
    """Nothing needs it, and who asks for it is told what to install."""
    program = (
        "import sys; sys.modules['triton'] = None\n"
        "import importlib.util as u; u.find_spec = lambda name: None\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        "import fastdiff as fd\n"
        "assert 'triton' not in fd.build_info()['backends'], 'listed'\n"
        "fd.backend('triton')"
    )
    done = run_python("-c", program)
    assert done.returncode == 1
    assert "pip install 'fastdiff[triton]'" in done.stderr, done.stderr


def test_importing_fastdiff_does_not_import_triton():
    program = "import sys, torch; before = set(sys.modules); import fastdiff; print('triton' in "
    done = run_python("-W", "ignore", "-c", program + "set(sys.modules) - before)")
    assert done.stdout.strip() == "False", done.stderr


def test_other_devices_are_refused(monkeypatch):
    for name, other in (("cpu", "cuda"), ("cuda", "cpu")):
        monkeypatch.setitem(select.MISSING, name, "")
        message = f"^backend: '{name}' serves tensors on {name}, got one on {other}"
        with fd.backend(name), pytest.raises(ValueError, match=message):
            fd.backend_of(other)
    with fd.backend("cuda"), pytest.raises(ValueError, match="got one on cpu"):
        ops.normal(noise.keys(0, 1), (3,))


def normal():
    ops.normal(noise.keys(0, 1), (3,))


def step():
    case = step_case()
    ops.step_(**case.arguments)


def bound():
    case = step_case()
    buffers = {k: v for k, v in case.arguments.items() if k in BOUND}
    ops.bind(**buffers)(case.outputs[0])


@native_only
@pytest.mark.parametrize("work", [normal, step, bound])
def test_the_reference_is_chosen(work, reference_calls):
    work()
    assert not reference_calls
    with fd.backend("reference"):
        work()
    assert reference_calls


@native_only
def test_a_state_keeps_its_backend(reference_calls):
    table = fd.solvers.DDIM().lower(fd.schedules.VPLinear(), 2)
    states = [fd.SamplerState(table, torch.ones(1, 3))]
    with fd.backend("reference"):
        states.append(fd.SamplerState(table, torch.ones(1, 3)))
        reference_calls.clear()
        states[0].step(torch.ones(1, 3))
    assert not reference_calls
    states[1].step(torch.ones(1, 3))
    assert reference_calls


@pytest.mark.parametrize("compiler", ["eager", "aot_eager"])
def test_compiled_code_follows_the_choice(compiler):
    """fullgraph: no graph break; another backend is another graph, not a stale one."""
    torch._dynamo.reset()

    def work(keys, a):
        z = ops.normal(keys, (400,))
        return z, ops.moments(a * z, z)

    compiled = torch.compile(work, fullgraph=True, backend=compiler)
    keys, a = noise.keys(3, 2), torch.ones(2, 400)
    for name in ("auto", "reference", "auto"):
        with fd.backend(name):
            for got, expected in zip(compiled(keys, a), work(keys, a), strict=True):
                assert same_bits(got, expected)


def test_triton_ops_trace():
    """Fake tensors: shapes without kernels, so graphs can be made where no GPU is."""
    pytest.importorskip("triton")
    with fd.backend("triton"), torch._subclasses.FakeTensorMode():
        z = ops.normal(torch.zeros(3, 2, dtype=torch.int64), (4,))
        assert z.shape == (3, 4) and ops.moments(z, z).shape == (3, 5)
