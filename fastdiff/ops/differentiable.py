"""Operations with a gradient: ``<name>`` and ``<name>_grad``, registered together.

``<name>_grad`` takes the gradients of the results (None for one that has none), the arguments of
``<name>``, and of each tensor among them whether its gradient is wanted; it returns those that are.
Both are pure functions; neither keeps anything but its arguments. Gradients of gradients are
refused.
"""

import torch
from torch._C import _AutoDispatchBelowAutograd as below_autograd
from torch.compiler import is_compiling

from . import reference, triton
from .library import LIBRARIES, define
from .select import namespace


def differentiable(schema: str, gradients: str, forward, backward, results: str, like: int = 0):
    """Register an operation and its gradient on every backend.

    Args:
        schema: of the operation; its tensors come first.
        gradients: the gradients that ``<name>_grad`` takes, as a schema writes them.
        forward, backward: both in plain PyTorch on float64 tensors, normals in place of keys;
            ``backward`` returns the gradient of every tensor, None for one that has none.
        results: "x" or "s" for each result: like tensor number ``like``, or a sum of each of its
            samples.
    """
    name, arguments = schema.split(" -> ")[0].rstrip(")").split("(")
    names = [argument.split(" ")[1] for argument in arguments.split(", ")]
    tensors = arguments.count("Tensor")
    noise = names.index("noise") if "noise" in names else None

    def result(kind, tensor):
        if kind == "x":
            return torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
        dtype = torch.float64 if tensor.dtype == torch.float64 else torch.float32
        return torch.empty(tensor.shape[:1], dtype=dtype, device=tensor.device)

    def made(arguments):
        return tuple(result(kind, arguments[like]) for kind in results)

    def wide(arguments):
        """The arguments in the reference's precision, with the normals that keys stand for."""
        arguments = list(arguments)
        if noise is not None:
            arguments[noise] = reference.drawn(arguments[noise], arguments[like])
        return [
            reference.widened(v) if isinstance(v, torch.Tensor) and v.is_floating_point() else v
            for v in arguments
        ]

    def single(values):
        return values[0] if len(results) == 1 else values

    def fake(*arguments):
        return single(made(arguments))

    def kernel(*arguments):
        values = forward(*wide(arguments))
        rounded = [v.to(to.dtype) for v, to in zip(values, made(arguments), strict=True)]
        return single(tuple(rounded))

    def fake_grad(*arguments):
        inputs, wanted = arguments[len(results) : -1], arguments[-1]
        return [
            torch.empty(v.shape, dtype=v.dtype, device=v.device)
            for v, want in zip(inputs[:tensors], wanted, strict=True)
            if want
        ]

    def kernel_grad(*arguments):
        count = len(results)
        of, inputs, wanted = arguments[:count], arguments[count:-1], arguments[-1]
        zero = reference.widened(torch.zeros((), device=inputs[like].device))
        gradients = (zero if g is None else reference.widened(g) for g in of)
        values = backward(*gradients, *wide(inputs))
        asked = zip(values, inputs[:tensors], wanted, strict=True)
        return [value.expand_as(v).to(v.dtype, copy=True) for value, v, want in asked if want]

    define(schema, kernel, fake, triton.training(name))
    schema_grad = f"{name}_grad({gradients}, {arguments}, bool[] wanted) -> Tensor[]"
    define(schema_grad, kernel_grad, fake_grad, triton.training(f"{name}_grad"))
    functions = {
        library.ns: _register(library, name, tensors, len(results)) for library in LIBRARIES
    }

    def run(*arguments):
        operator, function, apply = functions[namespace(arguments[like].device)]
        if is_compiling():
            return operator(*arguments)
        if torch.is_grad_enabled():
            for tensor in arguments[:tensors]:
                if tensor.requires_grad:
                    if torch._C._are_functorch_transforms_active():
                        return function.apply(*arguments)
                    return apply(*arguments)
        with below_autograd():
            return operator(*arguments)

    return run


def _register(library, name: str, tensors: int, results: int):
    """Autograd of ``name`` by the same backend's ``<name>_grad``: registered, and as a function of
    its own, which is 20 us faster than the way through the registration."""
    operators = getattr(torch.ops, library.ns)
    operator, gradient = (getattr(operators, n).default for n in (name, f"{name}_grad"))
    # Without OpOverload's own frame around each call.
    call, call_gradient = operator._op, gradient._op

    def setup_context(ctx, inputs, output):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[:tensors])
        ctx.others = inputs[tensors:]

    def backward(ctx, *of):
        needs, saved = ctx.needs_input_grad, ctx.saved_tensors
        if of[0] is None and of[-1] is None:  # one or two
            return (None,) * len(needs)
        with below_autograd():
            made = call_gradient(*of, *saved, *ctx.others, needs[:tensors])
        if torch.is_grad_enabled():  # create_graph=True
            made = _Once.apply(name, len(made), *made, *of, *saved)
        left, gradients = iter(made), []
        for need in needs:
            gradients.append(next(left) if need else None)
        return tuple(gradients)

    def forward(ctx, *arguments):
        if results > 1:
            ctx.set_materialize_grads(False)
        ctx.save_for_backward(*arguments[:tensors])
        ctx.others = arguments[tensors:]
        with below_autograd():
            return call(*arguments)

    torch.library.register_autograd(
        f"{library.ns}::{name}", backward, setup_context=setup_context, lib=library
    )
    steps = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    function = type(name, (torch.autograd.Function,), steps)
    # ``function.apply`` without what torch.func needs, which takes 3 us.
    apply = super(torch.autograd.Function, function).apply  # type: ignore[misc]  # made above
    return operator, function, apply


class _Once(torch.autograd.Function):
    """The first ``count`` tensors as they are; a gradient of theirs is refused, not lost."""

    @staticmethod
    def forward(ctx, name, count, *tensors):
        ctx.name = name
        return tuple(tensor.detach() for tensor in tensors[:count])

    @staticmethod
    def backward(ctx, *_):
        raise RuntimeError(
            f"{ctx.name}: expected to be differentiated once, got a gradient of its gradient "
            "(create_graph=True); that needs the formula in plain PyTorch"
        )
