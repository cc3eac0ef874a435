"""The contract of a guidance: one of one's own, what is checked, names of before."""

import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import fastdiff as fd
from fastdiff.guidance import APG, CFG, Guidance
from tests.sampling.guidance_formulas import CONDITIONS
from tests.support.helpers import same_bits
from tests.support.toy import TABLES, model, start


class Average(Guidance):
    outputs = 2

    def weights(self, noise_levels, batch):
        return np.full((1, 1, 2), 0.5)


def test_one_of_two_lines():
    expected = fd.sample(model, start(), TABLES["DDIM"], guidance=CFG(0.5), **CONDITIONS)
    sample = fd.sample(model, start(), TABLES["DDIM"], guidance=Average(), **CONDITIONS)
    assert same_bits(sample, expected)


@dataclass(frozen=True)
class Smooth(Guidance):
    """The mean of all conditional outputs so far, as a state."""

    outputs = 2
    data_dependent = True

    def weights(self, noise_levels, batch):
        return np.full((1, 1, 2), 0.5)

    def init_state(self, x):
        return torch.zeros_like(x)

    def update_state(self, state, outputs, weights):
        state.mul_(0.5).add_(outputs[1], alpha=0.5)

    def adjust_weights(self, weights, sums, count):
        rows = [[0.0, 0.0, 1.0]] * len(sums)
        return np.array(rows) if isinstance(sums, np.ndarray) else torch.tensor(rows)


@pytest.mark.parametrize("name", ["DDIM", "DPMpp2M", "DDIMCFGpp"])
def test_a_state_is_mixed_as_a_third_output(name):
    table, mean = TABLES[name], torch.zeros(3, 7, 5)
    sample = fd.sample(model, start(), table, guidance=Smooth(), **CONDITIONS)
    state = fd.SamplerState(table, start(), guidance=CFG(1.0))
    for _ in range(table.nfe):
        u, c = (
            model(state.model_input[:3], state.t[:3], given["shift"])
            for given in (CONDITIONS["uncond"], CONDITIONS["cond"])
        )
        mean = 0.5 * mean + 0.5 * c
        state.step([u, mean])
    torch.testing.assert_close(sample, state.x, rtol=1e-5, atol=1e-5)


def test_what_has_to_be_defined():
    with pytest.raises(TypeError, match="abstract"):
        type("Nothing", (Guidance,), {"outputs": 2})()
    for name, members, missing in [
        ("Adjusts", {"data_dependent": True}, "adjust_weights, because data_dependent"),
        ("Keeps", {"init_state": lambda self, x: x}, "update_state, because init_state"),
    ]:
        with pytest.raises(TypeError, match=f"{name}: expected {missing} is defined, got none"):
            type(name, (Guidance,), members)


@pytest.mark.parametrize("other", [2.0, CFG, "cfg", [1.0], object()])
def test_what_is_no_guidance(other):
    with pytest.raises(TypeError, match="^guidance: expected None or a fastdiff.guidance.Guidance"):
        fd.sample(model, start(), TABLES["DDIM"], guidance=other, cond={})


def test_old_names():
    guidance = APG(2.0)
    for old, new in [("adapts", "data_dependent"), ("second_weights", "secondary_weights"),
                     ("adapted", "adjust_weights"), ("kind", "cache_key")]:  # fmt: skip
        with pytest.warns(DeprecationWarning, match=f"^APG.{old} is now called {new}$"):
            found = getattr(guidance, old)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert found == getattr(guidance, new)
