"""Run by test_graph.py in a process of its own: a model that waits for the device is sampled
eagerly, with the reason stated, and leaves nothing behind that would disturb what follows."""

import warnings

import torch

import fastdiff as fd
from tests.gpu.device_calls import DEVICE, Net, assert_equal
from tests.support.toy import start, table_of


class Waiting(Net):
    """Asks the device for a number in every call."""

    def forward(self, x, t):
        return super().forward(x, t) * (1.0 if x.sum().item() == 0.5 else 2.0)


def sample(net, graph):
    return fd.sample(net, start().to(DEVICE), table_of("DDPM", 5), seeds=3, graph=graph)


def reasons(work):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert_equal(work(), expected)
    return [str(w.message) for w in caught if str(w.message).startswith("graph:")]


def stated(reason):
    """The model's own failure is named, not what followed from it."""
    cannot = "the model cannot be captured: "
    return cannot in reason and any(word in reason for word in ("capturing", "synchroniz"))


net, stream = Waiting(), torch.cuda.current_stream()
expected = sample(net, False)
first, second = (reasons(lambda: sample(net, "auto")) for _ in range(2))
assert len(first) == 1 and "running eagerly" in first[0] and stated(first[0]), first
assert second == [], "no second try, no second warning"
assert torch.cuda.current_stream() == stream, "the stream of the capture is still in use"
try:
    sample(net, True)
except RuntimeError as error:
    assert stated(str(error)), error
else:
    raise AssertionError("a graph was asked for: expected an error")
assert torch.randn(3, device=DEVICE).isfinite().all(), "the default generator draws"


class Hiding(Net):
    """Waits for the device only when it is captured, and hides that it failed."""

    def forward(self, x, t):
        if torch.cuda.is_current_stream_capturing():
            try:
                x.sum().item()
            except RuntimeError:
                pass
        return super().forward(x, t)


expected = sample(Hiding(), False)
hidden = reasons(lambda: sample(Hiding(), "auto"))
assert len(hidden) == 1 and "running eagerly" in hidden[0], hidden
assert torch.cuda.current_stream() == stream
assert torch.randn(3, device=DEVICE).isfinite().all(), "the default generator still draws"
torch.cuda.empty_cache()  # the allocator does not take a capture for being underway
expected = sample(Net(), False)
assert_equal(sample(Net(), True), expected, "another model, captured afterwards")
assert torch.cuda.current_stream() == stream
