"""Prints docs/solvers.md: every solver of the registry, with what is declared and what is measured.

python -m tests.host.solver_table > docs/solvers.md
"""

import inspect

from fastdiff import solvers
from tests.host import test_order
from tests.support.registered import SCHEDULES

STEPS = 60
HEAD = """# Solvers

Every solver with its default options, lowered to {steps} steps. Written by
`python -m tests.host.solver_table > docs/solvers.md`.

* **evaluations**: of the model, per step
* **order**: as the paper declares it (weak order if stochastic)
* **measured**: slope of the global error from {low} to {high} steps, start-up included:
  deterministic solvers on the probability flow of a mixture of two Gaussians, stochastic ones
  in the variance of Gaussian samples, computed exactly. "-": no integrator, or not defined there.
* **draws**: of Gaussian noise, per step
* **memory**: history slots, and `s` where an anchor is kept beside the state

| solver | evaluations | order | measured | draws | memory | what it is |
|---|---|---|---|---|---|---|"""


def measured(solver) -> str:
    if solver.convergence == 0:
        return "-"
    error = test_order.weak_error if solver.stochastic else test_order.error
    try:
        errors = [abs(error(solver, n)) for n in test_order.STEPS]
    except ValueError:
        return "-"
    slope = float(test_order.slopes(errors)[-1])
    return f"{slope:.2f}" if slope > 0.1 else "-"  # towards noise: not this problem


def line(name: str) -> str:
    solver = solvers.get(name)()
    table = solver.lower(*home(solver))
    memory = [str(table.history)] * bool(table.history) + ["s"] * table.uses_saved
    what = inspect.getdoc(type(solver)).split("\n\n")[0].replace("\n", " ")
    cells = (
        f"`{name}`",
        f"{table.nfe / STEPS:.3g}",
        solver.order,
        measured(solver),
        f"{table.noise_draws / STEPS:.2g}" if table.noise_draws else "",
        ", ".join(memory),
        what,
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def home(solver):
    """A schedule on which the solver is defined, and the number of steps."""
    for schedule in SCHEDULES:
        try:
            solver.lower(schedule, 2)
        except ValueError:
            continue
        return schedule, STEPS
    raise AssertionError(f"no schedule for {solver}")


def head() -> str:
    low, *_, high = test_order.STEPS
    return HEAD.format(steps=STEPS, low=low, high=high)


def page() -> str:
    return "\n".join([head(), *map(line, solvers.names())])


if __name__ == "__main__":
    print(page())
