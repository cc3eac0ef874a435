"""The narrow waist: a few operations on tensors that know no diffusion words.

Each is ``torch.ops.fastdiff.<name>`` with a schema, a fake implementation and a PyTorch reference
(``fastdiff.ops.reference``) that serves every device without native code.
"""

from .bound import bind as bind
from .generator import randn_ as randn_
from .generator import skip_like as skip_like
from .library import native as native
from .moments import moments as moments
from .noise import normal as normal
from .select import backend as backend
from .select import backend_of as backend_of
from .step import step_ as step_
from .training import bernoulli as bernoulli
from .training import categorical as categorical
from .training import discretised_gaussian as discretised_gaussian
from .training import discretised_logistic as discretised_logistic
from .training import gaussian_kl as gaussian_kl
from .training import gaussian_log_prob as gaussian_log_prob
from .training import gaussian_sample_kl as gaussian_sample_kl
from .training import mix_noise as mix_noise
from .training import squared_error as squared_error
