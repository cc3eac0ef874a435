"""What was linked into the module for CUDA devices: architectures, registers, wide accesses.

Needs no device: the binary is taken apart with cuobjdump (of the toolkit, or the one that the
triton package brings along).
"""

import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from fastdiff import ops
from tests.support.helpers import run_python

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
    @cache
    def run(*options):
        command = [CUOBJDUMP, *options, ops.native.__file__]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return run


def kernel_name(mangled):
    """step_kernel<f Common>, pass_kernel<Mix f>: the name and what it is made for."""
    name, template, rest = re.search(r"\d([a-z_]+_kernel)(I?)(.*)", mangled).groups()
    return f"{name}<{' '.join(template_arguments(rest))}>" if template else name


def template_arguments(mangled):
    """The names in mangled arguments, without those of namespaces: dNS0_6CommonEE -> d, Common."""
    found, depth = [], 1
    while depth:
        if length := re.match(r"\d+", mangled):
            end = length.end() + int(length[0])
            found.append(mangled[length.end() : end])
        elif space := re.match(r"S\d?_", mangled):
            end = space.end()
        else:
            end = 1
            found += [mangled[0]] if mangled[0] in "fd" else []
            depth += {"N": 1, "I": 1, "E": -1}.get(mangled[0], 0)
        mangled = mangled[end:]
    return found


@pytest.mark.parametrize(
    ("mangled", "name"),
    [
        ("_ZN8fastdiff4cuda3_GL14advance_kernelIdEEvNS_8StepArgsE", "advance_kernel<d>"),
        ("_ZN8fastdiff14results_kernelEPKdlNS_6OutputE", "results_kernel"),
        ("_Z11step_kernelIfNS0_10EverythingEEEvNS_8StepArgsE", "step_kernel<f Everything>"),
        ("_Z11pass_kernelINS_11DiscretisedINS_12GaussianBinsEEEdEEvNS_8PassArgsE",
         "pass_kernel<Discretised GaussianBins d>"),
    ],
)  # fmt: skip
def test_kernels_have_readable_names(mangled, name):
    assert kernel_name(mangled) == name


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
    UPDATE_REGISTERS=1 and commit the file. Another compiler than the table's may need fewer."""
    seen = {a: {k: n["REG"] for k, n in sorted(v.items())} for a, v in sorted(usage.items())}
    if os.environ.get("UPDATE_REGISTERS"):
        table = {"nvcc": ops.native.nvcc, "registers": seen}
        REGISTERS.write_text(json.dumps(table, indent=2) + "\n")
    table = json.loads(REGISTERS.read_text())
    assert registers_fit(seen, table, ops.native.nvcc), seen


def registers_fit(seen, table, compiler):
    expected = {arch: table["registers"][arch] for arch in seen}
    if compiler == table["nvcc"]:
        return seen == expected
    return all(
        kernels.keys() == expected[arch].keys()
        and all(count <= expected[arch][kernel] for kernel, count in kernels.items())
        for arch, kernels in seen.items()
    )


def test_the_table_of_registers_is_exact_for_its_own_compiler():
    table = {"nvcc": "13.0.88", "registers": {"sm_90": {"a": 40}, "sm_80": {"a": 38}}}
    for count, own, other in ((40, True, True), (32, False, True), (48, False, False)):
        seen = {"sm_90": {"a": count}}
        assert registers_fit(seen, table, "13.0.88") == own
        assert registers_fit(seen, table, "13.1.2") == other
    assert not registers_fit({"sm_90": {"a": 40, "b": 1}}, table, "13.1.2"), "an unknown kernel"


@pytest.mark.parametrize("kind", ["If", "Id"])
def test_moments_read_wide(dump, kind):
    arch = ops.native.cuda_archs.split()[0]
    bodies = re.split(r"Function : ", dump("-sass", "-arch", arch))
    (body,) = (b for b in bodies if f"moment_kernel{kind}" in b.split("\n", 1)[0])
    assert "LDG.E.128" in body


FIRST, *LATER = ops.native.cuda_archs.split() if ops.native else [""]


@pytest.mark.parametrize("arch", [FIRST, *(pytest.param(a, marks=pytest.mark.slow) for a in LATER)])
def test_wide_accesses(dump, arch):
    """The step kernel moves its state in 16-byte accesses."""
    bodies = re.split(r"Function : ", dump("-sass", "-arch", arch))
    steps = [body for body in bodies if "step_kernelIf" in body.split("\n", 1)[0]]
    assert len(steps) == 4
    for access in ("LDG.E.128", "STG.E.128"):
        assert all(access in body for body in steps), access


def test_import_without_a_driver_says_nothing():
    done = run_python("-W", "error", "-c", "import fastdiff._C as c; print(c.cuda_archs)")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout.strip() == ops.native.cuda_archs
