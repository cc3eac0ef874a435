"""The old place of ``fastdiff.tables.lin``."""

import warnings

from ..tables.lin import *  # noqa: F403

warnings.warn(
    "fastdiff.solvers.linear is now called fastdiff.tables.lin", DeprecationWarning, stacklevel=2
)
