"""``fastdiff info``: what is installed and what it can run on."""

from rich.console import Console
from rich.table import Table

from .. import solvers
from ..build import build_info


def info() -> None:
    """Print versions, CPU clone in use, backends, CUDA architectures and solvers."""
    facts = build_info()
    facts["solvers"] = solvers.names()
    table = Table("fact", "value", title="fastdiff")
    for name, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        table.add_row(name.replace("_", " "), shown or "none")
    Console().print(table)
