"""The old place of ``fastdiff.tables.path``."""

import warnings

from ..tables.path import *  # noqa: F403

warnings.warn(
    "fastdiff.solvers.path is now called fastdiff.tables.path", DeprecationWarning, stacklevel=2
)
