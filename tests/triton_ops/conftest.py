"""Makes the helper modules of these tests, and those of the operations', importable.

The folder is not called "triton": it is on the import path of tests that ask whether there is one.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), *(str(HERE.parent / name) for name in ("ops", "noise"))]
