"""The README's tables, written from committed results.

    python benchmarks/readme_tables.py

Replaces what is between ``<!-- NAME -->`` and ``<!-- /NAME -->``.
"""

import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
README, RESULTS = ROOT / "README.md", ROOT / "benchmarks" / "results"
PEERS = {"dropin": ("dropin-cpu.json", "diffusers"), "training": ("training-cpu.json", "eager")}
QUALITY = "quality-cpu.json", "quality-cpu-ddpm.json"
STEP, STEP_PEERS = "cpu-epyc.json", ("diffusers", "eager", "compiled")


def short(number: float) -> str:
    """Three digits, or all before the point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def table(name: str) -> str:
    """One row for each kind of work: at each size fastdiff's median, and the ratio to it of the
    fastest peer."""
    file, peer = PEERS[name]
    cells: dict[str, dict[str, str]] = {}
    for record in json.loads((RESULTS / file).read_text())["records"]:
        work, size = record["case"].rsplit(", ", 1)
        times = dict(record["contestants"])
        ours = times.pop("fastdiff")
        ratio = min(theirs["ratio"] for theirs in times.values())
        cell = f"{short(ours['median'])}: {short(ratio)}x"
        cells.setdefault(work, {})[size] = cell
    groups: dict[tuple[str, ...], list[str]] = {}
    for work, row in cells.items():
        groups.setdefault(tuple(row), []).append(work)
    tables = []
    for sizes, works in groups.items():
        lines = [
            f"| us: {peer} / fastdiff | {' | '.join(sizes)} |",
            "|---" * (1 + len(sizes)) + "|",
        ]
        lines += [f"| {work} | {' | '.join(cells[work].values())} |" for work in works]
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def step_table() -> str:
    """One row for each case: fastdiff's median, spread and best, and each peer's ratio to it."""
    lines = [f"| case | fastdiff, us | {' | '.join(STEP_PEERS)} |"]
    lines.append("|---" * (2 + len(STEP_PEERS)) + "|")
    for record in json.loads((RESULTS / STEP).read_text())["records"]:
        times = record["contestants"]
        ours = times["fastdiff"]
        own = f"{short(ours['median'])} ({short(ours['iqr'])}), best {short(ours['min'])}"
        ratios = [f"{short(times[p]['ratio'])}x" if p in times else "" for p in STEP_PEERS]
        lines.append(f"| {' | '.join([record['case'], own, *ratios])} |")
    return "\n".join(lines)


def quality_table() -> str:
    """One row for each solver, under those of as many real digits."""
    lines = ["| solver | steps | samples | in the asked class | FD to test | FD to train |"]
    lines.append("|---" * 6 + "|")
    for r in [r for name in QUALITY for r in json.loads((RESULTS / name).read_text())["records"]]:
        name = "real training digits" if r["name"] == "real" else r["name"]
        samples = f"{r['seeds']} x {r['samples']}" if r["seeds"] > 1 else r["samples"]
        marks = mean(r["agreement"], 100, " %"), mean(r["FD to test"]), mean(r["FD to train"])
        lines.append(f"| {' | '.join(map(str, [name, r['steps'] or '', samples, *marks]))} |")
    return "\n".join(lines)


def mean(value: dict, factor: float = 1.0, unit: str = "") -> str:
    spread = "" if value["sd"] is None else f" +- {factor * value['sd']:.2f}"
    return f"{factor * value['mean']:.2f}{spread}{unit}"


def write(page: str) -> str:
    """The page with its tables replaced."""
    tables = {"quality": quality_table(), "steps": step_table()} | {
        name: table(name) for name in PEERS
    }
    for name, text in tables.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, _, rest = page.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"page: expected {begin} and {end} in it, got neither or one")
        page = f"{before}{begin}\n\n{text}\n\n{end}{after}"
    return page


if __name__ == "__main__":
    README.write_text(write(README.read_text()))
