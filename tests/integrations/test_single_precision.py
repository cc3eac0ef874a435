"""Twins and guidance on a device that has no float64: what is computed in it stays on the host."""

import pytest
import torch

import fastdiff as fd
import fastdiff.integrations.diffusers as fused
from tests.integrations.test_noising import ALL, call, outcome, tensors, timesteps_for
from tests.support.loops import start
from tests.support.pretend_device import There, pretend_device
from tests.support.step_calls import CALLS, plainly
from tests.support.twins import NAMES, distance, pair, plain, values_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have:UserWarning"),  # torchsde, of ends
    pytest.mark.filterwarnings("ignore::fastdiff.integrations.diffusers.StockStepWarning"),
]
STEPS = 6


def test_the_device(monkeypatch):
    with pretend_device(monkeypatch):
        x = torch.arange(3.0).to("meta")
        assert type(x) is There and not x.is_cpu and (2 * x).cpu().tolist() == [0, 2, 4]
        for make in (x.double, lambda: torch.zeros(2, dtype=torch.float64, device="meta")):
            with pytest.raises(TypeError, match="no float64"):
                make()


def is_ours(name, method):
    twin = fused.SCHEDULERS[name]
    return getattr(twin, method) is not getattr(twin.stock, method)


@pytest.mark.parametrize("begins", [False, True], ids=["timesteps", "begin index"])
@pytest.mark.parametrize(("name", "method"), [c for c in ALL if is_ours(*c)])
def test_the_forward_process(monkeypatch, name, method, begins):
    """Timesteps and sigmas on the device or on the host, as schedulers leave them."""
    stock, ours = pair(name, plain(name), STEPS)
    if begins and not hasattr(stock, "set_begin_index"):
        pytest.skip("its timesteps alone say where it is")
    for scheduler in (stock, ours):
        if begins:
            scheduler.set_begin_index(2)
    samples, noise = tensors()
    timesteps = timesteps_for(stock, name)
    wanted, refusal = outcome(stock, method, samples, noise, timesteps)
    if refusal:
        pytest.skip("the stock scheduler refuses")
    for moved in (False, True):
        with pretend_device(monkeypatch):
            if moved and getattr(ours, "sigmas", None) is not None:
                ours.sigmas = ours.sigmas.float().to("meta")
            there = (v.to("meta") for v in (samples, noise, timesteps.to(torch.float32)
                     if timesteps.is_floating_point() else timesteps))  # fmt: skip
            value = call(ours, method, *there).cpu()
        assert distance(value, wanted) <= 1e-6 * max(1.0, float(wanted.abs().max()))


@pytest.mark.parametrize("name", NAMES)
def test_a_step(monkeypatch, name):
    """It is that of stock."""
    results = []
    for scheduler in pair(name, plain(name), STEPS):
        x, t, every = start(scheduler), scheduler.timesteps[0], scheduler.timesteps
        options = {"prev_timestep": every[1]} if name == "UnCLIPScheduler" else {}
        step = CALLS.get(name, plainly)
        t = t.expand(len(x)) if name == "DDPMWuerstchenScheduler" else t
        torch.manual_seed(0)
        with pretend_device(monkeypatch), torch.no_grad():
            try:
                x = x.to("meta")
                done = step(scheduler, torch.sin(x), t, x, [], every, options)
                results.append([value.cpu() for value in values_of(done)])
            except Exception as error:
                results.append(type(error))
    theirs, mine = results
    if isinstance(theirs, type):
        assert mine is theirs
    else:
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


SCALES = [
    (3.0, 0.0), (3.0, 0.7),
    (torch.tensor([1.0, 3.0, 5.0]), 0.0), (torch.tensor([1.0, 3.0, 5.0]), 0.7),
    (torch.tensor([1.0, 3.0, 5.0], dtype=torch.float64), 0.7),
    (fd.guidance.APG(5.0, norm=15.0), 0.0), (fd.guidance.TCFG([1.0, 3.0, 5.0]), 0.0),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("case", range(len(SCALES)))
def test_guidance(monkeypatch, case, dtype):
    scale, rescale = SCALES[case]
    outputs = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    wanted = fd.guidance.mix(*outputs, scale, rescale=rescale)
    with pretend_device(monkeypatch), fd.backend("reference"), torch.no_grad():
        there = (v.to("meta") for v in outputs)
        value = fd.guidance.mix(*there, scale, rescale=rescale).cpu()
    assert value.dtype == dtype
    unit = 2e-3 if dtype == torch.float16 else 1e-5
    torch.testing.assert_close(value, wanted, rtol=unit, atol=unit)
