"""Operations of training: one pass over a batch forwards and one backwards.

Each sample has its own coefficients, noise and result. Noise comes as standard normals or as keys
(``fastdiff.ops.normal``), from which forward and backward draw the same numbers where they need
them, so that none are kept. Arithmetic is float32 (all of it float64 if a tensor is), sums are
taken in float64 in an order that depends on the element's index only: a sample's numbers do not
depend on its batch, the number of threads or the processor. Gradients of gradients are refused.
"""

import math

import torch
from torch import Tensor

from ..arguments import describe, flag, whole
from . import training_reference as reference
from .arguments import refuse_gradient, require_memory
from .differentiable import differentiable

FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
#: Of numbers that each sample has one of: what every backend reads.
READ = FLOATS[:2]

_mix = differentiable(
    "mix(Tensor x, Tensor mix, Tensor noise) -> (Tensor, Tensor)",
    "Tensor? of_first, Tensor? of_second", reference.mix, reference.mix_grad, "xx",
)  # fmt: skip
_squared_error = differentiable(
    "squared_error(Tensor output, Tensor target, Tensor weight, float scale) -> Tensor",
    "Tensor gradient", reference.squared_error, reference.squared_error_grad, "s",
)  # fmt: skip
_gaussian_sample = differentiable(
    "gaussian_sample(Tensor mean, Tensor log_var, Tensor noise) -> (Tensor, Tensor)",
    "Tensor? of_sample, Tensor? of_kl",
    reference.gaussian_sample, reference.gaussian_sample_grad, "xs",
)  # fmt: skip


def _sum(name: str, arguments: str, like: int = 0):
    """An operation whose result is one sum of each sample."""
    forward, backward = getattr(reference, name), getattr(reference, f"{name}_grad")
    schema = f"{name}({arguments}) -> Tensor"
    return differentiable(schema, "Tensor gradient", forward, backward, "s", like)


_gaussian_kl = _sum("gaussian_kl", "Tensor mean, Tensor log_var, Tensor mean_p, Tensor log_var_p")
_gaussian_log_prob = _sum("gaussian_log_prob", "Tensor x, Tensor mean, Tensor log_var")
_bernoulli = _sum("bernoulli", "Tensor x, Tensor logits")
_categorical = _sum("categorical", "Tensor level, Tensor logits", like=1)
_discretised_gaussian = _sum(
    "discretised_gaussian", "Tensor x, Tensor mean, Tensor log_var, int depth"
)
_discretised_logistic = _sum(
    "discretised_logistic", "Tensor x, Tensor mean, Tensor log_scale, int depth"
)


