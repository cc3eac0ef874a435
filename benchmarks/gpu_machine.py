"""Where figures of a GPU come from: device, versions, commit. Starts no CUDA context."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def tool(name: str) -> str | None:
    """A program of the CUDA toolkit."""
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    return shutil.which(name) or shutil.which(name, path=f"{home}/bin")


def output(*command: str) -> str:
    """What a command prints, or "" where it cannot run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def device() -> dict[str, str]:
    """Name, driver, compute capability and memory of device 0; empty without one."""
    query = "--query-gpu=name,driver_version,compute_cap,memory.total"
    values = output("nvidia-smi", "-i", "0", query, "--format=csv,noheader").split(",")
    keys = ("device", "driver", "compute capability", "memory")
    if len(values) != len(keys):
        return {}
    return dict(zip(keys, (value.strip() for value in values), strict=True))


def versions() -> dict:
    import torch

    triton = importlib.util.find_spec("triton") and importlib.import_module("triton").__version__
    release = re.search(r"release .*, V([\d.]+)", output(tool("nvcc") or "", "--version"))
    return {
        "torch": torch.__version__,
        "cuda of torch": torch.version.cuda,
        "triton": triton,
        "nvcc": release and release[1],
        "python": sys.version.split()[0],
        "cores": os.cpu_count(),
    }


def commit() -> str | None:
    """Of the repository, marked where it has changes; else what the file COMMIT says."""
    if (ROOT / ".git").exists() and (head := output("git", "rev-parse", "HEAD")):
        return head + ("-dirty" if output("git", "status", "--porcelain") else "")
    file = ROOT / "COMMIT"
    return file.read_text().split("\n")[0].strip() if file.exists() else None


def machine(given_commit: str | None = None) -> dict:
    return {**device(), **versions(), "commit": given_commit or commit()}
