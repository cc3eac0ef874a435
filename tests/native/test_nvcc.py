"""What nvcc says of the sources of the kernels: nothing."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path.relative_to(ROOT) for path in (ROOT / "csrc/cuda").glob("*.cu"))


def test_every_source_is_built():
    built = re.search(r"CUDA_SOURCES = .*", (ROOT / "setup.py").read_text())[0]
    assert [f'"{path.stem}"' in built for path in SOURCES] == [True] * len(SOURCES)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_no_warning(source, tmp_path):
    command = ["nvcc", "-std=c++17", "--fmad=false", "-arch=sm_90", '-DFD_CUDA_ARCHS=""', "-Icsrc"]
    command += ["-Werror", "all-warnings", "-ptx", source, "-o", tmp_path / "out.ptx"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
