"""Losses of the whole family: denoising in every unit and weight, score matching, likelihoods."""

from typing import TYPE_CHECKING

from ..arguments import attributes
from ..ops import (
    bernoulli,
    categorical,
    discretised_gaussian,
    discretised_logistic,
    gaussian_kl,
    gaussian_log_prob,
    gaussian_sample_kl,
    squared_error,
)
from . import weights
from .batch import noise_and_target, standard_normal
from .denoising import denoising_loss, edm_times, low_discrepancy, target_weight
from .levels import levels
from .score import implicit, rademacher, sliced

__all__ = [
    "bernoulli",
    "categorical",
    "denoising_loss",
    "discretised_gaussian",
    "discretised_logistic",
    "edm_times",
    "gaussian_kl",
    "gaussian_log_prob",
    "gaussian_sample_kl",
    "implicit",
    "levels",
    "low_discrepancy",
    "noise_and_target",
    "rademacher",
    "sliced",
    "squared_error",
    "standard_normal",
    "target_weight",
    "weights",
]


if not TYPE_CHECKING:  # or no checker would find a wrong name
    __getattr__ = attributes(__name__)
