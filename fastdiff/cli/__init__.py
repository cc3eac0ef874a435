"""The command line: ``fastdiff sample | train | info``."""

import sys


def main() -> None:
    """Entry point of the console script; says what to install where the extra is missing."""
    try:
        from .app import app
    except ModuleNotFoundError as error:
        sys.exit(f"fastdiff: the command line needs {error.name}: pip install 'fastdiff[cli]'")
    app()
