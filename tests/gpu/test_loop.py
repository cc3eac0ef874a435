"""Whole loops on a device: the samples of the CPU, and a host that never waits."""

import pytest
import torch

import fastdiff as fd
from fastdiff.guidance import APG, CFG
from fastdiff.sampling.graph import StepGraph
from tests.gpu.device_calls import DEVICE, Net, assert_equal, needs_cuda
from tests.support.toy import SOLVERS, TABLES, start, table_of

pytestmark = needs_cuda
STRUCTURES = ["DDIM", "DDPM", "UniPC", "DPMppSDE", "KDPM2Ancestral"]  # noise, history, anchors


def loops(table, **options):
    """The same run on the CPU, eagerly on the device, and in a graph."""
    net = Net()
    x = options.pop("x", start())
    yield fd.sample(net, x, table, **options)
    for graph in (False, True):
        yield fd.sample(net, x.to(DEVICE), table, graph=graph, **options)


@pytest.mark.parametrize("name", SOLVERS)
def test_samples_of_every_solver(name):
    expected, eager, graphed = loops(TABLES[name], seeds=[5, 6, 7])
    assert_equal(eager, expected, "eager")
    assert_equal(graphed, expected, "graphed")


OPTIONS = {
    "guidance": {"guidance": CFG(2.5)},
    "scales and interval": {"guidance": CFG([0.0, 1.0, 4.0], interval=(0.1, 5.0))},
    "rescaled": {"guidance": CFG([0.0, 1.0, 4.0], rescale=0.7)},
    "projected": {"guidance": APG(4.0, interval=(0.1, 5.0), eta=0.5, norm=3.0)},
    "bfloat16 model": {"model_dtype": torch.bfloat16, "guidance": CFG(-1.0)},
    "float64": {"x": start(dtype=torch.float64)},
    "float16": {"x": start(dtype=torch.float16)},
    "policy": {"x": start(1, (16, 7))},
    "latents": {"x": start(2, (4, 64, 64))},
    "numbers": {"x": start(3, ())},
    "nothing": {"x": start(0)},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", STRUCTURES)
def test_options(name, options):
    expected, eager, graphed = loops(TABLES[name], seeds=3, **OPTIONS[options])
    assert_equal(eager, expected, "eager")
    assert_equal(graphed, expected, "graphed")


def test_a_table_for_each_sample():
    tables = [TABLES["DDPM"], table_of("DDIM", 9), TABLES["UniPC"]]
    expected, eager, graphed = loops(tables, seeds=3)
    assert_equal(eager, expected, "eager")
    assert_equal(graphed, expected, "graphed")


@pytest.mark.parametrize("noise", ["philox", "torch", "brownian"])
@pytest.mark.parametrize("name", STRUCTURES)
def test_nothing_waits_in_a_loop(name, noise, no_sync):
    net, table = Net(), TABLES[name]
    for graphed in (False, True):
        state = fd.SamplerState(table, start().to(DEVICE), guidance=CFG(2.0), noise=noise)
        graph = StepGraph(net, state, {}) if graphed else None
        with no_sync():
            while not state.done:
                if graph is None:
                    state.step(net(state.model_input, state.t))
                else:
                    graph.step()
        assert state.x.isfinite().all()


def test_nothing_waits_where_samples_draw_at_different_points(no_sync):
    """Their places in the batch travel to the device."""
    tables = [TABLES["DDPM"], table_of("DDPM", 9), TABLES["DDIM"]]
    state = fd.SamplerState(tables, start().to(DEVICE), noise="brownian")
    with no_sync():
        while not state.done:
            state.step(Net()(state.model_input, state.t))
    assert state.x.isfinite().all()


def test_the_guard_against_waiting_sees_one(no_sync):
    x = start().to(DEVICE)
    with no_sync(), pytest.raises(RuntimeError, match="synchroniz"):
        x.sum().item()


def allocations():
    return torch.cuda.memory_stats()["allocation.all.allocated"]


@pytest.mark.parametrize("noise", ["philox", "torch"])
@pytest.mark.parametrize("name", STRUCTURES)
def test_nothing_is_allocated_in_a_step(name, noise):
    table = table_of(name, 20)
    state = fd.SamplerState(table, start().to(DEVICE), guidance=CFG(2.0), noise=noise)
    out = torch.randn_like(state.model_input)
    state.step(out)
    before = allocations()
    while not state.done:
        state.step(out)
    assert allocations() == before
    torch.empty(1, device=DEVICE)
    assert allocations() == before + 1, "the counter counts"


@pytest.mark.parametrize("graphed", [False, True])
def test_on_the_stream_in_use(graphed):
    """A step waits for what is enqueued before it on its own stream, and only there: the model's
    output is written late, and is not a number until then."""
    table, x = TABLES["DPMpp2MSDE"], start(2, (4, 64, 64)).to(DEVICE)
    values = [torch.randn_like(x) for _ in range(table.nfe)]

    def loop(late):
        out = torch.full_like(x, torch.nan)
        state = fd.SamplerState(table, x, seeds=4)
        replay = StepGraph(lambda *_: out, state, {}).step if graphed else lambda: state.step(out)
        torch.cuda.synchronize()
        for value in values:
            out.fill_(torch.nan)
            torch.cuda.synchronize()
            with torch.cuda.stream(torch.cuda.Stream() if late else torch.cuda.current_stream()):
                if late:
                    torch.cuda._sleep(20_000_000)  # cycles, about 10 ms
                out.copy_(value)
                replay()
            torch.cuda.synchronize()
        return state.x.clone()

    expected = loop(late=False)
    assert expected.isfinite().all()
    assert_equal(loop(late=True), expected)
