"""Choosing a backend: by name, for a while, with an answer to who would run."""

import sys

import pytest
import torch
from helpers import native_only, run_python, same_bits
from step_cases import Case, assert_same, random_rows

import fastdiff as fd
from fastdiff import noise, ops
from fastdiff.ops import select


def ones(batch=2):
    return torch.ones(batch, 3), noise.keys(0, batch)


def counted(monkeypatch, namespace):
    """A list that grows with every call of an operator of that namespace."""
    calls, find = [], ops.noise.operation

    def operation(name, device):
        op = find(name, device)
        if op.__module__.endswith(namespace) or op._qualified_op_name.startswith(f"{namespace}::"):
            calls.append(name)
        return op

    monkeypatch.setattr(ops.noise, "operation", operation)
    return calls


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


@native_only
def test_other_devices_are_refused():
    x, keys = ones()
    with fd.backend("cpu"), pytest.raises(ValueError, match="^backend: 'cpu' serves .* on meta|^b"):
        fd.backend_of("cuda")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(select.MISSING, "cuda", "")
        with fd.backend("cuda"), pytest.raises(ValueError, match="'cuda' serves tensors on cuda, g"):
            ops.normal(keys, (3,))


def test_the_reference_is_chosen():
    """Every function of ops runs the reference: float64 arithmetic, one rounding."""
    keys = noise.keys(1, 2)
    expected = torch.empty(2, 500)
    ops.reference.normal_(expected, keys)
    with fd.backend("reference"):
        assert same_bits(ops.normal(keys, (500,)), expected)
    rows = random_rows(2, 0.0, torch.Generator().manual_seed(0), slots=0)
    case = Case({"x": torch.ones(2, 5), "row": torch.zeros(2).long(), "rows": rows,
                 "outputs": [torch.full((2, 5), 0.1)], "keys": keys,
                 "saved": torch.ones(2, 5), "z": torch.ones(2, 5), "z_prev": torch.ones(2, 5)})  # fmt: skip
    expected = case.copy().run(ops.reference.step_)
    with fd.backend("reference"):
        for done in (case.copy(), case.copy()):
            buffers = {k: v for k, v in done.arguments.items() if k not in ("outputs", "gain")}
            if done is case:
                ops.step_(**done.arguments)
            ops.bind(**buffers)(done.outputs[0])
            assert_same(done, expected)


@native_only
def test_a_state_keeps_its_backend(monkeypatch):
    table = fd.solvers.DDIM().lower(fd.schedules.VPLinear(), 2)
    with fd.backend("reference"):
        state = fd.SamplerState(table, torch.ones(1, 3))
    calls = []
    original = ops.reference.step_
    monkeypatch.setattr(ops.native, "Executor", None)
    state.step(torch.ones(1, 3))
    assert not calls and original is ops.reference.step_


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
    assert "triton" not in sys.modules or sys.modules["triton"] is not None
