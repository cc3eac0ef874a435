"""Builds fastdiff._C. Everything else about the package is in pyproject.toml.

Without a C++ compiler (or without torch in the build environment) the package installs pure Python
and says so once; its operations then run on the PyTorch reference. With nvcc the CUDA kernels are
linked in, whether or not this torch knows CUDA: they need no header of it.
"""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

SOURCES = [
    "csrc/bindings.cpp",
    "csrc/torch/executor.cpp",
    "csrc/torch/generator.cpp",
    "csrc/torch/pack.cpp",
    "csrc/torch/register.cpp",
    "csrc/torch/run.cpp",
    "csrc/torch/training.cpp",
    "csrc/cpu/backend.cpp",
    "csrc/cpu/clone_avx2.cpp",
    "csrc/cpu/clone_avx512.cpp",
    "csrc/cpu/clone_baseline.cpp",
]
CUDA_SOURCES = [f"csrc/cuda/{name}.cu" for name in ("draw", "pass", "results", "step")]
# Rounding is part of the contract: products and sums are fused only where the source says fma.
FLAGS = ["-std=c++17", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-g0", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-unused-parameter"]
# `make sanitize`: the extension under AddressSanitizer and UndefinedBehaviorSanitizer, without its
# CUDA half, which would run nowhere.
SANITIZE = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
SANITIZE = SANITIZE if os.environ.get("FASTDIFF_SANITIZE") == "1" else []
CUDA_FLAGS = ["-std=c++17", "-O3", "--fmad=false", "-Xcompiler=-fPIC,-fvisibility=hidden"]
CUDA_ARCHS = "8.0 9.0 10.0 12.0+PTX"  # unless TORCH_CUDA_ARCH_LIST says otherwise


def native_extension():
    """(ext_modules, cmdclass), empty where nothing can be compiled."""
    try:
        import pybind11
        from torch.utils.cpp_extension import BuildExtension, CppExtension, get_cxx_compiler
    except ImportError as error:
        return _pure_python(f"{error.name} is not importable in the build environment")
    if shutil.which(get_cxx_compiler()) is None:
        return _pure_python(f"no C++ compiler ({get_cxx_compiler()}) was found")
    nvcc = None if SANITIZE else find_nvcc()
    headers = [str(p.relative_to(ROOT)) for p in sorted((ROOT / "csrc").rglob("*.h"))]
    extension = CppExtension(
        "fastdiff._C",
        SOURCES,
        include_dirs=[str(ROOT / "csrc"), pybind11.get_include()],
        extra_compile_args=FLAGS + SANITIZE + ["-DFD_CUDA"] * bool(nvcc),
        extra_link_args=SANITIZE,
        depends=headers + CUDA_SOURCES * bool(nvcc),
    )

    class Build(BuildExtension):
        """BuildExtension takes .cu only beside a torch with CUDA: nvcc is run here."""

        def finalize_options(self):
            chosen = self.build_temp
            super().finalize_options()
            if chosen is None:
                self.build_temp = str(object_folder(self.plat_name))

        def build_extension(self, ext):
            if nvcc:
                jobs = int(os.environ.get("MAX_JOBS") or os.cpu_count() or 1)
                with ThreadPoolExecutor(jobs) as pool:
                    compiled = pool.map(lambda s: compile_cuda(nvcc, s, self.build_temp, headers),
                                        CUDA_SOURCES)  # fmt: skip
                    ext.extra_objects = list(compiled)
                homes = [os.environ.get("CUDA_HOME", "/usr/local/cuda"), nvcc.parents[1]]
                ext.library_dirs += [f"{home}/lib64" for home in homes]
                ext.libraries += ["cudart_static", "rt", "pthread", "dl"]
            super().build_extension(ext)

    return [extension], {"build_ext": Build}


def object_folder(platform):
    """Where objects are kept. The folder that pip would have for them is new at every install, an
    editable one included, and everything would be compiled again."""
    kind = "sanitize" if SANITIZE else "objects"
    return ROOT / "build" / f"{kind}.{platform}-{sys.implementation.cache_tag}"


def find_nvcc():
    """nvcc of CUDA_HOME, on the path or in the usual place; None where there is none."""
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    found = shutil.which("nvcc", path=f"{home}/bin") or shutil.which("nvcc")
    return Path(found).resolve() if found else None


def cuda_archs():
    """[("90", with PTX), ...] of TORCH_CUDA_ARCH_LIST or the default, as torch writes them."""
    names = os.environ.get("TORCH_CUDA_ARCH_LIST") or CUDA_ARCHS
    split = [name.strip() for name in names.replace(";", " ").split()]
    return [(n.removesuffix("+PTX").replace(".", ""), n.endswith("+PTX")) for n in split]


def compile_cuda(nvcc, source, folder, headers):
    """The object of a .cu, compiled unless it is newer than all that it is made of."""
    target = Path(folder).absolute() / f"{Path(source).stem}.cu.o"
    archs = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch, _ in cuda_archs()]
    archs += [f"-gencode=arch=compute_{a},code=compute_{a}" for a, ptx in cuda_archs() if ptx]
    names = " ".join(f"sm_{arch}" for arch, _ in cuda_archs())
    command = [str(nvcc), *CUDA_FLAGS, *archs, f'-DFD_CUDA_ARCHS="{names}"', f"-I{ROOT / 'csrc'}"]
    command += ["--threads=2", "-c", str(ROOT / source), "-o", str(target)]
    recipe = target.with_suffix(".txt")
    made_of = [ROOT / path for path in [source, "setup.py", *headers]]
    current = target.exists() and recipe.exists() and recipe.read_text() == " ".join(command)
    if not current or any(p.stat().st_mtime > target.stat().st_mtime for p in made_of):
        target.parent.mkdir(parents=True, exist_ok=True)
        print(*command)
        subprocess.run(command, check=True)
        recipe.write_text(" ".join(command))
    return str(target)


def _pure_python(reason):
    print(f"fastdiff: installing without native code, because {reason}", file=sys.stderr)
    return [], {}


ext_modules, cmdclass = native_extension()
setup(
    # The Triton kernels lie in kernels/triton, outside of the package that they are imported from.
    packages=[*find_packages(include=["fastdiff", "fastdiff.*"]), "fastdiff.kernels.triton"],
    package_dir={"": ".", "fastdiff.kernels.triton": "kernels/triton"},
    ext_modules=ext_modules,
    cmdclass=cmdclass,
)
