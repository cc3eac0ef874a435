"""Random wrong arguments never crash the process."""

from pathlib import Path

import pytest

from tests.support.helpers import native_only, run_python


@native_only
@pytest.mark.parametrize("examples", [400, pytest.param(5_000, marks=pytest.mark.slow)])
def test_wrong_arguments_never_crash(examples):
    script = Path(__file__).parent / "fuzz_step.py"
    done = run_python("-W", "ignore", script, examples, timeout=1200)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-3000:]
