"""Calls of the training operations: every operation, dtype, kind of noise and layout."""

from dataclasses import dataclass
from functools import partial

import torch

from fastdiff import noise, ops

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


@dataclass(frozen=True)
class Op:
    """A public function, what it is called with, and which of that has a gradient.

    Attributes:
        function: of the arguments in order.
        arguments: a kind for each: "x" like the data, "p" positive, "l" levels in [-1, 1], "u" in
            [0, 1], "b" one number a sample, "m" four of them, "z" noise, "k" classes, "g" logits.
        constants: how many leading arguments have no gradient.
    """

    function: object
    arguments: str
    constants: int = 0


DEPTH, CLASSES = 17, 5
OPS = {
    "mix": Op(ops.mix_noise, "xmz"),
    "squared_error": Op(ops.squared_error, "xxb"),
    "gaussian_sample": Op(ops.gaussian_sample_kl, "xxz"),
    "gaussian_kl": Op(ops.gaussian_kl, "xxxx"),
    "gaussian_log_prob": Op(ops.gaussian_log_prob, "xxx"),
    "bernoulli": Op(ops.bernoulli, "ux", 1),
    "categorical": Op(ops.categorical, "kg", 1),
    "discretised_gaussian": Op(partial(ops.discretised_gaussian, depth=DEPTH), "lxx", 1),
    "discretised_logistic": Op(partial(ops.discretised_logistic, depth=DEPTH), "lxx", 1),
}
DRAWING = ["mix", "gaussian_sample"]


def make(kind: str, shape, dtype, rng, keys: bool) -> torch.Tensor:
    def normal(*size):
        return torch.randn(size, generator=rng, dtype=torch.float64)

    numbers = torch.float64 if dtype == torch.float64 else torch.float32
    if kind in "bm":
        return normal(shape[0], *([4] if kind == "m" else [])).to(numbers)
    if kind == "z" and keys:
        # Anywhere in the stream, also where its block number wraps around.
        return torch.stack([noise.key(-7 + b, 2**64 - 3 if b == 1 else b) for b in range(shape[0])]
                           or [torch.zeros(2, dtype=torch.int64)])[: shape[0]]  # fmt: skip
    if kind == "k":
        return torch.randint(0, CLASSES, shape, generator=rng)
    if kind == "g":
        return (3 * normal(*shape, CLASSES)).to(dtype)
    if kind == "l":
        level = torch.randint(0, DEPTH, shape, generator=rng)
        return torch.linspace(-1, 1, DEPTH, dtype=torch.float64)[level].to(dtype)
    if kind == "u":
        return torch.rand(shape, generator=rng, dtype=torch.float64).to(dtype)
    return normal(*shape).to(dtype)


@dataclass
class Call:
    """An operation with its arguments, and the cotangents of its results."""

    name: str
    arguments: list[torch.Tensor]
    seed: int = 0

    @property
    def op(self) -> Op:
        return OPS[self.name]

    @property
    def batch(self) -> int:
        return len(self.arguments[0])

    def differentiated(self) -> list[int]:
        """Places of the arguments that can have a gradient."""
        return [
            k for k, v in enumerate(self.arguments)
            if k >= self.op.constants and v.is_floating_point()
        ]  # fmt: skip

    def run(self, wanted=None) -> list[torch.Tensor]:
        """The results, and the gradients of what is wanted (default: of all that can have one)."""
        wanted = self.differentiated() if wanted is None else wanted
        arguments = [v.detach().requires_grad_(k in wanted) for k, v in enumerate(self.arguments)]
        results = self.op.function(*arguments)
        results = list(results) if isinstance(results, tuple) else [results]
        if not wanted:
            return results
        # A cotangent of each sample, so that samples can be told apart and moved.
        cotangents = [self.cotangents()[: self.batch].reshape(-1, *[1] * (r.dim() - 1)).to(r)
                      .expand_as(r) for r in results]  # fmt: skip
        inputs = [arguments[k] for k in wanted]
        made = torch.autograd.grad(results, inputs, cotangents)
        return [r.detach() for r in results] + list(made)

    def cotangents(self) -> torch.Tensor:
        rng = torch.Generator().manual_seed(self.seed)
        return torch.randn(len(self.arguments[0]), generator=rng, dtype=torch.float64)

    def changed(self, change) -> "Call":
        return Call(self.name, [change(v) for v in self.arguments], self.seed)


def call(name, shape, dtype=torch.float32, seed=0, keys=True) -> Call:
    rng = torch.Generator().manual_seed(seed)
    arguments = [make(kind, shape, dtype, rng, keys) for kind in OPS[name].arguments]
    return Call(name, arguments, seed)


def doubled(v: torch.Tensor) -> torch.Tensor:
    """The same values at twice the stride."""
    return torch.stack((v, v), dim=-1)[..., 0]


def turned(v: torch.Tensor) -> torch.Tensor:
    """The same values with the dimensions of a sample laid out backwards."""
    if v.dim() < 3:
        return v
    order = (0, *range(v.dim() - 1, 0, -1))
    return v.permute(order).contiguous().permute(order)


LAYOUTS = {"doubled": doubled, "turned": turned}
