"""Wrong arguments of the training operations are refused by name, before anything runs."""

import pytest
import torch

from fastdiff import ops

X = torch.zeros(2, 3)
KEYS = torch.zeros(2, 2, dtype=torch.int64)
M = torch.zeros(2, 4)

WRONG = {
    r"x: expected a floating tensor \[batch, ...\], got 3": lambda: ops.mix_noise(3, M, KEYS),
    r"x: expected a floating tensor .*, got torch.int64 \[2, 2\]":
        lambda: ops.mix_noise(KEYS, M, KEYS),
    r"x: expected a floating tensor .*, got torch.float32 0.0":
        lambda: ops.bernoulli(torch.zeros(()), X),
    r"mix: expected floats \[2, 4\], got torch.float32 \[2, 3\]": lambda: ops.mix_noise(X, X, KEYS),
    r"noise: expected \[2, 3\] normals or int64 keys \[2, 2\], got torch.int64 \[1, 2\]":
        lambda: ops.mix_noise(X, M, KEYS[:1]),
    r"noise: expected .*, got torch.int32 \[2, 2\]": lambda: ops.mix_noise(X, M, KEYS.int()),
    r"noise: expected .*, got None": lambda: ops.mix_noise(X, M, None),
    r"target: expected floats \[2, 3\], got torch.float32 \[2, 4\]":
        lambda: ops.squared_error(X, M, X[:, 0]),
    r"weight: expected floats \[2\], got 1.0": lambda: ops.squared_error(X, X, 1.0),
    r"log_var: expected a floating tensor, got 0.0": lambda: ops.gaussian_sample_kl(X, 0.0, KEYS),
    r"log_var: expected to broadcast to \[2, 3\], got torch.float32 \[2, 4\]":
        lambda: ops.gaussian_sample_kl(X, M, KEYS),
    r"mean_p: expected to broadcast to \[2, 3\]": lambda: ops.gaussian_kl(X, X, M, X),
    r"mean: expected to broadcast to \[2, 3\]": lambda: ops.gaussian_log_prob(X, M, X),
    r"logits: expected to broadcast to \[2, 3\]": lambda: ops.bernoulli(X, M),
    r"level: expected int64 \[2\], one for each row of logits, got torch.int64 \[2, 2\]":
        lambda: ops.categorical(KEYS, X),
    r"level: expected int64 \[2\].*, got torch.float32 \[2\]": lambda: ops.categorical(X[:, 0], X),
    r"logits: expected a floating tensor": lambda: ops.categorical(KEYS, KEYS),
    r"depth: expected an integer .*, got 1": lambda: ops.discretised_gaussian(X, X, X, 1),
    r"log_scale: expected to broadcast": lambda: ops.discretised_logistic(X, X, M, 3),
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_functions(message):
    with pytest.raises(ValueError, match=f"^{message}"):
        WRONG[message]()


F = torch.ops.fastdiff
RAW = {
    r"x: expected \[batch, ...\]": lambda: F.bernoulli(torch.zeros(()), X),
    r"logits: expected the shape of x, float32 \[2, 3\]": lambda: F.bernoulli(X, M),
    r"logits: expected dtype float32, bfloat16, float16, got float64":
        lambda: F.bernoulli(X, X.double()),
    r"mean: expected dtype float64, got float32":
        lambda: F.gaussian_log_prob(X.double(), X, X.double()),
    r"mix: expected \[2, 4\], got float32 \[2, 3\]": lambda: F.mix(X, X, KEYS),
    r"mix: expected dtype float32, float64, got float16": lambda: F.mix(X, M.half(), KEYS),
    r"noise: expected int64 keys \[2, 2\] or normals": lambda: F.mix(X, M, KEYS[:1]),
    r"weight: expected \[2\], got float32 \[3\]": lambda: F.squared_error(X, X, X[0], 1.0),
    r"gradient: expected \[2\], got float32 \[3\]":
        lambda: F.bernoulli_grad(X[0], X, X, [False, True]),
    r"x: expected a tensor without gradient":
        lambda: F.bernoulli_grad(X[:, 0], X, X, [True, True]),
    r"depth: expected at least 2 levels, got 0": lambda: F.discretised_gaussian(X, X, X, 0),
    r"level: expected int64, one for each row of float32 \[2, 3\]": lambda: F.categorical(KEYS, X),
    r"logits: expected at least one class": lambda: F.categorical(KEYS[:, 0], X[:, :0]),
}  # fmt: skip


@pytest.mark.skipif(ops.native is None, reason="the native operations check for themselves")
@pytest.mark.parametrize("message", RAW)
def test_raw_operators(message):
    with pytest.raises((ValueError, RuntimeError), match=f"^{message}"):
        RAW[message]()
