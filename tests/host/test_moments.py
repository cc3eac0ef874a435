"""Models whose output is a polynomial of the noise level alone: what an order means, exactly.

With outputs lam^k, whatever x is, a step that extrapolates a polynomial of degree d in lam is exact
for k <= d, on any grid. This finds the moment that is wrong, which an order measured elsewhere only
reports. The same in rho = sigma / alpha for linear multistep.
"""

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fastdiff.schedules import VPLinear
from fastdiff.solvers import (
    DEIS,
    LMS,
    DPMFast,
    DPMpp2M,
    DPMpp2MSDE,
    DPMpp3M,
    DPMpp3MSDE,
    DPMSolver,
    DPMSolverSinglestep,
    SASolver,
    UniPC,
)
from fastdiff.solvers.adams import weights
from fastdiff.solvers.lms import bashforth
from fastdiff.tables.lin import H, M
from tests.host.interpreter import run
from tests.support.registered import label

SCHEDULE = VPLinear()
TIMES = np.array([0.6, 0.53, 0.49, 0.4, 0.37, 0.3, 0.26])  # six steps, of uneven length in lam
ETA = 0.6


def last_step(solver, output, start=None):
    """The last step of a table whose model's output is ``output``(t): from where, and to where."""
    table = solver.lower(SCHEDULE, None, prediction=solver.prediction_target, grid=TIMES)
    x, anchor, visited = run(
        table.rows, lambda x, t: np.full(1, output(t)), np.full(1, 0.8), lambda n: np.zeros(1)
    )
    return (visited[-1] if start == "state" else anchor)[0], x[0]


def exact(target, eta, k, begin):
    """From ``begin`` to the end, by quadrature: the factor of x, the integral of lam^k."""
    t, s = (mpmath.mpf(float(SCHEDULE.lam(time))) for time in (begin, TIMES[-1]))
    alpha, sigma = float(SCHEDULE.alpha(TIMES[-1])), float(SCHEDULE.sigma(TIMES[-1]))
    if target == "x0":
        integral = mpmath.quad(lambda lam: mpmath.exp((1 + eta) * (lam - s)) * lam**k, [t, s])
        factor = mpmath.exp(-eta * (s - t)) * sigma / SCHEDULE.sigma(begin)
        return float(factor), float(alpha * (1 + eta) * integral)
    integral = mpmath.quad(lambda lam: mpmath.exp(s - lam) * lam**k, [t, s])
    return float(alpha / SCHEDULE.alpha(begin)), float(-sigma * (1 + eta) * integral)


def defect(solver, k, start="state", eta=0.0, begin=TIMES[-2]):
    """By how much the last step misses, for the output lam^k."""
    x, landed = last_step(solver, lambda t: float(SCHEDULE.lam(t)) ** k, start)
    factor, integral = exact(solver.prediction_target, eta, k, begin)
    return abs(landed - factor * x - integral)


MULTISTEP = [
    (DPMpp2M(), 0, 0.0),
    (DPMpp2M("heun"), 1, 0.0),
    (DPMpp2MSDE("heun", eta=ETA), 1, ETA),
    (DPMpp2MSDE(eta=ETA), 0, ETA),
    (DPMpp3M(), 1, 0.0),
    (DPMpp3M("corrected"), 2, 0.0),
    (DPMpp3MSDE(eta=ETA), 1, ETA),
    (DPMpp3MSDE("corrected", eta=ETA), 2, ETA),
    (DPMSolver(2), 0, 0.0),
    (DPMSolver(2, "heun", eta=ETA), 1, ETA),
    (DPMSolver(3), 1, 0.0),
    (DPMSolver(3, form="corrected", eta=ETA), 2, ETA),
    *((DEIS(order), order - 1, 0.0) for order in (1, 2, 3, 4)),
    (SASolver(1, 0, ETA**0.5), 0, ETA),
    (SASolver(2, 0, ETA**0.5), 0, ETA),
    (SASolver(3, 0, ETA**0.5), 2, ETA),
    (SASolver(4, 0, ETA**0.5), 3, ETA),
    (SASolver(4, 0, ETA**0.5, prediction_target="eps"), 3, ETA),
    (SASolver(2, 0, ETA**0.5, prediction_target="eps"), 1, ETA),
    *(
        (UniPC(order, variant, prediction_target=target, disable_corrector=range(9)), degree, 0.0)
        for order, degree in [(1, 0), (2, 0), (3, 2), (4, 3)]
        for variant in ("bh1", "bh2")
        for target in ("x0", "eps")
    ),
]


