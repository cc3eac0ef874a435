"""Gradients of the training operations: against finite differences, and once only."""

import pytest
import torch
from torch.autograd import gradcheck

import fastdiff
from fastdiff import ops
from tests.support.helpers import native_only
from tests.support.training_cases import DRAWING, OPS, call

BACKENDS = [pytest.param("auto", marks=native_only), "reference"]


def check(name, keys):
    case = call(name, (3, 2, 4), torch.float64, keys=keys)
    places = case.differentiated()

    def function(*values):
        arguments = list(case.arguments)
        for k, v in zip(places, values, strict=True):
            arguments[k] = v
        return OPS[name].function(*arguments)

    return gradcheck(function, [case.arguments[k].requires_grad_() for k in places])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", OPS)
def test_finite_differences(name, backend):
    with fastdiff.backend(backend):
        assert check(name, keys=False)
        if name in DRAWING:
            assert check(name, keys=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", OPS)
def test_a_gradient_of_a_gradient_is_refused(name, backend):
    """Not lost silently: the error names the operation."""
    case = call(name, (2, 3), torch.float64, keys=False)
    inputs = [case.arguments[k].requires_grad_() for k in case.differentiated()]
    with fastdiff.backend(backend):
        results = OPS[name].function(*case.arguments)
        total = sum(r.sum() for r in results) if isinstance(results, tuple) else results.sum()
        gradients = torch.autograd.grad(total, inputs, create_graph=True)
        assert all(g.requires_grad for g in gradients)
        with pytest.raises(RuntimeError, match=f"^{name}: expected to be differentiated once"):
            sum(g.square().sum() for g in gradients).backward()


@pytest.mark.parametrize("name", [n for n in OPS if OPS[n].constants])
def test_data_have_no_gradient(name):
    case = call(name, (2, 3))
    if case.arguments[0].is_floating_point():
        case.arguments[0].requires_grad_()
        with pytest.raises(RuntimeError, match="^x: expected a tensor without gradient"):
            OPS[name].function(*case.arguments)


@pytest.mark.parametrize("name", ["mix", "gaussian_sample"])
def test_one_of_two_results_may_be_left_out(name):
    """Its gradient is zero, and nothing is made of it."""
    case = call(name, (3, 4), torch.float64, keys=False)
    places = case.differentiated()
    for k in (0, 1):
        inputs = [case.arguments[p].detach().requires_grad_() for p in places]
        arguments = list(case.arguments)
        for p, v in zip(places, inputs, strict=True):
            arguments[p] = v
        results = OPS[name].function(*arguments)
        got = torch.autograd.grad(results[k].sum(), inputs, retain_graph=True)
        zero = torch.zeros_like(results[1 - k]) * results[1 - k]
        expected = torch.autograd.grad(results[k].sum() + zero.sum(), inputs)
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_a_broadcast_gradient_is_read_in_place():
    """What sum() and mean() hand back has stride 0 and no memory of its own."""
    x, y = torch.randn(2, 3, 4, dtype=torch.float64), torch.zeros(2, 3, 4, dtype=torch.float64)
    x.requires_grad_()
    ops.squared_error(x, y, torch.ones(2, dtype=torch.float64)).sum().backward()
    torch.testing.assert_close(x.grad, 2 * x.detach())
    z, kl = ops.gaussian_sample_kl(x, y, torch.zeros_like(y))
    x.grad = None
    (3 * z.sum() + kl.mean()).backward()
    torch.testing.assert_close(x.grad, 3 + x.detach() / 2)


def test_modes():
    """No graph where none is wanted; in-place changes of what was saved are caught."""
    x, y, w = torch.ones(2, 3, requires_grad=True), torch.zeros(2, 3), torch.ones(2)
    with torch.no_grad():
        assert not ops.squared_error(x, y, w).requires_grad
    assert not ops.squared_error(x.detach(), y, w).requires_grad
    with torch.inference_mode():
        assert ops.squared_error(x, y, w).is_inference()
    loss = ops.squared_error(x, y, w).sum()
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
