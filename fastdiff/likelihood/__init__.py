"""Likelihoods: of the probability flow, exact or estimated. Bounds are in ``fastdiff.elbo``."""

from typing import TYPE_CHECKING

from ..arguments import attributes
from .flow import Exact, Hutchinson, Likelihood, dequantise, log_likelihood

__all__ = [
    "Exact",
    "Hutchinson",
    "Likelihood",
    "dequantise",
    "log_likelihood",
]


if not TYPE_CHECKING:  # or no checker would find a wrong name
    __getattr__ = attributes(__name__)
