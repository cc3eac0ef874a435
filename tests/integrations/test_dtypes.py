"""Samples of one dtype and model outputs of another, as under autocast: results of the dtypes of
stock, no further from the truth."""

import sys
from itertools import permutations

import pytest
import torch

from tests.integrations.test_contract import Tape
from tests.support.loops import loop, start
from tests.support.twins import NAMES, pair, plain, smooth, values_of, widened

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have:UserWarning"),  # torchsde, of ends
]
SHORT = {
    torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16", torch.float64: "f64",
}  # fmt: skip
MIXED = [pytest.param(*both, id="-".join(map(SHORT.get, both))) for both in permutations(SHORT, 2)]
STEPS = 4
SLACK = {
    # one step of it is 100 times a difference of numbers of up to 4: 400 * 2**-24
    "DDPMWuerstchenScheduler": 2.4e-5,
    # the stock one starts 4e-6 beyond pi / 2, where there is nothing
    "SCMScheduler": 2e-5,
}

mixed = pytest.mark.parametrize(("sample", "output"), MIXED)


class Draws:
    """What a stock scheduler draws, drawn again in the dtypes of the first time and rounded."""

    def __init__(self, monkeypatch, scheduler):
        module = sys.modules[type(scheduler).__module__]
        self.draw, self.dtypes, self.again = getattr(module, "randn_tensor", None), [], None
        if self.draw:
            monkeypatch.setattr(module, "randn_tensor", self)

    def __call__(self, shape, *args, dtype=None, **options):
        if self.again is None:
            self.dtypes.append(dtype)
            return self.draw(shape, *args, dtype=dtype, **options)
        return self.draw(shape, *args, dtype=next(self.again), **options).double()


@pytest.mark.filterwarnings("error::fastdiff.integrations.diffusers.StockStepWarning")
@pytest.mark.covered(times=4)
@mixed
@pytest.mark.parametrize("name", NAMES)
def test_mixed_dtypes(monkeypatch, name, sample, output):
    """Steps from the states and outputs of the stock run."""
    smooth(monkeypatch)
    stock, ours = pair(name, plain(name), STEPS)
    exact, draws = widened(stock), Draws(monkeypatch, stock)
    tape, x = Tape(stock, output), start(stock, dtype=sample)
    theirs, _ = loop(stock, x, model=tape.record)
    states = [result["prev_sample"] for result in theirs]
    mine, _ = loop(ours, x, model=tape.play(output), between=lambda i, _: states[i])
    draws.again = iter(draws.dtypes)
    truth, _ = loop(
        exact, x.double(), model=tape.play(torch.float64), between=lambda i, _: states[i].double()
    )
    for one, other, true in zip(mine, theirs, truth, strict=True):
        for value, stock_value, wanted in zip(*map(values_of, (one, other, true)), strict=True):
            assert value.dtype == stock_value.dtype
            slack = SLACK.get(name, 1e-5) * max(1.0, float(wanted.abs().max()))
            gap, allowed = (float((v.double() - wanted).abs().max()) for v in (value, stock_value))
            assert gap <= allowed + slack


X0 = [n for n in NAMES if n.startswith(("DDPMS", "DDIMS", "Euler", "Heun", "LMS", "LCM", "TCD",
                                        "UnCLIP", "DPMSolverMultistep", "DEIS", "UniPC", "SAS",
                                        "CogVideoXD"))]  # fmt: skip


@pytest.mark.filterwarnings("ignore::fastdiff.integrations.diffusers.StockStepWarning")
@pytest.mark.covered(times=9)
@mixed
@pytest.mark.parametrize("name", X0)
@pytest.mark.parametrize("prediction", ["sample", "v_prediction", "epsilon"])
def test_dtypes_of_what_is_predicted(name, prediction, sample, output):
    """What is not computed has the dtype in which it was given."""
    if name == "UnCLIPScheduler" and prediction == "v_prediction":
        pytest.skip("the stock scheduler has no such prediction")
    dtypes = []
    for scheduler in pair(name, {"prediction_type": prediction}, 3):
        try:
            results, _ = loop(
                scheduler, start(scheduler, dtype=sample), model=lambda y, t: y.to(output)
            )
        except (NotImplementedError, ValueError) as error:
            dtypes.append(type(error))
            continue
        dtypes.append([[value.dtype for value in values_of(result)] for result in results])
    assert dtypes[0] == dtypes[1]
