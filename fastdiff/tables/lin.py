"""Linear combinations of operands, so that a solver reads like the algorithm box of its paper.

X       the state, where the model was just evaluated
S       the saved anchor
M       what the solver works in, from the latest model output: x0 or eps, as its attribute
        ``prediction_target`` says
X0      the x0 of the latest model output, whatever the solver works in
EPS     the eps of the latest model output, never clipped
EPS_U   the eps of the second mix of the model's outputs (CFG++: the unconditional one)
H(k)    what was remembered k stages ago, k = 1 the newest
Z, ZP   a fresh standard normal, and the previous one
"""

from sys import float_info

from ..row import HISTORY

epsilon = float_info.epsilon
_new = object.__new__


class Lin:
    """An immutable linear combination with float coefficients: ``0.5 * X + b * M - H(1) / 3``.

    Attributes:
        terms: operand -> coefficient, those that are not zero.
    """

    __slots__ = ("terms",)

    def __init__(self, terms=()):
        self.terms = {}
        for name, value in dict(terms).items():
            if value != 0:
                self.terms[name] = value

    def __getitem__(self, name):
        return self.terms.get(name, 0.0)

    def __add__(self, other, factor=1.0):
        """self + factor other. A sum that is only the rounding of its terms is 0, so that the
        operand need not be read; what is not finite stays so, for the table's check to find."""
        if not isinstance(other, Lin):
            # 0 lets sum() work
            return self if isinstance(other, (int, float)) and other == 0 else NotImplemented
        total = _new(Lin)
        total.terms = terms = {**self.terms}
        for name, value in other.terms.items():
            value = float(factor * value)
            mine = terms.get(name)
            if mine is not None:
                value += mine
                if abs(value) < 4 * epsilon * abs(mine):
                    value = 0.0
            if value != 0:
                terms[name] = value
            elif mine is not None:
                del terms[name]
        return total

    __radd__ = __add__

    def __neg__(self):
        return -1.0 * self

    def __sub__(self, other):
        return self.__add__(other, -1.0) if isinstance(other, Lin) else NotImplemented

    def __mul__(self, factor):
        if not isinstance(factor, (int, float)):
            return NotImplemented
        product = _new(Lin)
        product.terms = terms = {}
        for name, value in self.terms.items():
            if (scaled := float(value * factor)) != 0:
                terms[name] = scaled
        return product

    __rmul__ = __mul__

    def __truediv__(self, divisor):
        if not isinstance(divisor, (int, float)):
            return NotImplemented
        quotient = _new(Lin)
        quotient.terms = terms = {}
        for name, value in self.terms.items():
            if (scaled := float(value / divisor)) != 0:
                terms[name] = scaled
        return quotient

    def __eq__(self, other):
        return isinstance(other, Lin) and self.terms == other.terms

    def __hash__(self):
        return hash(frozenset(self.terms.items()))

    def __repr__(self):
        return " + ".join(f"{value:g} {name}" for name, value in self.terms.items()) or "0"

    def substitute(self, name: str, value: "Lin") -> "Lin":
        """The combination with operand ``name`` replaced by another combination."""
        if name not in self.terms:
            return self
        rest = _new(Lin)
        rest.terms = {**self.terms}
        return rest.__add__(value, rest.terms.pop(name))


NOTHING = Lin()
X = Lin({"x": 1.0})
S = Lin({"s": 1.0})
M = Lin({"m": 1.0})
O = Lin({"o": 1.0})  # noqa: E741 - the raw model output; for the lowering, solvers use M
X0 = Lin({"x0": 1.0})
EPS = Lin({"eps": 1.0})
EPS_U = Lin({"eps_u": 1.0})
U = Lin({"u": 1.0})  # the raw second mix; for the lowering
Z = Lin({"z": 1.0})
ZP = Lin({"zp": 1.0})


AGES = {f"h{age}": age for age in range(1, HISTORY + 1)}
_HISTORY = {age: Lin({name: 1.0}) for name, age in AGES.items()}


def H(age: int) -> Lin:
    """What was remembered ``age`` stages ago (1: the newest, at most 4)."""
    if age not in _HISTORY:
        raise ValueError(f"H: age must be 1..{HISTORY}, got {age!r}")
    return _HISTORY[age]
