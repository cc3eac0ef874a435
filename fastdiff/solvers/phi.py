"""The phi functions of exponential integrators, accurate for every step size.

phi_k(z) = sum_j z^j / (j + k)!, so phi_0 = e^z and phi_{k+1}(z) = (phi_k(z) - 1/k!) / z.
The moments of a step in lam,

    I_k(H) = H phi_{k+1}(-H) = int_0^H e^{u - H} u^k du / (k! H^k)    weight of H^k x0^(k)
    J_k(h) = h phi_{k+1}(+h) = int_0^h e^{h - u} u^k du / (k! h^k)    weight of h^k eps^(k)

lose all their digits in closed form when the step is small (I_2 at h = 0.001 has 6 of 16 left),
hence the series.
"""

from math import exp, expm1, factorial, inf


def phi(k: int, z: float) -> float:
    """phi_k(z), k >= 0, to a few units in the last place."""
    if abs(z) < 1:
        total = 0.0
        for j in reversed(range(22)):
            total = total * z + 1 / factorial(j + k)
        return total
    if k == 0:
        return exp(z)
    value = expm1(z) / z
    for j in range(1, k):
        value = (value - 1 / factorial(j)) / z
    return value


def I(k: int, H: float) -> float:  # noqa: E743 - the name in the literature
    """I_k(H): I_0 = 1 - e^{-H}, I_1 = 1 - I_0/H, I_2 = 1/2 - (H - I_0)/H^2. H may be inf."""
    return 1 / factorial(k) if H == inf else H * phi(k + 1, -H)


def J(k: int, h: float) -> float:
    """J_k(h): J_0 = e^h - 1, J_1 = (J_0 - h)/h, J_2 = (J_0 - h - h^2/2)/h^2."""
    return h * phi(k + 1, h)
