"""Correctness before speed: each contestant against float64, given the noise that it drew."""

import torch
from cases import Case
from peers import Contestant, Eager

CHECKED = 12  # steps: the start-up of every solver here, and twice round its history
TOLERANCE = 1e-5  # of the largest element


class GivenNoise(Eager):
    """The hand-written maths in float64 with the noise of another contestant."""

    def __init__(self, case: Case, noise):
        super().__init__(case, torch.float64)
        self.noise = iter(noise)

    def step(self, k):
        if self.maths.draws:
            self.kept = next(self.noise).double()
        super().step(k)


def relative_error(contestant: Contestant) -> float:
    """max |model input - its float64 reference| after the first steps, over the largest element."""
    case = contestant.case
    reference = GivenNoise(case, contestant.draws(CHECKED))
    for runner in (reference, contestant):
        runner.rewind(CHECKED)
        runner.advance()
    expected = reference.input
    return float((contestant.input - expected).abs().max() / expected.abs().max())


def check(contestant: Contestant) -> float:
    """The error.

    Raises:
        AssertionError: it is too large (or NaN): timing it would mean nothing.
    """
    error = relative_error(contestant)
    assert error < TOLERANCE, f"{contestant.name} on {contestant.case.name}: error {error:.1e}"
    return error