@pytest.mark.parametrize(("solver", "degree", "eta"), MULTISTEP, ids=label)
def test_extrapolation_is_exact_up_to_its_degree(solver, degree, eta):
    errors = [defect(solver, k, eta=eta) for k in range(degree + 2)]
    assert max(errors[:-1]) < 1e-12 and errors[-1] > 1e-5, errors


@pytest.mark.parametrize("target", ["x0", "eps"])
@pytest.mark.parametrize(("order", "variant"), [(2, "bh1"), (2, "bh2"), (3, "bh2"), (4, "bh1")])
def test_a_corrector_is_exact_up_to_the_order_of_its_predictor(order, variant, target):
    solver = UniPC(order, variant, prediction_target=target, correct_final=True)
    errors = [defect(solver, k, "anchor") for k in range(order + 2)]
    assert max(errors[:-1]) < 1e-12 and errors[-1] > 1e-5, errors


@pytest.mark.parametrize("target", ["x0", "eps"])
@pytest.mark.parametrize("corrector", [1, 2, 3, 4])
def test_the_anchor_of_sa_solver_is_carried_on(corrector, target):
    """The correction adds nothing but the integral to it."""
    solver = SASolver(2, corrector, ETA**0.5, None, target, correct_final=True)

    def miss(k):
        x, landed = last_step(solver, lambda t: float(SCHEDULE.lam(t)) ** k)
        return abs(landed - x - exact(target, ETA, k, TIMES[-2])[1])

    degree = 0 if (corrector, target) == (2, "x0") else corrector - 1  # its rule "bh1"
    errors = [miss(k) for k in range(degree + 2)]
    assert max(errors[:-1]) < 1e-12 and errors[-1] > 1e-5, errors


@pytest.mark.parametrize("target", ["x0", "eps"])
@pytest.mark.parametrize(
    ("order", "kind", "degree"),
    [(2, "midpoint", 0), (2, "heun", 1), (3, "midpoint", 1), (3, "heun", 2), (3, "paper", 1)],
)
def test_stages_are_exact_up_to_their_degree(order, kind, degree, target):
    solver, begin = DPMSolverSinglestep(order, kind, target), TIMES[-1 - order]
    errors = [defect(solver, k, "anchor", begin=begin) for k in range(degree + 2)]
    assert max(errors[:-1]) < 1e-12 and errors[-1] > 1e-5, errors


def test_stages_of_dpm_fast():
    """The last step spans one interval; a third-order one is not the last, so of order two."""
    errors = [defect(DPMFast(2), k, "anchor") for k in range(2)]
    assert errors[0] < 1e-12 and errors[1] > 1e-5


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_linear_multistep_is_exact_in_rho(order):
    t, s = TIMES[-2:]

    def rho(time):
        return float(SCHEDULE.sigma(time) / SCHEDULE.alpha(time))

    def miss(k):  # of the powers of rho less rho_t, in which no digits are lost
        x, landed = last_step(LMS(order), lambda time: (rho(time) - rho(t)) ** k, "state")
        integral = (rho(s) - rho(t)) ** (k + 1) / (k + 1)
        return abs(landed / SCHEDULE.alpha(s) - x / SCHEDULE.alpha(t) - integral)

    errors = [miss(k) for k in range(order + 1)]
    assert max(errors[:-1]) < 1e-12 and errors[-1] > 1e-6, errors


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-6, 3), min_size=1, max_size=4), st.data())
def test_weights_reproduce_their_moments(r, data):
    gaps = np.abs(np.subtract.outer([0, *r], [0, *r]))[np.triu_indices(len(r) + 1, 1)]
    assume(gaps.min() > 0.05)
    moments = data.draw(st.lists(st.floats(-3, 3), min_size=len(r), max_size=len(r)))
    w = weights(r, moments)
    for k, moment in enumerate(moments, start=1):
        size = np.abs(w) @ np.abs(np.power(r, k))
        assert abs(np.dot(w, np.power(r, k)) - moment) <= 1e-12 * max(1, size)


def test_weights_of_even_steps_are_those_of_adams_and_bashforth():
    known = [[1], [3, -1], [23, -16, 5], [55, -59, 37, -9]]
    for order, numerators in enumerate(known, start=1):
        mean = bashforth([(-k, H(k)) for k in range(1, order)])
        found = [mean["m"], *(mean[f"h{k}"] for k in range(1, order))]
        np.testing.assert_allclose(found, np.divide(numerators, sum(numerators)), rtol=1e-14)
    assert bashforth([]) == M
