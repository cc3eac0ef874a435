"""The host side needs numpy only, and solvers are short files."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastdiff.row
from fastdiff.solvers import Solver

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


def solver_files():
    """Those that define a solver or a base class of some."""

    def below(kind):
        return {kind}.union(*map(below, kind.__subclasses__()))

    modules = {kind.__module__ for kind in below(Solver) - {Solver}}
    return sorted(name for name in modules if name.startswith("fastdiff.solvers."))


@pytest.mark.parametrize("name", solver_files())
def test_a_solver_file_is_short_or_says_why_it_is_not(name):
    """Up to 60 lines, or a docstring of the module with "Over 60 lines: " and the reason."""
    text = Path(sys.modules[name].__file__).read_text()
    reason = re.search(r"^Over 60 lines: \w+", ast.get_docstring(ast.parse(text)) or "", re.M)
    assert (len(text.splitlines()) > 60) == (reason is not None)
