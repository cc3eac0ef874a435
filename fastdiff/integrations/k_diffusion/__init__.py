"""The samplers of k-diffusion, with its signatures, its noise and its callbacks.

::

    from fastdiff.integrations import k_diffusion as sampling  # was: from k_diffusion import ...

    x = sampling.sample_dpmpp_2m(model, x, sigmas, extra_args={"cond": cond}, callback=show)

The model is called as ever, ``model(x, sigma, **extra_args) -> denoised``; what is between two of
its calls is one kernel. The numbers of the steps are computed once, in float64; from a device only
``sigmas`` is read, at the start. Nothing is imported from k-diffusion.

Known differences, other than rounding:

* ``sigmas`` must be strictly monotone, zero at most at the end; increasing ones (from data to
  noise) are for samplers without noise.
* ``eta`` and ``r`` of ``dpmpp_sde`` are limited to [0, 1] and (0, 1], ``order`` of ``lms`` to 5, or
  to the number of steps. ``dpm_adaptive`` only goes from sigma_max down to sigma_min, and not
  without any element.
* Where ``eta`` is so large that ``dpm_2_ancestral`` keeps no noise, the fresh noise is added, which
  k-diffusion leaves out there.
* ``extra_args["seed"]``, which the model gets, too, seeds the default noise as ComfyUI does.
* ``flow=True``, or a model whose object tells it, is for rectified flows. From sigma = 1 a step of
  ``dpmpp_2s_ancestral`` has one evaluation; ComfyUI's has a second at 0.9999.
* The multistep SDE samplers also take a single step to sigma = 0.
* Half-precision samples are kept in float32 between the calls of the model, which gets them in the
  dtype of x; so are the samples that are returned. k-diffusion's become float32 on the way.
* A model that returns float64 for others than float64 samples has its outputs rounded to float32.
* ``x`` in what a callback is given is a copy: written to it is followed, but the tensor that the
  sampler was called with stays as it is.
* ``DPMSolver``, ``PIDStepSizeController``, ``BatchedBrownianTree`` and ``linear_multistep_coeff``,
  of which its samplers are made, are not here.
* Without torchsde the default noise of the SDE samplers is that of ``noise.PathNoise``: of the same
  law, from the same seed of torch's generator, but other numbers.
"""

from .adaptive import sample_dpm_adaptive
from .likelihood import log_likelihood
from .noise import BrownianTreeNoiseSampler
from .noise import independent as default_noise_sampler
from .samplers import (
    sample_dpm_2,
    sample_dpm_2_ancestral,
    sample_dpm_fast,
    sample_dpmpp_2m,
    sample_dpmpp_2m_sde,
    sample_dpmpp_2s_ancestral,
    sample_dpmpp_3m_sde,
    sample_dpmpp_sde,
    sample_euler,
    sample_euler_ancestral,
    sample_heun,
    sample_lms,
)
from .sigmas import (
    append_zero,
    get_ancestral_step,
    get_sigmas_exponential,
    get_sigmas_karras,
    get_sigmas_polyexponential,
    get_sigmas_vp,
    to_d,
)

__all__ = [
    "BrownianTreeNoiseSampler",
    "append_zero",
    "default_noise_sampler",
    "get_ancestral_step",
    "get_sigmas_exponential",
    "get_sigmas_karras",
    "get_sigmas_polyexponential",
    "get_sigmas_vp",
    "log_likelihood",
    "sample_dpm_2",
    "sample_dpm_2_ancestral",
    "sample_dpm_adaptive",
    "sample_dpm_fast",
    "sample_dpmpp_2m",
    "sample_dpmpp_2m_sde",
    "sample_dpmpp_2s_ancestral",
    "sample_dpmpp_3m_sde",
    "sample_dpmpp_sde",
    "sample_euler",
    "sample_euler_ancestral",
    "sample_heun",
    "sample_lms",
    "to_d",
]
