"""Losses of the whole family: denoising in every unit and weight, score matching, likelihoods."""

from ..arguments import attributes
from ..ops import bernoulli as bernoulli
from ..ops import categorical as categorical
from ..ops import discretised_gaussian as discretised_gaussian
from ..ops import discretised_logistic as discretised_logistic
from ..ops import gaussian_kl as gaussian_kl
from ..ops import gaussian_log_prob as gaussian_log_prob
from ..ops import gaussian_sample_kl as gaussian_sample_kl
from ..ops import squared_error as squared_error
from . import weights as weights
from .batch import noise_and_target as noise_and_target
from .batch import standard_normal as standard_normal
from .denoising import denoising_loss as denoising_loss
from .denoising import edm_times as edm_times
from .denoising import low_discrepancy as low_discrepancy
from .denoising import target_weight as target_weight
from .levels import levels as levels
from .score import implicit as implicit
from .score import rademacher as rademacher
from .score import sliced as sliced

__getattr__ = attributes(__name__)