def mix_noise(x: Tensor, mix: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """a x + b z and c x + d z of each sample, both of x's shape and dtype.

    Args:
        x: [B, ...], a floating dtype.
        mix: [B, 4], the columns a, b, c, d.
        noise: z, standard normals of x's shape, or int64 keys [B, 2] to draw them from: those of
            ``fastdiff.noise.normal(keys, x.shape[1:])``, in float64 if x is.

    Gradients flow to x, mix and given normals.
    """
    _check("x", x)
    _require("mix", mix, (x.shape[0], 4))
    noise = _noise(noise, x, "x")
    if noise.dtype is not x.dtype:
        x, noise = _in_one_precision(x, noise)
    return _mix(x, mix if mix.dtype in READ else mix.float(), noise)


def squared_error(output: Tensor, target: Tensor, weight: Tensor, *, mean: bool = False) -> Tensor:
    """weight ||output - target||^2 of each sample, [B] float32 (float64 if output or target is).

    Args:
        output, target: [B, ...] of one shape, floating dtypes.
        weight: [B].
        mean: divide by the number of elements of a sample.

    Gradients flow to all three.
    """
    _check("output", output)
    if type(mean) is not bool:
        mean = flag("mean", mean)
    shape = output.shape
    _require("target", target, shape)
    _require("weight", weight, shape[:1])
    scale = 1 / max(1, math.prod(shape[1:])) if mean else 1.0
    if output.dtype is not target.dtype:
        output, target = _in_one_precision(output, target)
    return _squared_error(output, target, weight if weight.dtype in READ else weight.float(), scale)


def gaussian_sample_kl(mean: Tensor, log_var: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """A sample of N(mean, e^log_var) and the KL of that Gaussian to N(0, I).

    mean + e^(log_var / 2) z and 1/2 sum(mean^2 + e^log_var - 1 - log_var): Kingma and Welling 2014,
    "Auto-encoding variational Bayes", sec. 2.4 and appendix B.

    Args:
        mean: [B, ...], a floating dtype.
        log_var: broadcasts to mean.
        noise: z, see ``mix_noise``.

    Returns:
        The sample, of mean's shape and dtype, and the KL in nats, [B] float32 (float64 if a tensor
        is). Gradients flow to mean, log_var and given normals.
    """
    mean, log_var = _expanded(mean=mean, log_var=log_var)
    arguments = _in_one_precision(mean, log_var, _noise(noise, mean, "mean"))
    return _gaussian_sample(*arguments)


def gaussian_kl(mean: Tensor, log_var: Tensor, mean_p: Tensor, log_var_p: Tensor) -> Tensor:
    """KL(N(mean, e^log_var) || N(mean_p, e^log_var_p)) in nats, [B] float32 (float64 if a tensor
    is).

    Args:
        mean: [B, ...], a floating dtype.
        log_var, mean_p, log_var_p: broadcast to mean.

    Gradients flow to all of them.
    """
    arguments = _expanded(mean=mean, log_var=log_var, mean_p=mean_p, log_var_p=log_var_p)
    return _gaussian_kl(*arguments)


def gaussian_log_prob(x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """log N(x; mean, e^log_var) in nats, [B] float32 (float64 if a tensor is).

    Args:
        x: [B, ...], a floating dtype.
        mean, log_var: broadcast to x.

    Gradients flow to all of them.
    """
    arguments = _expanded(x=x, mean=mean, log_var=log_var)
    return _gaussian_log_prob(*arguments)


def bernoulli(x: Tensor, logits: Tensor) -> Tensor:
    """sum x log p + (1 - x) log(1 - p) with p = sigmoid(logits), [B] in nats, float32 (float64 if a
    tensor is).

    Args:
        x: [B, ...] in [0, 1]; values in between are expectations of binary pixels.
        logits: broadcast to x.

    Gradients flow to logits.
    """
    refuse_gradient(x=x)
    return _bernoulli(*_expanded(x=x, logits=logits))


def categorical(level: Tensor, logits: Tensor) -> Tensor:
    """Log-probability of levels under logits of each element, [B] in nats, float32 (float64 if
    logits is).

    Args:
        level: int64 [B, ...] in 0..K-1. What lies outside raises on the CPU and gives NaN on GPUs.
        logits: [B, ..., K], a floating dtype, not necessarily normalised.

    Gradients flow to logits.
    """
    _check("logits", logits)
    rows = logits.shape[:-1]
    right = isinstance(level, Tensor) and level.dtype == torch.int64 and not level.is_nested
    if not right or level.shape != rows:
        raise ValueError(
            f"level: expected int64 {list(rows)}, one for each row of logits, got {describe(level)}"
        )
    return _categorical(level, logits)


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
    return _discretised(_discretised_gaussian, depth, x=x, mean=mean, log_var=log_var)


def discretised_logistic(x: Tensor, mean: Tensor, log_scale: Tensor, depth: int) -> Tensor:
    """As ``discretised_gaussian`` under a logistic distribution of scale e^log_scale, [B].

    Salimans et al. 2017, "PixelCNN++", eq. 2.
    """
    return _discretised(_discretised_logistic, depth, x=x, mean=mean, log_scale=log_scale)


def _discretised(operation, depth: int, **tensors: Tensor) -> Tensor:
    if type(depth) is not int or not 2 <= depth < 2**63:
        depth = whole("depth", depth, least=2)
    x, *parameters = _expanded(**tensors)
    refuse_gradient(x=x)
    return operation(x, *parameters, depth)


# The conditions are written out, as calls are what checks of a few numbers cost.


def _check(name: str, value: Tensor) -> None:
    if isinstance(value, Tensor) and value.dtype in FLOATS and not value.is_nested:
        if value.dim() >= 1:
            return
    raise ValueError(f"{name}: expected a floating tensor [batch, ...], got {describe(value)}")


def _require(name: str, value: Tensor, shape) -> None:
    if isinstance(value, Tensor) and value.dtype in FLOATS and not value.is_nested:
        if value.shape == shape:
            return
    raise ValueError(f"{name}: expected floats {list(shape)}, got {describe(value)}")


def _noise(noise: Tensor, like: Tensor, name: str) -> Tensor:
    if isinstance(noise, Tensor) and not noise.is_nested:
        if noise.is_meta is not like.is_meta:
            expected = f"a tensor on {like.device} like {name}"
            raise ValueError(f"noise: expected {expected}, got one on {noise.device}")
        if noise.dtype is torch.int64 and noise.shape == (like.shape[0], 2):
            if noise.device != like.device:
                require_memory(noise=noise)
                noise = noise.to(like.device)
            return noise
        if noise.dtype in FLOATS and noise.shape == like.shape:
            return noise
    raise ValueError(
        f"noise: expected {list(like.shape)} normals or int64 keys [{len(like)}, 2], "
        f"got {describe(noise)}"
    )


def _expanded(**tensors: Tensor) -> tuple[Tensor, ...]:
    """All of them in the shape of the first. A number without dimensions has no say in precision
    and may lie on the CPU, as in torch's own arithmetic."""
    (name, first), *others = tensors.items()
    _check(name, first)
    expanded = [first]
    for name, value in others:
        if not isinstance(value, Tensor) or value.dtype not in FLOATS or value.is_nested:
            raise ValueError(f"{name}: expected a floating tensor, got {describe(value)}")
        if value.shape != first.shape:
            value = _expand(name, value, first)
        expanded.append(value)
    return _in_one_precision(*expanded)


def _expand(name: str, value: Tensor, like: Tensor) -> Tensor:
    if value.dim() == 0:
        require_memory(**{name: value})
        value = value.to(like)
    try:
        return value.expand(like.shape)
    except RuntimeError:
        message = f"{name}: expected to broadcast to {list(like.shape)}, got {describe(value)}"
        raise ValueError(message) from None


def _in_one_precision(*tensors: Tensor) -> tuple[Tensor, ...]:
    """float64 all of them if one is, integers as they are."""
    for tensor in tensors:  # a loop: any() of a generator takes three times as long
        if tensor.dtype is torch.float64:
            return tuple(v.double() if v.is_floating_point() else v for v in tensors)
    return tensors
