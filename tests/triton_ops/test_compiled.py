"""The Triton kernels compiled for GPUs, none of which has to be there: what ptxas makes of them."""

import re
import subprocess

import pytest
import torch

pytest.importorskip("triton")

import triton  # noqa: E402

import fastdiff  # noqa: E402
from fastdiff import noise, ops  # noqa: E402
from tests.support.training_cases import OPS as TRAINING  # noqa: E402
from tests.support.training_cases import call as training_call  # noqa: E402
from tests.triton_ops.calls import call, drawn, guided, plain  # noqa: E402
from tests.triton_ops.compiling import CUDA, HIP, compiled_for  # noqa: E402

STEP = torch.ops.fastdiff_triton.step_
IMAGE, LARGE = (4, 64, 64), (4, 512, 512)
STEPS = {
    "large": lambda: guided(1, LARGE),
    "one tile": lambda: plain(3, (16, 7)),
    "everything": lambda: drawn(call(1, LARGE)),
    "strided": lambda: guided(2, IMAGE, layout="channels_last"),
    "float64": lambda: drawn(call(1, LARGE, state=torch.float64, model=torch.float64)),
}
# Registers of a thread, of which 512 (float32) or 384 (float64) threads then fit a multiprocessor.
REGISTERS = {"float32": 168, "float64": 216}


def step(name, target, cache):
    with compiled_for(target, cache) as done:
        STEPS[name]().run(STEP)
    return {launch.name: launch.kernel for launch in done}


def draws(target, cache):
    with compiled_for(target, cache) as done, fastdiff.backend("triton"):
        for dtype in (torch.float32, torch.float64):
            ops.normal(noise.keys(0, 2), (100_000,), dtype=dtype)
        for dtype in (torch.float32, torch.bfloat16):
            ops.moments(*torch.zeros(2, 1, 100_000, dtype=dtype))
    return done


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("triton")


def usage(kernel, folder):
    """{"REG": registers of a thread, "LOCAL": spilled bytes ...} from the machine code."""
    path = folder / "kernel.cubin"
    path.write_bytes(kernel.asm["cubin"])
    tool = triton.knobs.nvidia.cuobjdump.path
    text = subprocess.run([tool, "-res-usage", path], capture_output=True, text=True, check=True)
    return {name: int(n) for name, n in re.findall(r"(REG|STACK|LOCAL):(\d+)", text.stdout)}


def check_machine_code(kernel, folder, registers, stack=0):
    used = usage(kernel, folder)
    assert used["LOCAL"] == 0 and used["STACK"] <= stack, used
    assert 0 < used["REG"] <= registers, used
    assert not kernel.metadata.enable_fp_fusion
    assert not re.search(r"%ctaid\.[yz]", kernel.asm["ptx"])


@pytest.mark.covered(times=1)
@pytest.mark.parametrize("target", CUDA.values(), ids=CUDA)
@pytest.mark.parametrize("name", STEPS)
def test_step(name, target, cache):
    kernels = step(name, target, cache)
    state = "float64" if name == "float64" else "float32"
    helpers = {"one tile": set(), "everything": {"advance_kernel", "magnitude_kernel"}}
    helpers["float64"] = helpers["everything"]
    assert set(kernels) == {"step_kernel"} | helpers.get(name, {"advance_kernel"})
    for kernel in kernels.values():
        check_machine_code(kernel, cache, REGISTERS[state])
    check_order(kernels["step_kernel"].asm["ptx"])


def check_order(ptx):
    """All operands are read, then the threads wait for each other, then the first is written."""
    events = re.findall(r"^\s*(?:@%p\d+ )?(ld\.global\.v|st\.global|bar\.sync)", ptx, re.M)
    written = events.index("st.global")
    assert events[written - 1] == "bar.sync"
    assert "ld.global.v" not in events[written:]


@pytest.mark.parametrize("target", CUDA.values(), ids=CUDA)
def test_draws(target, cache):
    done = draws(target, cache)
    assert {launch.name for launch in done} == {"normal_kernel", "chunk_kernel", "total_kernel"}
    for launch in done:
        check_machine_code(launch.kernel, cache, 64)


OTHERS = [pytest.param(CUDA[name], marks=pytest.mark.slow) for name in CUDA if name != "sm_90"]


@pytest.mark.covered(times=1)
@pytest.mark.parametrize("target", [CUDA["sm_90"], *OTHERS], ids=lambda target: f"sm_{target.arch}")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=["bf16", "f64"])
@pytest.mark.parametrize("name", TRAINING)
def test_training(name, dtype, target, cache):
    with compiled_for(target, cache) as done, fastdiff.backend("triton"):
        training_call(name, (2, 5000), dtype).run()
    kernel = "categorical_kernel" if name == "categorical" else "pass_kernel"
    assert {launch.name for launch in done} >= {kernel, "results_kernel"}
    for launch in done:
        wide = dtype == torch.float64
        # A division in float64 is a call, around which a number may be put aside.
        check_machine_code(launch.kernel, cache, 255 if wide else 128, 8 if wide else 0)


def test_wide_accesses_and_rounding(cache):
    ptx = step("large", CUDA["sm_90"], cache)["step_kernel"].asm["ptx"]
    assert len(re.findall(r"ld\.global\.v4\.b32", ptx)) >= 4  # x, two outputs, two slots
    assert len(re.findall(r"st\.global\.v4\.b32", ptx)) >= 4
    assert "cvt.rn.bf16x2.f32" in ptx  # to nearest even, which the interpreter does not show
    assert not re.findall(r"(ld|st)\.global\.b(16|8)\b", ptx)


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(target, id=name, marks=[pytest.mark.slow] * (k > 0))
        for k, (name, target) in enumerate(HIP.items())
    ],
)
@pytest.mark.skipif("amd" not in triton.backends.backends, reason="this Triton compiles for CUDA")
def test_rocm(target, cache):
    kernels = [step(name, target, cache)["step_kernel"] for name in ("large", "everything")]
    for kernel in (*kernels, *(launch.kernel for launch in draws(target, cache))):
        code = kernel.asm["amdgcn"]
        assert re.findall(r"\.vgpr_spill_count:\s+(\d+)", code) == ["0"]
        assert re.findall(r"\.private_segment_fixed_size:\s+(\d+)", code) == ["0"]
        assert "v_fma_f32" in code or kernel.metadata.name != "step_kernel"


def test_data_do_not_recompile(cache):
    """Rows, seeds, their number, batch sizes: the same code."""
    with compiled_for(CUDA["sm_90"], cache) as done:
        for seed, (batch, n_rows) in enumerate([(1, 2), (2, 3), (16, 17), (17, 33), (5, 1025)]):
            guided(batch, IMAGE, seed=seed, n_rows=n_rows).run(STEP)
    assert len(done) == 10
    assert len({id(launch.kernel) for launch in done}) == 2  # the step and the advance


@pytest.mark.parametrize(("batch", "numel"), [(1, 1), (3, 1025), (70_000, 3)])
def test_the_grid_is_along_x(batch, numel, cache):
    with compiled_for(CUDA["sm_90"], cache) as done:
        plain(batch, (numel,)).run(STEP)
    assert done[0].programs == (batch * -(-numel // 256),)  # the tile of a small float32 batch
    assert all(len(launch.programs) == 1 for launch in done)


def test_cpu_tensors_are_refused():
    with fastdiff.backend("triton"), pytest.raises(ValueError, match="^backend: .*got one on cpu"):
        ops.normal(noise.keys(0, 1), (4,))
