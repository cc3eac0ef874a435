"""The evidence lower bound and its relatives, term by term, in nats."""

from ..arguments import attributes
from .bits import bits_per_dim as bits_per_dim
from .diffusion import Bound as Bound
from .diffusion import Estimate as Estimate
from .diffusion import bound as bound
from .diffusion import denoising_kl as denoising_kl
from .diffusion import estimator as estimator
from .diffusion import levels_decoder as levels_decoder
from .diffusion import mean_squared_errors as mean_squared_errors
from .diffusion import prior_kl as prior_kl
from .markov import MarkovBound as MarkovBound
from .markov import diffusion_as_markov as diffusion_as_markov
from .markov import importance_weighted as importance_weighted
from .markov import markov_bound as markov_bound
from .posterior import Chain as Chain
from .posterior import Large as Large
from .posterior import LearnedRange as LearnedRange
from .posterior import Optimal as Optimal
from .posterior import Posterior as Posterior
from .posterior import Small as Small
from .posterior import posterior as posterior

__getattr__ = attributes(__name__)
