"""The training operations as torch sees them: schemas, fakes, registered gradients, compilation."""

import pytest
import torch

import fastdiff
from fastdiff.ops.library import LIBRARY, REFERENCE
from tests.ops.test_library import UTILS
from tests.support.helpers import same_bits
from tests.support.training_cases import DTYPES, OPS, call

EXTRA = {"squared_error": (0.5,), "discretised_gaussian": (17,), "discretised_logistic": (17,)}


def raw(case, requires_grad=False):
    """What torch.ops takes: all of the shape of the first, then numbers."""
    places = case.differentiated() if requires_grad else []
    tensors = [v.detach().requires_grad_(k in places) for k, v in enumerate(case.arguments)]
    return (*tensors, *EXTRA.get(case.name, ()))


@pytest.mark.covered(times=2)
@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 4)])
@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("library", [LIBRARY, REFERENCE], ids=lambda library: library.ns)
def test_opcheck(library, name, shape):
    operator = getattr(getattr(torch.ops, library.ns), name).default
    for keys, grad in ((True, True), (False, True), (True, False)):
        arguments = raw(call(name, shape, keys=keys), requires_grad=grad)
        torch.library.opcheck(operator, arguments, test_utils=UTILS)


@pytest.mark.covered(times=2)
@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_opcheck_of_gradients(name, dtype):
    case = call(name, (2, 3), dtype)
    arguments = raw(case)
    results = getattr(torch.ops.fastdiff, name)(*arguments)
    results = results if isinstance(results, tuple) else (results,)
    cotangents = [torch.ones_like(r) for r in results]
    wanted = [k in case.differentiated() for k in range(len(case.arguments))]
    operator = getattr(torch.ops.fastdiff, f"{name}_grad").default
    for mask in (wanted, [False] * len(wanted)):
        torch.library.opcheck(operator, (*cotangents, *arguments, mask), test_utils=UTILS)
    if len(results) > 1:
        torch.library.opcheck(operator, (None, cotangents[1], *arguments, wanted), test_utils=UTILS)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("name", OPS)
def test_compiled(name, backend):
    """Public functions trace without a graph break, forwards and backwards, to the same bits."""
    torch._dynamo.reset()

    def work(*arguments):
        results = OPS[name].function(*arguments)
        return results if isinstance(results, tuple) else (results,)

    compiled = torch.compile(work, fullgraph=True, backend=backend)
    for batch in (3, 5):
        case = call(name, (batch, 6))
        expected = case.run()
        inputs = [v.detach().requires_grad_(k in case.differentiated())
                  for k, v in enumerate(case.arguments)]  # fmt: skip
        results = compiled(*inputs)
        cotangents = [case.cotangents().reshape(-1, *[1] * (r.dim() - 1)).to(r).expand_as(r)
                      for r in results]  # fmt: skip
        made = torch.autograd.grad(results, [inputs[k] for k in case.differentiated()], cotangents)
        assert all(map(same_bits, [*(r.detach() for r in results), *made], expected))


@pytest.mark.parametrize("name", OPS)
def test_the_registered_gradient_is_that_of_the_function(name):
    """torch.ops goes another way through autograd than the functions do."""
    case = call(name, (3, 5))
    arguments = raw(case, requires_grad=True)
    results = getattr(torch.ops.fastdiff, name)(*arguments)
    results = results if isinstance(results, tuple) else (results,)
    if name == "squared_error":  # with the scale of raw()
        case.arguments[2] = case.arguments[2] * 0.5
    expected = case.run()
    cotangents = [case.cotangents().reshape(-1, *[1] * (r.dim() - 1)).to(r).expand_as(r)
                  for r in results]  # fmt: skip
    made = torch.autograd.grad(results, [arguments[k] for k in case.differentiated()], cotangents)
    scale = {2: 0.5} if name == "squared_error" else {}
    for k, a, b in zip(case.differentiated(), made, expected[len(results) :], strict=True):
        assert same_bits(a, b * scale.get(k, 1))


def test_fake_and_meta_tensors():
    for name in OPS:
        case = call(name, (3, 4), torch.bfloat16)
        meta = case.changed(lambda v: v.to("meta"))
        for a, b in zip(meta.run(), case.run(), strict=True):
            assert a.is_meta and a.shape == b.shape and a.dtype == b.dtype


def test_the_chosen_backend_runs():
    """Its normals are rounded differently in some places."""
    case = call("mix", (3, 50_000))
    with fastdiff.backend("reference"):
        expected = case.run()
    assert not all(map(same_bits, case.run(), expected)) or fastdiff.ops.native is None
