"""The ops as torch sees them: schema, fake implementations, compilation."""

import pytest
import torch
from hypothesis import assume, given, settings

from fastdiff import noise, ops
from tests.support.helpers import native_only, same_bits
from tests.support.step_cases import MUTATED, cases
from tests.support.training_cases import OPS as TRAINING

OPS = torch.ops.fastdiff
UTILS = (
    "test_schema",
    "test_autograd_registration",
    "test_faketensor",
    "test_aot_dispatch_dynamic",
)


def test_every_op_is_tested_here():
    """And in test_training_library.py."""
    tested = {"step_", "normal_", "moments_", *TRAINING, *(f"{name}_grad" for name in TRAINING)}
    names = torch._C._dispatch_get_all_op_names()
    assert {name.split("::")[1] for name in names if name.startswith("fastdiff::")} == tested


@settings(max_examples=12)
@given(case=cases())
def test_opcheck_step(case):
    assume(case.x.numel())  # its own copies of empty strided tensors fail
    torch.library.opcheck(OPS.step_.default, case.copy().positional, test_utils=UTILS)


@pytest.mark.parametrize("shape", [(3, 5), (0, 4), (2, 0), (2, 3, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_opcheck_normal(shape, dtype):
    arguments = (torch.zeros(shape, dtype=dtype), noise.keys(0, shape[0]))
    torch.library.opcheck(OPS.normal_.default, arguments, test_utils=UTILS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_opcheck_moments(dtype):
    arguments = (torch.zeros(2, 5).double(), torch.ones(2, 7).to(dtype), torch.ones(2, 7).to(dtype))
    torch.library.opcheck(OPS.moments_.default, arguments, test_utils=UTILS)


def sampling_step(*arguments):
    OPS.step_(*arguments)
    return 2 * arguments[0]


@native_only
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@settings(max_examples=5)
@given(case=cases())
def test_compiled_step(backend, case):
    torch._dynamo.reset()
    eager, compiled = case.copy(), case.copy()
    expected = sampling_step(*eager.positional)
    run = torch.compile(sampling_step, fullgraph=True, backend=backend)
    assert same_bits(run(*compiled.positional), expected)
    for name in MUTATED:
        assert same_bits(getattr(compiled, name), getattr(eager, name))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_public_ops(backend):
    """The functions of fastdiff.ops trace without a graph break, for changing batch sizes too."""
    torch._dynamo.reset()

    def work(keys, a):
        z = ops.normal(keys, (5,))
        return ops.moments(a * z, z), z

    compiled = torch.compile(work, fullgraph=True, backend=backend, dynamic=True)
    for batch in (2, 3, 7):
        keys, a = noise.keys(batch, batch), torch.ones(batch, 5)
        for got, expected in zip(compiled(keys, a), work(keys, a), strict=True):
            assert same_bits(got, expected)


def test_fake_tensors_and_meta():
    with torch._subclasses.FakeTensorMode():
        z = ops.normal(torch.zeros(3, 2, dtype=torch.int64), (4,), dtype=torch.bfloat16)
        assert z.shape == (3, 4) and z.dtype == torch.bfloat16
        assert ops.moments(z, z).shape == (3, 5)
    assert ops.normal(torch.zeros(3, 2, dtype=torch.int64, device="meta"), (4,)).is_meta
