"""The samplers and likelihoods of score_sde (PyTorch), with its call conventions.

::

    from fastdiff.integrations import score_sde as sampling  # was: import sampling

    sampler = sampling.get_pc_sampler(
        sde, shape, "reverse_diffusion", "langevin", inverse_scaler, snr=0.16, eps=1e-5
    )
    samples, nfe = sampler(model)

``sde`` is an object of score_sde, found by the name of its class (VPSDE, subVPSDE, VESDE), one of
those of this module, or a ``fastdiff.processes`` VP, SubVP or VE, with N = 1000. Predictors and
correctors are names ("reverse_diffusion", "langevin", ...), score_sde's classes, or None. Classes
with methods of their own are refused, they would not be called. The model is called as there:
model(x, labels), labels 999 t or (N - 1) t (VP), sigma(t) or the number of the level (VE), and put
into evaluation mode. Nothing leaves the device and nothing waits for it, but for one question a
step of the ODE solvers. Nothing is imported from score_sde.

The noise is that of score_sde: the same draws of torch's default generator.

Known differences, other than rounding:

* The coefficients are computed in float64, so no step of the chain is missed or taken twice because
  t (N - 1) was rounded down in float32.
* The ODE solvers have a step size for every sample, in log(alpha / sigma) instead of t, and only
  "RK45". A float64 state between calls of a float32 model, as there.
* The Langevin correctors work for the sub-VP SDE, with the betas of the VP SDE.
"""

from .likelihood import get_likelihood_fn
from .sampling import get_ode_sampler, get_pc_sampler, get_sampling_fn
from .sdes import VESDE, VPSDE, subVPSDE

__all__ = [
    "VESDE",
    "VPSDE",
    "get_likelihood_fn",
    "get_ode_sampler",
    "get_pc_sampler",
    "get_sampling_fn",
    "subVPSDE",
]
