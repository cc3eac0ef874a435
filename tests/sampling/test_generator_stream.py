"""Where the kernel draws the numbers of CUDA generators, with stand-ins for them; the numbers
themselves in tests/gpu."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fastdiff.sampling import generator as generator_
from fastdiff.sampling.generator import LARGEST, GeneratorStream
from fastdiff.sampling.program import Program
from tests.support.toy import start, table_of

THREADS = 2  # of torch's launch: the 35 numbers of a sample are five blocks of each
native = SimpleNamespace(torch_threads=lambda device, numel: THREADS)


class Generator:
    def __init__(self, seed, offset=0):
        self.seed, self.offset = seed, offset

    def initial_seed(self):
        return self.seed

    def get_offset(self):
        return self.offset

    def set_offset(self, offset):
        self.offset = offset


@pytest.fixture(autouse=True)
def without_a_device(monkeypatch):
    monkeypatch.setattr(generator_.ops, "native", native)
    monkeypatch.setattr(generator_.ops, "backend_of", lambda device: "cuda")
    monkeypatch.setattr(generator_, "probe", lambda device: "")


def stream_of(generators, shared, tables, batch=3):
    program = Program(tables, batch)
    buffers = SimpleNamespace(x=start(batch), keys=torch.zeros(batch, 2, dtype=torch.int64))
    return GeneratorStream(generators, shared, program, buffers), program, buffers


def drawn_at(stream, program, keys, place):
    """(seed, first block) of the draw of each sample, as the kernel finds them; None: no draw."""
    number = program.draw_numbers[place]
    first = keys[:, 1] + torch.from_numpy((number - 1) * stream.blocks)
    return [
        (seed % 2**64, block) if draws else None
        for seed, block, draws in zip(
            keys[:, 0].tolist(), first.tolist(), program.draws[place], strict=True
        )
    ]


def walk(stream, program, buffers, model=lambda k: None, steps=6):
    """Where each row draws, and where torch.randn in its place would."""
    for k in range(steps):
        place = np.minimum(program.entry + k, program.end)
        model(k)
        standing = [(g.seed % 2**64, g.offset // 4) for g in stream.generators]
        standing = standing * len(place) if stream.launch[1] else standing
        stream.follow(place)
        drawn = drawn_at(stream, program, buffers.keys, place)
        wanted = [at if d else None for at, d in zip(standing, program.draws[place], strict=True)]
        yield drawn, wanted
        stream.advance(place)


@pytest.mark.parametrize("shared", [True, False])
def test_the_generator_is_followed(shared):
    """Through draws of the model, a new seed, and rows that draw nothing."""
    given = [Generator(2**64 - 1 - b, 8 + 4 * b) for b in range(1 if shared else 3)]
    tables = table_of("DDPM", 5) if shared else [table_of("DDPM", 5), table_of("DDIM", 6)] * 2
    stream, program, buffers = stream_of(given, shared, tables if shared else tables[:3], batch=3)

    def model(k):
        if k == 2:
            given[-1].offset += 12
        if k == 3:
            given[0].seed = 5

    for drawn, wanted in walk(stream, program, buffers, model):
        assert drawn == wanted


def test_nothing_is_written_where_nothing_else_draws():
    stream, program, buffers = stream_of([Generator(3)], True, table_of("DPMppSDE", 4))
    version = buffers.keys._version
    assert all(drawn == wanted for drawn, wanted in walk(stream, program, buffers))
    assert buffers.keys._version == version


def test_the_draw_before_must_lie_where_it_was():
    stream, program, buffers = stream_of([Generator(3)], True, table_of("DPMppSDE", 4))
    assert program.reads_previous_draw.any()

    def model(k):
        stream.generators[0].offset += 4

    with pytest.raises(RuntimeError, match="^noise: expected a generator that nothing else"):
        list(walk(stream, program, buffers, model))


def test_a_captured_model_may_not_draw_from_it():
    given = Generator(3, 8)
    stream, *_ = stream_of([given], True, table_of("DDPM", 4))
    with stream.kept():
        pass
    with pytest.raises(RuntimeError, match="the model draws"), stream.kept():
        given.offset += 4
    assert given.offset == 8


@pytest.mark.parametrize("shared", [True, False])
def test_draws_that_torch_splits_are_left_to_it(monkeypatch, shared):
    """2 GiB of float32: beyond, torch advances its generator by the pieces."""
    monkeypatch.setattr(GeneratorStream, "__init__", lambda *_: None)
    table = table_of("DDPM", 4)
    for numel, kernel in ((LARGEST, True), (LARGEST + 1, False)):
        x = torch.zeros(1, 1).expand(1, numel)
        source = torch.Generator() if shared else [torch.Generator()]
        stream = GeneratorStream.of(source, Program(table, 1), SimpleNamespace(x=x))
        assert (stream is not None) == kernel
    halves = torch.zeros(1, 1).expand(2, LARGEST)
    generators = torch.Generator() if shared else [torch.Generator(), torch.Generator()]
    stream = GeneratorStream.of(generators, Program(table, 2), SimpleNamespace(x=halves))
    assert (stream is None) == shared, "a sample of its own generator is a draw of its own"
