"""The host side needs numpy only."""

import subprocess
import sys
from pathlib import Path

import fastdiff.row

PACKAGE = Path(fastdiff.row.__file__).parent

SCRIPT = f"""
import sys, types
package = types.ModuleType("fastdiff")  # the package itself, without what its __init__ pulls in
package.__path__ = [{str(PACKAGE)!r}]
sys.modules["fastdiff"] = package
import fastdiff.grids, fastdiff.parameterization, fastdiff.processes, fastdiff.schedules
import fastdiff.solvers
fastdiff.solvers.UniPC().lower(fastdiff.schedules.VPLinear(), 5)
roots = {{name.partition(".")[0] for name in sys.modules}}
assert not roots & {{"torch", "scipy", "triton", "diffusers"}}, roots
"""


def test_host_side_imports_neither_torch_nor_scipy():
    subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT], check=True)
