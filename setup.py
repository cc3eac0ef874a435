"""Builds fastdiff._C. Everything else about the package is in pyproject.toml.

Without a C++ compiler (or without torch in the build environment) the package installs pure Python
and says so once; its operations then run on the PyTorch reference.
"""

import shutil
import sys
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent

SOURCES = [
    "csrc/bindings.cpp",
    "csrc/torch/executor.cpp",
    "csrc/torch/pack.cpp",
    "csrc/torch/register.cpp",
    "csrc/torch/run.cpp",
    "csrc/cpu/backend.cpp",
    "csrc/cpu/clone_avx2.cpp",
    "csrc/cpu/clone_avx512.cpp",
    "csrc/cpu/clone_baseline.cpp",
]
# Rounding is part of the contract: products and sums are fused only where the source says fma.
FLAGS = ["-std=c++17", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-g0", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-unused-parameter"]


def native_extension():
    """(ext_modules, cmdclass), empty where nothing can be compiled."""
    try:
        import pybind11
        from torch.utils.cpp_extension import BuildExtension, CppExtension, get_cxx_compiler
    except ImportError as error:
        return _pure_python(f"{error.name} is not importable in the build environment")
    if shutil.which(get_cxx_compiler()) is None:
        return _pure_python(f"no C++ compiler ({get_cxx_compiler()}) was found")
    extension = CppExtension(
        "fastdiff._C",
        SOURCES,
        include_dirs=[str(ROOT / "csrc"), pybind11.get_include()],
        extra_compile_args=FLAGS,
        depends=[str(p.relative_to(ROOT)) for p in sorted((ROOT / "csrc").rglob("*.h"))],
    )
    return [extension], {"build_ext": BuildExtension}


def _pure_python(reason):
    print(f"fastdiff: installing without native code, because {reason}", file=sys.stderr)
    return [], {}


ext_modules, cmdclass = native_extension()
setup(ext_modules=ext_modules, cmdclass=cmdclass)
