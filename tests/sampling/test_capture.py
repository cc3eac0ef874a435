"""How a capture begins, ends and fails, with a stand-in for torch.cuda; a real one in tests/gpu."""

from contextlib import contextmanager

import pytest
import torch

from fastdiff.sampling.graph import capture_cuda, forbid_waiting


class FakeCuda:
    """torch.cuda as a capture uses it: the current stream, and captures of which some fail to
    end, as after a synchronisation within them."""

    def __init__(self, monkeypatch, ends):
        self.log, self.ends, self.stream_in_use, self.mode = [], iter(ends), "user's", 0
        fake = self

        class CUDAGraph:
            def capture_begin(self, pool, capture_error_mode):
                fake.log.append(f"begin on {fake.stream_in_use}")

            def capture_end(self):
                fake.log.append("end")
                if not next(fake.ends, True):
                    raise RuntimeError("operation failed due to a previous error during capture")

            def replay(self):
                fake.log.append("replay")

        @contextmanager
        def stream(other):
            before, self.stream_in_use = self.stream_in_use, other
            try:
                yield
            finally:
                self.stream_in_use = before

        replaced = {
            "CUDAGraph": CUDAGraph, "graph_pool_handle": lambda: (0, 1), "stream": stream,
            "Stream": lambda: "side", "synchronize": lambda: None, "empty_cache": lambda: None,
            "current_device": lambda: 0, "get_sync_debug_mode": lambda: self.mode,
            "set_sync_debug_mode": lambda mode: setattr(self, "mode", mode),
        }  # fmt: skip
        for name, value in replaced.items():
            monkeypatch.setattr(torch.cuda, name, value)
        empty = torch.empty
        monkeypatch.setattr(torch, "empty", lambda *size, device: empty(*size))


def test_a_capture(monkeypatch):
    fake = FakeCuda(monkeypatch, [])
    capture_cuda(lambda: fake.log.append(f"work on {fake.stream_in_use}"))()
    assert fake.log == ["begin on side", "work on side", "end", "replay"]
    assert fake.stream_in_use == "user's"


@pytest.mark.parametrize("ends", [[False], [True]])
def test_a_failing_capture_leaves_nothing_behind(monkeypatch, ends):
    """The model's own error comes out, whether or not its capture can be ended; the stream is the
    one of before, and a capture that succeeds resets torch's generator."""
    fake = FakeCuda(monkeypatch, ends)

    def fail():
        raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match="^operation not permitted"):
        capture_cuda(fail)
    assert fake.stream_in_use == "user's"
    assert fake.log == ["begin on side", "end", "begin on side", "end"]


def test_a_capture_that_does_not_end(monkeypatch):
    """The model caught the error that its capture died of."""
    fake = FakeCuda(monkeypatch, [False, False])
    with pytest.raises(RuntimeError, match="^operation failed"):
        capture_cuda(lambda: None)
    assert fake.stream_in_use == "user's"
    assert fake.log == ["begin on side", *["end"] * 2, "begin on side", "end"]


def test_waiting_is_forbidden_on_cuda_alone(monkeypatch):
    fake = FakeCuda(monkeypatch, [])
    for device, mode in ((None, 0), ("cpu", 0), ("cuda:0", "error")):
        with pytest.raises(ZeroDivisionError), forbid_waiting(device and torch.device(device)):
            assert fake.mode == mode
            raise ZeroDivisionError
        assert fake.mode == 0
