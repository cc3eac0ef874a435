"""The schedulers of diffusers with a step that is one kernel; pipelines stay as they are.

::

    import fastdiff.integrations.diffusers as fused

    fused.accelerate(pipe)  # swaps every scheduler in it
    pipe.scheduler = fused.DDIMScheduler.from_config(pipe.scheduler.config)  # or this one

The classes have the names of those that they replace, and are subclasses of them.
"""

try:
    # diffusers looks for its base class in the module of a scheduler before it loads one
    from diffusers import SchedulerMixin as SchedulerMixin
except ImportError as error:
    raise ImportError(
        "fastdiff.integrations.diffusers needs diffusers: pip install 'fastdiff[integrations]'"
    ) from error

from .guiders import GUIDERS as GUIDERS
from .schedulers import SCHEDULERS as SCHEDULERS
from .stock import StockStepWarning as StockStepWarning
from .swap import accelerate as accelerate
from .swap import plan as plan
from .swap import portable as portable
from .swap import restore as restore
from .swap import sampler_of as sampler_of

globals().update(SCHEDULERS | GUIDERS)
