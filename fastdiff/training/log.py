"""What a run writes down as it goes: a CSV file, its picture, and TensorBoard where installed."""

from __future__ import annotations

import csv
from io import BytesIO, StringIO
from pathlib import Path

from fastdiff import files

EXPECTED = "a log of losses"
COLUMNS = ("step", "lr", "train_loss", "test_loss")


class Log:
    """Rows of ``COLUMNS`` in ``loss.csv`` of a folder, each on the disk once it is added.

    Args:
        folder: where.
        until: keep the rows up to this step: later ones are of a run that was killed after its
            checkpoint, and will come again.

    Raises:
        ValueError: the file that is there is no such log.
        OSError: it cannot be written.
    """

    def __init__(self, folder: Path, until: int = 0):
        self.path = folder / "loss.csv"
        self.rows = [row for row in read_log(self.path) if row["step"] <= until] if until else []
        files.sweep(self.path)
        files.write(self.path, _csv([dict(zip(COLUMNS, COLUMNS, strict=True)), *self.rows]))
        self.board = _tensorboard(folder, until)

    def add(self, **row: float) -> None:
        """Write one more row.

        Raises:
            OSError: it cannot be written; the rows before it are there.
        """
        row = {name: row[name] for name in COLUMNS}
        files.append(self.path, _csv([row]))
        self.rows.append(row)
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
    """The rows of a ``loss.csv``; empty if the file does not exist.

    A last line that a killed process has not ended is left out.

    Raises:
        ValueError: the file is no such log.
    """
    if not Path(path).is_file():
        return []
    data = files.read(path, EXPECTED)
    with files.contents(path, EXPECTED):
        whole = data[: data.rfind(b"\n") + 1].decode()
        table = csv.DictReader(whole.splitlines(), strict=True)
        rows = [{name: float(row[name]) for name in COLUMNS} for row in table]
        return [row | {"step": int(row["step"])} for row in rows]


def _csv(rows: list[dict]) -> bytes:
    text = StringIO()
    csv.DictWriter(text, COLUMNS).writerows(rows)
    return text.getvalue().encode()


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
    picture = BytesIO()
    figure.savefig(picture, dpi=120, format=Path(path).suffix.removeprefix("."))
    files.write(path, picture.getvalue())


def _tensorboard(folder: Path, until: int):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=until + 1)
