"""What a run writes down as it goes: a CSV file, its picture, and TensorBoard where installed."""

from __future__ import annotations

import csv
import os
from pathlib import Path

COLUMNS = ("step", "lr", "train_loss", "test_loss")


class Log:
    """Rows of ``COLUMNS`` in ``loss.csv`` of a folder.

    Args:
        folder: where.
        until: forget rows of later steps: those of a run that was killed after its checkpoint.
    """

    def __init__(self, folder: Path, until: int = 0):
        self.path, self.rows = folder / "loss.csv", []
        if until:
            self.rows = [row for row in read_log(self.path) if row["step"] <= until]
        self.board = _tensorboard(folder)

    def add(self, **row: float) -> None:
        """Write the file with one more row, in one move: a killed run leaves a whole file."""
        self.rows.append({name: row[name] for name in COLUMNS})
        partial = self.path.with_suffix(".partial")
        with open(partial, "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(partial, self.path)
        if self.board is not None:
            for name in COLUMNS[1:]:
                self.board.add_scalar(name, row[name], int(row["step"]))
            self.board.flush()

    def close(self) -> None:
        """Draw ``loss.png``."""
        if self.board is not None:
            self.board.close()
        plot(self.path.with_suffix(".png"), self.rows)


def read_log(path: str | Path) -> list[dict[str, float]]:
    """The rows of a ``loss.csv``; empty if the file does not exist."""
    if not Path(path).is_file():
        return []
    with open(path, newline="") as file:
        rows = [{name: float(row[name]) for name in COLUMNS} for row in csv.DictReader(file)]
    return [row | {"step": int(row["step"])} for row in rows]


def plot(path: str | Path, rows: list[dict[str, float]]) -> None:
    """Draw train and test loss over steps into an image file."""
    # The object interface: pyplot would choose a GUI backend and keep global state.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    steps = [row["step"] for row in rows]
    for name, label in (("train_loss", "train"), ("test_loss", "test (EMA weights)")):
        axes.plot(steps, [row[name] for row in rows], label=label)
    positive = all(row[name] > 0 for row in rows for name in ("train_loss", "test_loss"))
    axes.set(xlabel="step", ylabel="loss", yscale="log" if positive else "linear")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def _tensorboard(folder: Path):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))
