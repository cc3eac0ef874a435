"""Makes the helper modules of these tests, and those of the operations', importable.

The folder is not called "triton": it is on the import path of tests that ask whether there is one.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), *(str(HERE.parent / name) for name in ("ops", "noise"))]

# What runs under the interpreter does so in processes of its own (test_interpreted.py).
collect_ignore = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["interpreted"]
