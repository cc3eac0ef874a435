"""``SamplerState.step`` inside of what torch.compile traces, as one graph with the model."""

import pytest
import torch

import fastdiff as fd
from fastdiff.guidance import CFG
from tests.support.helpers import same_bits

VP = fd.schedules.VPLinear()
SHAPE = (2, 4, 3, 3)
KNOWN = {"known": torch.zeros(SHAPE), "mask": torch.eye(3).expand(SHAPE).contiguous()}

# solver, options of lower, options of the state
CASES = {
    "noise": (fd.solvers.DDPM(), {"clip": 1.0}, {}),
    "memory": (fd.solvers.UniPC(), {}, {}),
    "learned variance": (fd.solvers.DDPM("learned_range"), {}, {}),
    "threshold": (fd.solvers.DPMpp2M(), {"clip": fd.solvers.DynamicThreshold(0.9, 2.0)}, {}),
    "known": (fd.solvers.Inpaint(fd.solvers.DDIM(eta=1.0)), {}, KNOWN),
    "adaptive": (fd.solvers.DDIM(), {}, {"guidance": CFG(3.0, rescale=0.7)}),
    "half": (fd.solvers.DPMpp2M(), {}, {"guidance": CFG(3.0), "model_dtype": torch.bfloat16}),
}


def state_of(case, steps=3):
    solver, lowered, options = CASES[case]
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    return fd.SamplerState(solver.lower(VP, steps, **lowered), x, seeds=5, **options)


def advance(state, doubled):
    out = torch.sin(3 * state.model_input) + state.t.reshape(-1, 1, 1, 1).to(state.model_input)
    state.step(torch.cat([out, 0.1 * out], dim=1) if doubled else out)
    return state.x + 0


@pytest.mark.parametrize("case", CASES)
def test_the_same_bits_without_a_graph_break(case):
    torch._dynamo.reset()
    compiled = torch.compile(advance, fullgraph=True, backend="aot_eager")
    eager, traced = state_of(case), state_of(case)
    while not eager.done:
        wanted = advance(eager, case == "learned variance")
        assert same_bits(compiled(traced, case == "learned variance"), wanted)
        for name in ("x", "model_input", "t", "row"):
            assert same_bits(getattr(traced, name), getattr(eager, name)), name
        assert traced.remaining == eager.remaining
    assert traced.done


def test_a_whole_loop_is_one_graph():
    torch._dynamo.reset()

    def loop(state):
        while not state.done:
            advance(state, False)
        return state.x + 0

    wanted = loop(state_of("memory"))
    compiled = torch.compile(loop, fullgraph=True, backend="eager")
    assert same_bits(compiled(state_of("memory")), wanted)


def test_noise_of_the_host_is_refused_with_the_reason():
    torch._dynamo.reset()
    solver, lowered, _ = CASES["noise"]
    state = fd.SamplerState(solver.lower(VP, 3, **lowered), torch.zeros(SHAPE), noise="torch")
    before = state.x.clone()
    compiled = torch.compile(advance, fullgraph=True, backend="eager")
    with pytest.raises(Exception, match='noise: expected "philox" in a step that torch.compile'):
        compiled(state, False)
    assert torch.equal(state.x, before) and state.remaining == 3
