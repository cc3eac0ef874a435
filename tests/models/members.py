"""Small instances of every member of the family, and batches for them."""

import torch

from fastdiff import models, noise

SPACE = models.Space((1, 8, 8), 17, 10)

SETTINGS = [
    ("vae", {}),
    ("vae", {"net": "conv", "decoder": "logistic"}),
    ("vae", {"net": "linear", "decoder": "gaussian"}),
    ("vae", {"decoder": "bernoulli", "free_bits": 2.0, "kl_warmup": 10}),
    ("hvae", {"free_bits": 0.0}),
    ("hvae", {"latents": (12, 6, 3), "free_bits": 0.1}),
    ("vdm", {}),
    ("vdm", {"head": "eps", "fourier": 2, "learned": False}),
    ("ddpm", {}),
    ("ddpm", {"prediction": "x0", "betas": "cosine", "label_dropout": 0.2}),
    ("ddpm", {"prediction": "v", "variance": "learned"}),
    ("ncsn", {}),
    ("ncsn", {"objective": "sliced"}),
    ("sde", {}),
    ("sde", {"process": "ve", "prediction": "eps", "label_dropout": 0.2}),
    ("sde", {"process": "subvp", "prediction": "score", "weight": "eps"}),
    ("sde", {"process": "flow", "prediction": "flow"}),
    ("sde", {"prediction": "eps", "weight": "elbo", "times": "log-snr"}),
    ("sde", {"process": "cosine", "net": "unet"}),
    ("classifier", {}),
]


def label(case):
    family, settings = case
    return "-".join([family, *(str(value) for value in settings.values())])


def make(family, settings, space=SPACE, wake=True):
    """A member whose zero-initialised layers are no longer zero, in float32."""
    member = models.find(family)
    small = {"hidden": 16, "dropout": 0.0} | settings
    if settings.get("net") == "unet":
        small |= {"hidden": 8, "blocks": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = member(member.Config(**small), space)
    model.fit(images(200, seed=5, space=space))
    rng = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if wake and not parameter.any():
            parameter.data.normal_(std=0.1, generator=rng)
    return model


def images(count, seed=0, space=SPACE):
    rng = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, space.depth, (count, *space.shape), generator=rng)
    return space.values[levels]


def batch(count=6, seed=0, step=1000, space=SPACE):
    rng = torch.Generator().manual_seed(seed)
    return models.Batch(
        x=images(count, seed, space),
        y=torch.randint(0, space.classes, (count,), generator=rng),
        u=torch.rand(count, generator=rng),
        keys=noise.keys(seed + 50, count),
        step=step,
    )
