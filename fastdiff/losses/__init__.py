"""Losses of the whole family: denoising in every unit and weight, score matching, likelihoods."""

from . import weights as weights
from .denoising import denoising_loss as denoising_loss
from .denoising import edm_times as edm_times
from .denoising import levels as levels
from .denoising import low_discrepancy as low_discrepancy
from .denoising import target_weight as target_weight
from .eager import bernoulli as bernoulli
from .eager import categorical as categorical
from .eager import discretised_gaussian as discretised_gaussian
from .eager import discretised_logistic as discretised_logistic
from .eager import gaussian_kl as gaussian_kl
from .eager import gaussian_log_prob as gaussian_log_prob
from .eager import gaussian_sample_kl as gaussian_sample_kl
from .eager import noise_and_target as noise_and_target
from .eager import squared_error as squared_error
from .eager import standard_normal as standard_normal
from .score import implicit as implicit
from .score import rademacher as rademacher
from .score import sliced as sliced
