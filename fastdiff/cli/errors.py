"""Errors of the commands: one line, and exit status 1."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def one_line(extra: str = "cli") -> Iterator[None]:
    """Turn the errors that users can do something about into one line on stderr.

    Args:
        extra: of the package, whose dependencies the command needs.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        hint = "" if "pip install" in str(error) else f'; run: pip install "fastdiff[{extra}]"'
        raise _exit(f"{error}{hint}") from error
    except (ValueError, TypeError, OSError, RuntimeError, MemoryError) as error:
        raise _exit(str(error) or type(error).__name__) from error


def _exit(message: str) -> typer.Exit:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    return typer.Exit(1)
