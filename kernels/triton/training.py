"""The operations of training and their gradients: fastdiff/ops/training.py documents them."""

import torch

from . import formula
from .categorical import categorical as categorical
from .categorical import categorical_grad as categorical_grad
from .passes import empty, run, wanted_outputs


def mix(x, mix, noise):
    outputs = empty(x), empty(x)
    run(formula.mix, x, [x], noise=noise, numbers=columns(mix, (0, 1, 2, 3)), outputs=outputs)
    return outputs


def mix_grad(of_first, of_second, x, mix, noise, wanted):
    to_x, to_noise = (empty(v) if wanted[k] else None for k, v in ((0, x), (2, noise)))
    if wanted[0] or wanted[2]:
        transposed = columns(mix, (0, 2, 1, 3))
        run(formula.mix, x, [of_first], noise=of_second, numbers=transposed,
            outputs=(to_x, to_noise))  # fmt: skip
    to_mix = None
    if wanted[1]:
        to_mix = run(formula.mix_sums, x, [of_first, of_second, x], noise=noise, factor=1.0, sums=4,
                     dtype=mix.dtype)  # fmt: skip
    return [v for v in (to_x, to_mix, to_noise) if v is not None]


def squared_error(output, target, weight, scale, dtype=None):
    factor = weight.double() * scale
    return run(formula.squared_error, output, [output, target], factor=factor, sums=1, dtype=dtype)


def squared_error_grad(gradient, output, target, weight, scale, wanted):
    outputs, made = wanted_outputs(wanted[:2], (output, target))
    if made:
        slope = 2.0 * weight.double() * gradient.double() * scale
        run(formula.squared_error_grad, output, [output, target], numbers=[slope], outputs=outputs)
    if wanted[2]:  # the error, with the gradient as its weight
        made.append(squared_error(output, target, gradient, scale, weight.dtype))
    return made


def gaussian_sample(mean, log_var, noise):
    sample = empty(mean)
    kl = run(formula.gaussian_sample, mean, [mean, log_var], noise=noise, outputs=[sample],
             factor=0.5, sums=1)  # fmt: skip
    return sample, kl


def gaussian_sample_grad(of_sample, of_kl, mean, log_var, noise, wanted):
    outputs, made = wanted_outputs(wanted, (mean, log_var, noise))
    numbers = [] if of_kl is None else [of_kl.double()]
    if made:
        run(formula.gaussian_sample_grad, mean, [mean, log_var, of_sample], noise=noise,
            numbers=numbers, outputs=outputs)  # fmt: skip
    return made


def columns(mix, order):
    return [column.contiguous() for column in mix.double()[:, order].unbind(1)]


def summed(name: str, factor: float = 1.0, constants: int = 0):
    """(operation, gradient) of a formula that is summed over each sample; its first ``constants``
    arguments have no gradient."""
    forward, backward = getattr(formula, name), getattr(formula, f"{name}_grad")

    def operation(*arguments):
        tensors, depth = split(arguments)
        return run(forward, tensors[0], tensors, factor=factor, sums=1, depth=depth)

    def gradient(of, *arguments):
        *arguments, wanted = arguments
        tensors, depth = split(arguments)
        if any(wanted[:constants]):
            raise ValueError(f"{name}: expected no gradient of its first argument to be wanted")
        outputs, made = wanted_outputs(wanted[constants:], tensors[constants:])
        if made:
            run(backward, tensors[0], tensors, numbers=[of.double()], outputs=outputs, depth=depth)
        return made

    return operation, gradient


def split(arguments):
    """Tensors, and the number of levels where there is one."""
    tensors = [v for v in arguments if isinstance(v, torch.Tensor)]
    return tensors, arguments[-1] if len(tensors) < len(arguments) else 2


gaussian_kl, gaussian_kl_grad = summed("gaussian_kl", 0.5)
gaussian_log_prob, gaussian_log_prob_grad = summed("gaussian_log_prob", -0.5)
bernoulli, bernoulli_grad = summed("bernoulli", constants=1)
discretised_gaussian, discretised_gaussian_grad = summed("discretised_gaussian", constants=1)
discretised_logistic, discretised_logistic_grad = summed("discretised_logistic", constants=1)
