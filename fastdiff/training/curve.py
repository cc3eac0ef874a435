"""The loss curve of a run, as CSV and as a picture."""

from __future__ import annotations

import csv
from pathlib import Path

COLUMNS = ("step", "lr", "train_loss", "test_loss")


def read_curve(path: str | Path) -> list[dict[str, float]]:
    """Rows of a curve written by :func:`append_row`; empty if the file does not exist."""
    if not Path(path).is_file():
        return []
    with open(path, newline="") as file:
        return [{name: float(row[name]) for name in COLUMNS} for row in csv.DictReader(file)]


def write_curve(path: str | Path, rows: list[dict[str, float]]) -> None:
    """Write all rows; each has the keys ``COLUMNS``."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def plot_curve(path: str | Path, rows: list[dict[str, float]]) -> None:
    """Draw train and test loss over steps into an image file."""
    # The object interface: pyplot would choose a GUI backend and keep global state.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    steps = [row["step"] for row in rows]
    axes.plot(steps, [row["train_loss"] for row in rows], label="train")
    axes.plot(steps, [row["test_loss"] for row in rows], label="test (EMA weights)")
    axes.set(xlabel="step", ylabel="mean squared error of v", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
