"""Weights of Adams methods: the integral of a polynomial through what is known of a function.

A model's output m is known where the step starts, r = 0, and at other nodes r_j, both behind
(multistep, Adams-Bashforth) and ahead (correctors, Adams-Moulton; stages of one step). With the
moments c_k = integral of r^k against the weight of the method, the integral of the interpolant is

    c_0 m(0) + sum_j w_j (m(r_j) - m(0)),   where sum_j w_j r_j^k = c_k for k = 1 .. n

in closed form, for any spacing of the nodes. A constant m is integrated exactly whatever w is.
"""

from ..tables.lin import Lin


def weights(r: list[float], moments: list[float]) -> list[float]:
    """w_j of the n nodes ``r`` (distinct, not 0) for the moments c_1 .. c_n."""
    result = []
    for j, node in enumerate(r):
        basis = [1.0]  # of the Lagrange polynomial that is 1 at the node, powers rising
        for other in r[:j] + r[j + 1 :]:
            shifted = zip([0.0, *basis], [*basis, 0.0], strict=True)
            basis = [(low - other * high) / (node - other) for low, high in shifted]
        total = 0.0
        for b, c in zip(basis, moments, strict=True):
            total += b * c
        result.append(total / node)
    return result


def integral(m: Lin, nodes: list[tuple[float, Lin]], moments: list[float]) -> Lin:
    """The integral of the interpolant of m at 0 and of the (r_j, value), for c_0 .. c_n."""
    total = moments[0] * m
    if nodes:
        w = weights([r for r, _ in nodes], moments[1:])
        for w_j, (_, value) in zip(w, nodes, strict=True):
            total += w_j * (value - m)
    return total
