"""``python -m fastdiff``: the command line, for torchrun and where scripts are not on the path."""

from .cli import main

main()
