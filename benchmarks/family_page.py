"""The tables of docs/family.md, written from the numbers of a run.

    python benchmarks/family_page.py RESULTS.json docs/family.md

Replaces what is between the page's ``<!-- numbers -->`` and ``<!-- /numbers -->``.
"""

import json
import sys
from pathlib import Path

BEGIN, END = "<!-- numbers -->", "<!-- /numbers -->"
SKIPPED = ("steps", "seconds", "command")


def text(results: dict) -> str:
    """Markdown tables of ``benchmarks/family.py``'s JSON."""
    models = ["| model | test images, and samples | trained |", "|---|---|---|"]
    commands = []
    for name, numbers in results["numbers"].items():
        found = ", ".join(
            f"{key} {value:.4g}" for key, value in numbers.items() if key not in SKIPPED
        )
        trained = "-"
        if "command" in numbers:
            trained = f"{numbers['steps']} steps, {numbers['seconds']:.0f} s"
            commands.append(numbers["command"])
        models.append(f"| {name} | {found} | {trained} |")
    targets = ["| model | target | holds |", "|---|---|---|"]
    targets += [
        f"| {', '.join(t['runs'])} | {t['target']} | {'yes' if t['holds'] else 'NO'} |"
        for t in results["targets"]
    ]
    code = [f"    {command}" for command in commands]
    parts = models, ["Each is one of these commands:"], code, targets
    return "\n\n".join("\n".join(part) for part in parts)


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
