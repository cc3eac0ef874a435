"""What the tests of this folder share. They run on a CUDA device, need no package but torch and
pytest, and take helpers from the folders beside this one."""

import importlib

import pytest
import torch


@pytest.fixture
def no_sync():
    """A context in which whatever makes the host wait for the device raises."""

    from fastdiff.sampling.graph import forbid_waiting

    return lambda: forbid_waiting(torch.device("cuda"))


@pytest.fixture
def captures(monkeypatch):
    """The captures that ``fastdiff.sample`` makes during the test, none of them from before."""
    from fastdiff.sampling import graph

    made = []

    def capture(work):
        made.append(work)
        return graph.capture_cuda(work)

    sample = importlib.import_module("fastdiff.sampling.sample")
    monkeypatch.setattr(sample, "graphs", graph.Graphs(capture))
    return made


@pytest.fixture
def room():
    """Skips where the device has too little free memory; gives back what the test took."""

    def require(gigabytes):
        free = torch.cuda.mem_get_info()[0] / 2**30
        if free < gigabytes:
            pytest.skip(f"needs {gigabytes} GiB of free device memory, {free:.0f} GiB are free")

    torch.cuda.empty_cache()
    yield require
    torch.cuda.empty_cache()
