"""Walking towards noise: the inversion of samples to what they come from."""

from math import inf

import numpy as np
import pytest

from fastdiff import grids
from fastdiff.row import COLUMN
from fastdiff.schedules import (
    DiscreteBetas,
    RectifiedFlow,
    VPLinear,
)
from fastdiff.solvers import (
    DDIM,
    DDPM,
    KDPM2,
    TCD,
    Consistency,
    DDIMInverse,
    DPMpp2M,
    Euler,
    EulerAncestral,
    EulerAncestralRF,
    FlowHeun,
    Heun,
)
from tests.host.interpreter import run
from tests.host.problems import Mixture
from tests.support.registered import label


@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_inversion_tells_the_next_time_and_starts_at_data(prediction, clip):
    schedule = DiscreteBetas.linear()
    table = DDIMInverse().lower(schedule, 4, prediction=prediction, clip=clip)
    assert table.t.tolist() == [-1, -1, 249, 499, 749, 999]
    assert table.model_t.tolist() == [249, 499, 749, 999] and table.rows[1, COLUMN["draw"]] == 0
    assert DDIMInverse(shifted=False).lower(schedule, 4).model_t.tolist() == [249, 249, 499, 749]


@pytest.mark.parametrize("solver", [DDIM(), Euler(), Heun(), KDPM2(), FlowHeun()], ids=label)
def test_there_and_back(solver):
    """Towards noise and back the errors are those of the order."""
    problem = Mixture()

    def gap(steps):
        away = solver.lower(problem.schedule, steps, grid=grids.Reversed(grids.Uniform()))
        back = solver.lower(problem.schedule, steps, grid=grids.Uniform())
        assert away.sigma[-1] == back.sigma[0] and away.sigma[0] == back.sigma[-1]
        x = 0.3 * problem.start
        noise, *_ = run(away.rows, problem.eps, x)
        return np.abs(run(back.rows, problem.eps, noise)[0] - x).max()

    assert np.log2(gap(40) / gap(80)) > solver.order - 0.2


@pytest.mark.parametrize("solver", [FlowHeun(), Heun(), KDPM2(), DPMpp2M(), DDIM()], ids=label)
def test_inversion_up_to_pure_noise(solver):
    grid = grids.Reversed(grids.Uniform(end=0.1))
    table = solver.lower(RectifiedFlow(), 5, prediction="flow", grid=grid)
    assert table.alpha[-1] == 0 and np.isfinite(table.rows[:-1, 5:]).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: DDPM().lower(VPLinear(), 3, grid=grids.Reversed(grids.Uniform(end=0.1))),
         ValueError, "times must decrease for the stochastic DDPM"),
        (lambda: Heun().lower(VPLinear(), 3, grid=grids.Reversed(grids.Uniform())),
         ValueError, r'must start at sigma > 0 \(final="min"\) for Heun'),
        (lambda: DDIMInverse().lower(VPLinear(), 3, prediction="x0"),
         ValueError, '"x0" is undefined at sigma = 0 .*clean data do not determine eps'),
        (lambda: DDIMInverse(eta=0.5), ValueError, "DDIMInverse: eta must be 0, got 0.5"),
        (lambda: grids.Reversed("leading"), TypeError, "Reversed: grid must be a fastdiff grid"),
        (lambda: grids.Reversed([1, 0.5, 0.7])(VPLinear(), 2), ValueError, "times must decrease"),
        (lambda: EulerAncestral(s_noise=-1), ValueError, "s_noise must be a finite number >= 0"),
        (lambda: EulerAncestralRF(2.0), ValueError, r"eta must be a number in \[0, 1\]"),
        (lambda: TCD(gamma=1.2), ValueError, r"TCD: gamma must be a number in \[0, 1\], got 1.2"),
        (lambda: Consistency(sigma_min=inf), ValueError, "sigma_min must be a finite number >= 0"),
        (lambda: Heun(s_churn=-1), ValueError, "Heun: s_churn must be a finite number >= 0"),
        (lambda: Heun(1, 2, 1), ValueError, "s_tmax must be >= s_tmin = 2, got 1"),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
