"""Operations of training: one pass over a batch forwards and one backwards.

Each sample has its own coefficients, noise and result. Noise comes as standard normals or as keys
(``fastdiff.ops.normal``), from which forward and backward draw the same numbers where they need
them, so that none are kept. Arithmetic is float32 (all of it float64 if any tensor is), sums are
taken in float64 in an order that depends on the element's index only: a sample's numbers do not
depend on its batch, the number of threads or the processor. Gradients of gradients are refused.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import training_reference as reference
from .library import define, refuse_gradient
from .select import operation

FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)

for _schema in (
    "mix_(Tensor(a!)? first, Tensor(b!)? second, Tensor(c!)? drawn, Tensor? x, Tensor? noise, "
    "Tensor mix) -> ()",
    "mix_sums_(Tensor(a!) sums, Tensor? first, Tensor? second, Tensor x, Tensor noise) -> ()",
    "squared_error_(Tensor(a!) error, Tensor output, Tensor x, Tensor weight, float scale, "
    "Tensor? mix, Tensor? noise) -> ()",
    "squared_error_grad_(Tensor(a!)? to_output, Tensor(b!)? to_x, Tensor gradient, Tensor output, "
    "Tensor x, Tensor weight, float scale, Tensor? mix, Tensor? noise) -> ()",
    "gaussian_sample_(Tensor(a!) sample, Tensor(b!) kl, Tensor mean, Tensor log_var, "
    "Tensor noise) -> ()",
    "gaussian_sample_grad_(Tensor(a!)? to_mean, Tensor(b!)? to_log_var, Tensor? of_sample, "
    "Tensor? of_kl, Tensor mean, Tensor log_var, Tensor noise) -> ()",
    "gaussian_kl_(Tensor(a!) kl, Tensor mean, Tensor log_var, Tensor mean_p, Tensor log_var_p) "
    "-> ()",
    "gaussian_kl_grad_(Tensor(a!)? to_mean, Tensor(b!)? to_log_var, Tensor(c!)? to_mean_p, "
    "Tensor(d!)? to_log_var_p, Tensor gradient, Tensor mean, Tensor log_var, Tensor mean_p, "
    "Tensor log_var_p) -> ()",
    "discretised_gaussian_(Tensor(a!) log_prob, Tensor x, Tensor mean, Tensor log_var, int depth) "
    "-> ()",
    "discretised_gaussian_grad_(Tensor(a!)? to_mean, Tensor(b!)? to_log_var, Tensor gradient, "
    "Tensor x, Tensor mean, Tensor log_var, int depth) -> ()",
):
    _kernel = getattr(reference, _schema.split("(")[0])
    define(_schema, _kernel, lambda *args: None, _kernel)  # Triton has no kernels of its own


def mix_noise(
    x: Tensor, mix: Tensor, noise: Tensor, *, dtype=None, return_noise: bool = False
) -> tuple[Tensor, ...]:
    """a x + b z and c x + d z of each sample, and z if asked for.

    Args:
        x: [B, ...], a floating dtype.
        mix: [B, 4], the columns a, b, c, d.
        noise: z, standard normals of x's shape, or int64 keys [B, 2] to draw them from.
        dtype: of the mixtures; default: that of x.
        return_noise: also return z, in x's dtype.

    Gradients flow to x, mix and given normals.
    """
    _check("x", x)
    noise = _noise(noise, x)
    if mix.shape != (len(x), 4):
        raise ValueError(f"mix: expected [{len(x)}, 4], got {list(mix.shape)}")
    dtype = dtype or x.dtype
    x, noise = _same_arithmetic(x, noise)
    draws = return_noise and not noise.is_floating_point()
    made = torch.float64 if x.dtype == torch.float64 else dtype
    mixed = _Mix.apply(x, _number(mix).unflatten(1, (2, 2)), noise, made, draws)
    if made != dtype:
        mixed = (mixed[0].to(dtype), mixed[1].to(dtype), *mixed[2:])
    return (*mixed, noise) if return_noise and not draws else mixed


class _Mix(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, mix, noise, dtype, draws):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, mix, noise)
        first, second = _empty(x, dtype), _empty(x, dtype)
        drawn = _empty(x) if draws else None
        operation("mix_", x.device)(first, second, drawn, x, noise, mix)
        if not draws:
            return first, second
        ctx.mark_non_differentiable(drawn)
        return first, second, drawn

    @staticmethod
    @once_differentiable
    def backward(ctx, of_first, of_second, _=None):
        x, mix, noise = ctx.saved_tensors
        to_x, to_mix, to_noise = _wanted(ctx, x, mix, noise)
        if to_x is not None or to_noise is not None:
            operation("mix_", x.device)(to_x, to_noise, None, of_first, of_second, mix.mT)
        if to_mix is not None:
            operation("mix_sums_", x.device)(to_mix, of_first, of_second, x, noise)
        return to_x, to_mix, to_noise, None, None


def squared_error(
    output: Tensor,
    x: Tensor,
    weight: Tensor,
    *,
    mix: Tensor | None = None,
    noise: Tensor | None = None,
    mean: bool = False,
) -> Tensor:
    """weight ||output - x||^2 of each sample, [B] float32 (float64 if a tensor is).

    Args:
        output, x: [B, ...] of one shape, floating dtypes.
        weight: [B].
        mix: [B, 2], the columns c, d of a target c x + d z in place of x, made on the fly.
        noise: its z, see ``mix_noise``.
        mean: divide by the number of elements of a sample.

    Gradients flow to output, x and weight.
    """
    _check("output", output)
    _check("x", x, output)
    if weight.shape != output.shape[:1]:
        raise ValueError(f"weight: expected [{len(output)}], got {list(weight.shape)}")
    if (mix is None) != (noise is None):
        raise ValueError("mix, noise: expected both or none of them, got one")
    if mix is not None:
        noise = _noise(noise, x)
        if mix.shape != (len(x), 2):
            raise ValueError(f"mix: expected [{len(x)}, 2], got {list(mix.shape)}")
        refuse_gradient(mix=mix, noise=noise)
        mix = _number(mix)
    numel = output[0].numel() if mean and len(output) else 1
    output, x, noise = _same_arithmetic(output, x, noise)
    return _SquaredError.apply(output, x, _number(weight), 1 / max(numel, 1), mix, noise)


class _SquaredError(torch.autograd.Function):
    @staticmethod
    def forward(ctx, output, x, weight, scale, mix, noise):
        ctx.save_for_backward(output, x, weight, mix, noise)
        ctx.scale = scale
        error = _result(output)
        operation("squared_error_", x.device)(error, output, x, weight, scale, mix, noise)
        return error

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        output, x, weight, mix, noise = ctx.saved_tensors
        to_output, to_x, to_weight = _wanted(ctx, output, x, weight)
        scale = ctx.scale
        if to_output is not None or to_x is not None:
            operation("squared_error_grad_", x.device)(
                to_output, to_x, gradient, output, x, weight, scale, mix, noise
            )
        if to_weight is not None:
            one = torch.ones_like(weight)
            operation("squared_error_", x.device)(to_weight, output, x, one, scale, mix, noise)
            to_weight *= gradient
        return to_output, to_x, to_weight, None, None, None


def gaussian_sample_kl(mean: Tensor, log_var: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """A sample of N(mean, e^log_var) and the KL of that Gaussian to N(0, I).

    mean + e^(log_var / 2) z and 1/2 sum(mean^2 + e^log_var - 1 - log_var): Kingma and Welling 2014,
    "Auto-encoding variational Bayes", section 2.4 and appendix B.

    Args:
        mean, log_var: [B, ...], floating dtypes.
        noise: z, see ``mix_noise``.

    Returns:
        The sample, of mean's shape and dtype, and the KL in nats, [B] float32 (float64 if a tensor
        is). Gradients flow to mean, log_var and given normals.
    """
    _check("mean", mean)
    _check("log_var", log_var, mean)
    return _GaussianSample.apply(*_same_arithmetic(mean, log_var, _noise(noise, mean)))


class _GaussianSample(torch.autograd.Function):
    @staticmethod
    def forward(ctx, mean, log_var, noise):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(mean, log_var, noise)
        sample, kl = _empty(mean), _result(mean)
        operation("gaussian_sample_", mean.device)(sample, kl, mean, log_var, noise)
        return sample, kl

    @staticmethod
    @once_differentiable
    def backward(ctx, of_sample, of_kl):
        mean, log_var, noise = ctx.saved_tensors
        to_mean, to_log_var, to_noise = _wanted(ctx, mean, log_var, noise)
        if to_mean is not None or to_log_var is not None:
            operation("gaussian_sample_grad_", mean.device)(
                to_mean, to_log_var, of_sample, of_kl, mean, log_var, noise
            )
        if to_noise is not None:
            to_noise = None if of_sample is None else of_sample * torch.exp(0.5 * log_var)
        return to_mean, to_log_var, to_noise


def gaussian_kl(mean: Tensor, log_var: Tensor, mean_p: Tensor, log_var_p: Tensor) -> Tensor:
    """KL(N(mean, e^log_var) || N(mean_p, e^log_var_p)) in nats, [B] float32 (float64 if a tensor
    is).

    Args:
        mean: [B, ...], a floating dtype.
        log_var, mean_p, log_var_p: broadcast to mean.

    Gradients flow to all of them.
    """
    _check("mean", mean)
    return _GaussianKL.apply(*_expanded(mean, log_var, mean_p, log_var_p))


class _GaussianKL(torch.autograd.Function):
    @staticmethod
    def forward(ctx, *gaussians):
        ctx.save_for_backward(*gaussians)
        kl = _result(gaussians[0])
        operation("gaussian_kl_", kl.device)(kl, *gaussians)
        return kl

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        gaussians = ctx.saved_tensors
        wanted = _wanted(ctx, *gaussians)
        operation("gaussian_kl_grad_", gradient.device)(*wanted, gradient, *gaussians)
        return wanted


def discretised_gaussian(x: Tensor, mean: Tensor, log_var: Tensor, depth: int) -> Tensor:
    """Log-probability of levels under a Gaussian cut into bins, [B] in nats, float32 (float64 if a
    tensor is).

    The ``depth`` levels lie evenly in [-1, 1]; each owns the bin half-way to its neighbours, the
    outermost ones everything beyond (Ho et al. 2020, "Denoising diffusion probabilistic models",
    eq. 13).

    Args:
        x: [B, ...] values on the levels, a floating dtype.
        mean, log_var: broadcast to x.
        depth: number of levels, >= 2.

    Gradients flow to mean and log_var.
    """
    _check("x", x)
    if depth < 2:
        raise ValueError(f"depth: expected at least 2 levels, got {depth}")
    refuse_gradient(x=x)
    return _DiscretisedGaussian.apply(*_expanded(x, mean, log_var), depth)


class _DiscretisedGaussian(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, mean, log_var, depth):
        ctx.save_for_backward(x, mean, log_var)
        ctx.depth = depth
        log_prob = _result(x)
        operation("discretised_gaussian_", x.device)(log_prob, x, mean, log_var, depth)
        return log_prob

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        x, mean, log_var = ctx.saved_tensors
        _, to_mean, to_log_var = _wanted(ctx, x, mean, log_var)
        operation("discretised_gaussian_grad_", x.device)(
            to_mean, to_log_var, gradient, x, mean, log_var, ctx.depth
        )
        return None, to_mean, to_log_var, None


def _empty(like: Tensor, dtype=None) -> Tensor:
    return torch.empty(like.shape, dtype=dtype or like.dtype, device=like.device)


def _result(like: Tensor) -> Tensor:
    """Room for one number of each sample."""
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    return torch.empty(like.shape[:1], dtype=dtype, device=like.device)


def _wanted(ctx, *inputs) -> tuple[Tensor | None, ...]:
    """Room for the gradients of the first inputs that need one."""
    needs = ctx.needs_input_grad
    return tuple(_empty(v) if need else None for v, need in zip(inputs, needs, strict=False))


def _check(name: str, value: Tensor, like: Tensor | None = None) -> None:
    if not isinstance(value, Tensor) or value.dtype not in FLOATS or value.dim() < 1:
        got = f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value)
        raise ValueError(f"{name}: expected a floating tensor [batch, ...], got {got}")
    if like is not None and value.shape != like.shape:
        raise ValueError(f"{name}: expected {list(like.shape)}, got {list(value.shape)}")


def _noise(noise: Tensor, like: Tensor) -> Tensor:
    keys = noise.dtype == torch.int64 and noise.shape == (len(like), 2)
    if not keys and (noise.dtype not in FLOATS or noise.shape != like.shape):
        raise ValueError(
            f"noise: expected {list(like.shape)} normals or int64 keys [{len(like)}, 2], "
            f"got {noise.dtype} {list(noise.shape)}"
        )
    return noise


def _number(values: Tensor) -> Tensor:
    """Per-sample numbers in a dtype that every backend reads."""
    return values if values.dtype in FLOATS[:2] else values.float()


def _same_arithmetic(*tensors):
    """All floating tensors as float64 if one of them is."""
    if not any(v is not None and v.dtype == torch.float64 for v in tensors):
        return tensors
    return tuple(
        v.double() if v is not None and v.is_floating_point() else v for v in tensors
    )


def _expanded(first: Tensor, *others: Tensor):
    return _same_arithmetic(first, *(v.expand_as(first) for v in others))
