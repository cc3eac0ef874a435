"""What was linked into the module for CUDA devices: architectures, registers, wide accesses.

Needs no device: the binary is taken apart with cuobjdump (of the toolkit, or the one that the
triton package brings along).
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers import run_python

from fastdiff import ops

REGISTERS = Path(__file__).with_name("registers.json")


def find_cuobjdump():
    found = shutil.which("cuobjdump")
    if found is None:
        try:
            import triton
        except ImportError:
            return None
        bundled = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
        found = str(bundled) if bundled.exists() else None
    return found


CUOBJDUMP = find_cuobjdump()
pytestmark = [
    pytest.mark.skipif(
        ops.native is None or not ops.native.cuda_archs, reason="built without nvcc"
    ),
    pytest.mark.skipif(CUOBJDUMP is None, reason="needs cuobjdump (or triton, which has one)"),
]


@pytest.fixture(scope="module")
def dump():
    def run(*options):
        command = [CUOBJDUMP, *options, ops.native.__file__]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return run


def kernel_name(mangled):
    """step_kernel<f>, pass_kernel<Mix f>: the name and what it is made for of a mangled kernel."""
    name, kind = re.search(r"\d([a-z_]+_kernel)(?:I(?:NS_)?(\w+?)E+v)?", mangled).groups()
    if not kind:
        return name
    kind = re.sub(r"INS_\d+", " ", kind.lstrip("0123456789"))
    return f"{name}<{re.sub(r'E+(?=[fd]$)', ' ', kind)}>"


@pytest.fixture(scope="module")
def usage(dump):
    """{architecture: {kernel: {"REG": ..., "STACK": ..., ...}}}."""
    found, arch, kernel = {}, None, None
    for line in dump("-res-usage").splitlines():
        if match := re.match(r"arch = (sm_\d+)", line):
            arch = match[1]
        elif match := re.match(r"\s*Function (\w+):", line):
            kernel = kernel_name(match[1]) if "_kernel" in match[1] else None
        elif kernel and "REG:" in line:
            numbers = {k: int(v) for k, v in re.findall(r"(REG|STACK|LOCAL):(\d+)", line)}
            found.setdefault(arch, {})[kernel] = numbers
            kernel = None
    return found


def test_declared_architectures_are_in_the_binary(dump):
    declared = set(ops.native.cuda_archs.split())
    assert set(re.findall(r"sm_\d+", dump("-lelf"))) == declared
    assert ".ptx" in dump("-lptx"), "PTX for devices to come"


def test_nothing_spills(usage):
    for arch, kernels in usage.items():
        for kernel, numbers in kernels.items():
            assert numbers["LOCAL"] == numbers["STACK"] == 0, (arch, kernel, numbers)


def test_registers(usage):
    """The committed table: a change of a kernel shows what it costs. To accept it, run with
    UPDATE_REGISTERS=1 and commit the file."""
    seen = {a: {k: n["REG"] for k, n in sorted(v.items())} for a, v in sorted(usage.items())}
    if os.environ.get("UPDATE_REGISTERS"):
        REGISTERS.write_text(json.dumps(seen, indent=2) + "\n")
    expected = json.loads(REGISTERS.read_text())
    assert seen == {arch: expected[arch] for arch in seen}


@pytest.mark.parametrize("access", ["LDG.E.128", "STG.E.128"])
def test_wide_accesses(dump, access):
    """The step kernel moves its state in 16-byte accesses on every architecture."""
    for arch in ops.native.cuda_archs.split():
        sass = dump("-sass", "-arch", arch)
        bodies = re.split(r"Function : ", sass)
        steps = [body for body in bodies if "step_kernelIf" in body.split("\n", 1)[0]]
        assert steps and all(access in body for body in steps), arch


def test_import_without_a_driver_says_nothing():
    done = run_python("-W", "error", "-c", "import fastdiff._C as c; print(c.cuda_archs)")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout.strip() == ops.native.cuda_archs
