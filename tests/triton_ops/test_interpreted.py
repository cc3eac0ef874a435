"""The Triton kernels under Triton's interpreter, one process a file."""

from pathlib import Path

import pytest
from helpers import run_python

pytest.importorskip("triton")
FILES = sorted(Path(__file__).parent.glob("interpreted/check_*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_interpreted(path, monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    done = run_python("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", path)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
