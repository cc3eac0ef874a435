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

from .adaptive import sample_dpm_adaptive as sample_dpm_adaptive
from .likelihood import log_likelihood as log_likelihood
from .noise import BrownianTreeNoiseSampler as BrownianTreeNoiseSampler
from .noise import independent as default_noise_sampler  # noqa: F401
from .samplers import sample_dpm_2 as sample_dpm_2
from .samplers import sample_dpm_2_ancestral as sample_dpm_2_ancestral
from .samplers import sample_dpm_fast as sample_dpm_fast
from .samplers import sample_dpmpp_2m as sample_dpmpp_2m
from .samplers import sample_dpmpp_2m_sde as sample_dpmpp_2m_sde
from .samplers import sample_dpmpp_2s_ancestral as sample_dpmpp_2s_ancestral
from .samplers import sample_dpmpp_3m_sde as sample_dpmpp_3m_sde
from .samplers import sample_dpmpp_sde as sample_dpmpp_sde
from .samplers import sample_euler as sample_euler
from .samplers import sample_euler_ancestral as sample_euler_ancestral
from .samplers import sample_heun as sample_heun
from .samplers import sample_lms as sample_lms
from .sigmas import append_zero as append_zero
from .sigmas import get_ancestral_step as get_ancestral_step
from .sigmas import get_sigmas_exponential as get_sigmas_exponential
from .sigmas import get_sigmas_karras as get_sigmas_karras
from .sigmas import get_sigmas_polyexponential as get_sigmas_polyexponential
from .sigmas import get_sigmas_vp as get_sigmas_vp
from .sigmas import to_d as to_d
