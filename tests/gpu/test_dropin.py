"""Steps of the fused schedulers of diffusers on a device: those of the CPU, and no host that
waits."""

import copy
import warnings

import pytest
import torch

from tests.gpu.device_calls import DEVICE, needs_cuda

pytest.importorskip("diffusers")

import fastdiff.integrations.diffusers as fused  # noqa: E402
from fastdiff.integrations.diffusers.step_index import Host  # noqa: E402
from tests.support.loops import evaluated, start, takes  # noqa: E402
from tests.support.step_calls import CALLS, plainly  # noqa: E402
from tests.support.twins import NAMES, pair, plain  # noqa: E402

pytestmark = [
    needs_cuda,
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("error::fastdiff.integrations.diffusers.StockStepWarning"),
]
STEPS = 6
# torchsde's paths are on the host; Helios' pipelines make its noise there
ON_DEVICE = [
    n for n in NAMES if not hasattr(fused.SCHEDULERS[n], "_increment") and n != "HeliosDMDScheduler"
]
every = pytest.mark.parametrize("name", ON_DEVICE)


def scheduler_on(device, name):
    """As ``set_timesteps(..., device=device)`` leaves it."""
    scheduler = pair(name, plain(name), STEPS)[1]
    scheduler.timesteps = scheduler.timesteps.to(device)
    Host(scheduler).fetch("timesteps", scheduler.spec.levels, *scheduler.spec.tensors)
    return scheduler


def walk(scheduler, x, outputs, generator):
    """A loop whose model does not look at the timesteps."""
    name, every, results = type(scheduler).__name__, scheduler.timesteps, []
    options = {"generator": generator} if takes(scheduler, "generator") else {}
    for i, t in enumerate(evaluated(scheduler, every)):
        if hasattr(scheduler, "scale_model_input"):
            scheduler.scale_model_input(x, t)
        if name == "UnCLIPScheduler":
            options["prev_timestep"] = every[i + 1] if i + 1 < len(every) else None
        told = t.expand(len(x)) if name == "DDPMWuerstchenScheduler" else t
        call = CALLS.get(name, plainly)
        results.append(call(scheduler, outputs[i], told, x, results, every, options))
        x = results[-1]["prev_sample"]
    return results


def outputs_like(scheduler, x):
    generator = torch.Generator().manual_seed(1)
    count = len(scheduler.timesteps)
    return torch.randn((count, *x.shape), generator=generator).to(x.dtype)


@pytest.mark.parametrize("source", ["torch", "philox"])
@every
def test_no_step_waits(no_sync, name, source):
    scheduler = scheduler_on(DEVICE, name)
    scheduler.noise = source
    x = start(scheduler).to(DEVICE)
    outputs = outputs_like(scheduler, x).to(DEVICE)
    again = copy.deepcopy(scheduler)
    walk(scheduler, x, outputs, torch.Generator(DEVICE).manual_seed(2))  # loads what is loaded once
    with no_sync():
        walk(again, x, outputs, torch.Generator(DEVICE).manual_seed(2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@every
def test_results_are_those_of_the_cpu(name, dtype):
    """With the noise of a generator on the host, from which both draw the same."""
    results = []
    for device in ("cpu", DEVICE):
        scheduler = scheduler_on(device, name)
        x = start(scheduler, dtype=dtype)
        outputs = outputs_like(scheduler, x)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # diffusers says that generators should be elsewhere
            results.append(walk(scheduler, x.to(device), outputs.to(device),
                                torch.Generator().manual_seed(2)))  # fmt: skip
    for mine, wanted in zip(*reversed(results), strict=True):
        for key in wanted:
            if isinstance(wanted[key], torch.Tensor):
                scale = max(1.0, float(wanted[key].float().abs().max()))
                slack = 1e-4 if dtype == torch.float32 else 0.05
                error = float((mine[key].cpu().float() - wanted[key].float()).abs().max())
                assert mine[key].dtype == wanted[key].dtype and error <= slack * scale
