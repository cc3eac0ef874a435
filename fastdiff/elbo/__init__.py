"""The evidence lower bound and its relatives, term by term, in nats."""

from typing import TYPE_CHECKING

from ..arguments import attributes
from .bits import bits_per_dim
from .diffusion import (
    Bound,
    Estimate,
    bound,
    denoising_kl,
    estimator,
    levels_decoder,
    mean_squared_errors,
    prior_kl,
)
from .markov import MarkovBound, diffusion_as_markov, importance_weighted, markov_bound
from .posterior import Chain, Large, LearnedRange, Optimal, Posterior, Small, posterior

__all__ = [
    "Bound",
    "Chain",
    "Estimate",
    "Large",
    "LearnedRange",
    "MarkovBound",
    "Optimal",
    "Posterior",
    "Small",
    "bits_per_dim",
    "bound",
    "denoising_kl",
    "diffusion_as_markov",
    "estimator",
    "importance_weighted",
    "levels_decoder",
    "markov_bound",
    "mean_squared_errors",
    "posterior",
    "prior_kl",
]


if not TYPE_CHECKING:  # or no checker would find a wrong name
    __getattr__ = attributes(__name__)
