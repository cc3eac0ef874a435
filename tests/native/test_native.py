"""The native code on its own: sanitizers, and the normal transform over all of its inputs."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLAGS = [
    "-std=c++17",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Icsrc",
    "-Itests/native",
]
CLONES = [f"csrc/cpu/{name}.cpp" for name in ("backend", "clone_avx2", "clone_avx512")]
CLONES.append("csrc/cpu/clone_baseline.cpp")


def run(program: Path) -> None:
    result = subprocess.run([program], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


def build(target: Path, sources, *flags) -> Path:
    command = ["g++", *FLAGS, *flags, *sources, "-o", str(target)]
    subprocess.run(command, cwd=ROOT, check=True)
    return target


SANITIZE = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@needs_compiler
@pytest.mark.slow
def test_sanitizers(tmp_path):
    """Random steps under AddressSanitizer and UBSan: no report, and all clones agree."""
    run(build(tmp_path / "exercise", ["tests/native/exercise.cpp", *CLONES], *SANITIZE))


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("flags", [["-O1"], SANITIZE], ids=["plain", "sanitized"])
def test_grids_of_cuda_threads(tmp_path, flags):
    """The thread bodies of the CUDA kernels, walked over whole grids on the host."""
    run(build(tmp_path / "walk", ["tests/native/walk.cpp", *CLONES], *flags))


@needs_compiler
@pytest.mark.slow
def test_every_word_makes_a_finite_normal(tmp_path):
    """2^32 words: no NaN or infinity, the radius within sqrt(-2 log 2^-33), errors below 1e-6."""
    sources = ["tests/native/sweep.cpp"]
    program = build(tmp_path / "sweep", sources, "-O3", "-march=native")
    seen = json.loads(subprocess.run([program], capture_output=True, text=True).stdout)
    assert seen["finite"]
    assert seen["radius_min"] == 0.0
    assert seen["radius_max"] == pytest.approx(6.7637057, abs=1e-6)
    assert seen["circle_error"] < 3e-7
    assert seen["error"] < 1e-6
