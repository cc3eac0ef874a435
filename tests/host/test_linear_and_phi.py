"""The two little languages solvers are written in: linear combinations and phi functions."""

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdiff.solvers.exponential import Step
from fastdiff.solvers.phi import I, J, phi
from fastdiff.tables.lin import EPS, ZP, H, Lin, M, S, X, Z
from fastdiff.tables.path import Point

OPERANDS = {"x": X, "s": S, "m": M, "eps": EPS, "z": Z, "zp": ZP} | {
    f"h{k}": H(k) for k in range(1, 5)
}
VALUES = {name: 0.3 + 0.7 * i for i, name in enumerate(OPERANDS)}
NUMBER = st.floats(-10, 10).filter(lambda c: c == 0 or abs(c) > 1e-3)
LINS = st.dictionaries(st.sampled_from(list(OPERANDS)), NUMBER).map(
    lambda terms: sum((c * OPERANDS[name] for name, c in terms.items()), Lin())
)


def value(lin):
    return sum(c * VALUES[name] for name, c in lin.terms.items())


@given(LINS, LINS, NUMBER)
def test_combinations_evaluate_like_numbers(a, b, c):
    near = pytest.approx
    assert value(a + b) == near(value(a) + value(b), abs=1e-9)
    assert value(a - b) == near(value(a) - value(b), abs=1e-9)
    assert value(c * a) == value(a * c) == near(c * value(a), abs=1e-9)
    assert value(-a) == near(-value(a))
    assert a + b == b + a and a - a == Lin() and hash(a) == hash(a + Lin())
    if c:
        assert value(a / c) == near(value(a) / c, abs=1e-6)


@given(LINS, LINS)
def test_substitution(a, b):
    expected = value(a) + a["m"] * (value(b) - VALUES["m"])
    assert value(a.substitute("m", b)) == pytest.approx(expected, abs=1e-6)


ANY = st.one_of(NUMBER, st.sampled_from([np.nan, np.inf, -np.inf]))


@given(ANY, ANY)
def test_what_is_not_finite_stays_so(a, b):
    found = (a * X + b * X)["x"]
    np.testing.assert_equal(found, a + b if abs(a + b) > 1e-9 or np.isnan(a + b) else 0.0)


def test_misuse():
    for wrong in (lambda: X * X, lambda: X + 1, lambda: X / M, lambda: 2 / X):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(ValueError, match=r"H: age must be 1..4, got 5"):
        H(5)


@settings(deadline=None)
@given(st.integers(0, 4), st.floats(-40, 40))
def test_phi(k, z):
    with mpmath.workdps(60):
        exact = sum(mpmath.mpf(z) ** j / mpmath.factorial(j + k) for j in range(300))
        assert abs(phi(k, z) - exact) <= 3e-14 * abs(exact)


@given(st.integers(0, 4), st.lists(st.floats(-40, 40), min_size=1, max_size=5))
def test_phi_of_arrays_and_tensors(k, z):
    expected = [phi(k, number) for number in z]
    np.testing.assert_allclose(phi(k, np.array(z)), expected, rtol=6e-14)
    np.testing.assert_allclose(phi(k, torch.tensor(z, dtype=torch.float64)), expected, rtol=6e-14)


@pytest.mark.parametrize("h", [1e-8, 1e-3, 0.01, 0.999, 1.0, 3.0, 30.0])
def test_moments(h):
    with mpmath.workdps(60):
        x = mpmath.mpf(h)
        i0, j0 = 1 - mpmath.exp(-x), mpmath.exp(x) - 1
        exact_i = [i0, 1 - i0 / x, mpmath.mpf(1) / 2 - (x - i0) / x**2]
        exact_j = [j0, (j0 - x) / x, (j0 - x - x * x / 2) / x**2]
        for k in range(3):
            assert abs(I(k, h) - exact_i[k]) <= 3e-14 * abs(exact_i[k])
            assert abs(J(k, h) - exact_j[k]) <= 3e-14 * abs(exact_j[k])


@given(
    st.sampled_from(["x0", "eps"]),
    st.integers(-40, 40),
    st.integers(1, 2**14),
    st.sampled_from([0.0, 0.3, 1.0]),
)
def test_coefficients_of_short_steps(target, low, length, eta):
    """At exact lams, h from 2^-18 to 2^-4: no digit is lost to differences of equals."""
    with mpmath.workdps(50):
        lams = mpmath.mpf(low) / 8, mpmath.mpf(low) / 8 + mpmath.mpf(length) / 2**18
        alpha, sigma = ([1 / mpmath.sqrt(1 + mpmath.exp(f * x)) for x in lams] for f in (-2, 2))
        h = lams[1] - lams[0]
        if target == "x0":
            c_0 = alpha[1] * -mpmath.expm1(-(1 + mpmath.mpf(eta)) * h)
            noise = sigma[1] * mpmath.sqrt(-mpmath.expm1(-2 * mpmath.mpf(eta) * h))
        else:
            c_0 = -(1 + mpmath.mpf(eta)) * sigma[1] * mpmath.expm1(h)
            noise = sigma[1] * mpmath.sqrt(mpmath.mpf(eta) * mpmath.expm1(2 * h))
        t, s = (Point(0.0, float(alpha[i]), float(sigma[i]), float(lams[i])) for i in (0, 1))
        step = Step(target, t, s, eta)
        assert abs(step.c_0 - c_0) <= 1e-15 * abs(c_0)
        assert abs(step.noise["z"] - noise) <= 1e-15 * noise


def test_moments_of_an_infinite_step():
    assert [I(k, np.inf) for k in range(3)] == [1, 1, 0.5]
