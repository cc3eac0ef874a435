"""The tables of docs/family.md, written from the numbers of a run.

    python benchmarks/family_page.py RESULTS.json docs/family.md

Replaces what is between the page's ``<!-- numbers -->`` and ``<!-- /numbers -->``.
"""

import json
import sys
from pathlib import Path

BEGIN, END = "<!-- numbers -->", "<!-- /numbers -->"
#: What is about the run, not measured on the model.
RUN = ("family", "data", "steps", "seconds", "command")
#: Models whose numbers are a sweep, which gets a table of its own: the swept quantity.
SWEEPS = {
    "NCSN": "sigma",
    "class-conditional VP SDE": "scale",
    "guidance by the classifier": "scale",
}


def text(results: dict) -> str:
    """Markdown tables of ``benchmarks/family.py``'s JSON."""
    models = ["| model | data | measured | trained |", "|---|---|---|---|"]
    sweeps = []
    for name, numbers in results["numbers"].items():
        single = {k: v for k, v in numbers.items() if k not in RUN}
        if name in SWEEPS:
            sweeps.append(sweep(name, SWEEPS[name], single))
            single = {k: v for k, v in single.items() if not _swept(k)}
            if not single:
                continue
        found = ", ".join(f"{key} {value:#.4g}" for key, value in single.items())
        trained = (
            f"{numbers['steps']} steps, {numbers['seconds']:.0f} s" if "steps" in numbers else ""
        )
        models.append(f"| {name} | {numbers.get('data', 'digits8')} | {found} | {trained} |")
    targets = ["| model | held to | holds |", "|---|---|---|"]
    targets += [
        f"| {', '.join(t['runs'])} | {t['target']} | {'yes' if t['holds'] else 'NO'} |"
        for t in results["targets"]
    ]
    threads = results["machine"]["threads"]
    where = f"All of it took {results['seconds']:.0f} s with {threads} thread{'s' * (threads > 1)}"
    parts = [models, [f"{where} of an {results['machine']['cpu']}."], *sweeps, targets]
    return "\n\n".join("\n".join(part) for part in parts)


def sweep(name: str, what: str, numbers: dict) -> list[str]:
    """One column for each value of the swept quantity, one line for each number measured there."""
    lines: dict[str, dict[str, float]] = {}
    for key, value in numbers.items():
        if _swept(key):
            line, at = key.split(" at ")
            lines.setdefault(line, {})[at] = value
    columns = list(next(iter(lines.values())))
    return [
        f"| {name}, {what} | {' | '.join(columns)} |",
        f"|---|{'---|' * len(columns)}",
        *(
            f"| {line} | {' | '.join(f'{values[at]:.3g}' for at in columns)} |"
            for line, values in lines.items()
        ),
    ]


def _swept(key: str) -> bool:
    _, at, value = key.partition(" at ")
    return bool(at) and "=" not in value


def write(results: dict, page: str) -> str:
    """The page with its tables replaced."""
    before, found, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise ValueError(f"page: expected {BEGIN} and {END} in it, got neither or one")
    return f"{before}{BEGIN}\n\n{text(results)}\n\n{END}{after}"


if __name__ == "__main__":
    results, page = map(Path, sys.argv[1:])
    page.write_text(write(json.loads(results.read_text()), page.read_text()))
