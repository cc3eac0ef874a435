"""The Triton kernels under Triton's interpreter, one process a file."""

from pathlib import Path

import pytest

from tests.support.helpers import run_python

pytest.importorskip("triton")
FILES = sorted(Path(__file__).parent.glob("interpreted/check_*.py"))


PROFILES = ["interpreted", pytest.param("thorough", marks=pytest.mark.slow)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("profile", PROFILES)
def test_interpreted(path, profile, monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    options = ("-q", "-x", "-p", "no:cacheprovider", f"--hypothesis-profile={profile}")
    done = run_python("-m", "pytest", *options, path, timeout=1200)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
