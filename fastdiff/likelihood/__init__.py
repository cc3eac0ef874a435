"""Likelihoods: of the probability flow, exact or estimated. Bounds are in ``fastdiff.elbo``."""

from ..arguments import attributes
from .flow import Exact as Exact
from .flow import Hutchinson as Hutchinson
from .flow import Likelihood as Likelihood
from .flow import dequantise as dequantise
from .flow import log_likelihood as log_likelihood

__getattr__ = attributes(__name__)
