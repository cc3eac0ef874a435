"""noise="torch": the numbers that torch.randn draws from CUDA generators, drawn in the kernel."""

import pytest
import torch

import fastdiff as fd
from fastdiff import ops
from fastdiff.sampling.generator import GeneratorStream, probe
from tests.gpu.device_calls import DEVICE, Net, assert_equal, needs_cuda
from tests.support.toy import TABLES, start, table_of

pytestmark = needs_cuda
SOLVERS = ["DDPM", "DPMppSDE", "SASolver"]  # a draw a step; two a step and the one before; history
GRAPH = pytest.mark.parametrize("graph", [False, True])


def device():
    return torch.device(DEVICE, torch.cuda.current_device())


def wave():
    """Threads of the largest launch of torch.randn on this device."""
    return ops.native.torch_threads(device().index, 2**40)


def generator(seed, drawn=0):
    g = torch.Generator(DEVICE).manual_seed(seed)
    torch.randn(drawn, generator=g, device=DEVICE)
    return g


def randn(shape, g=None):
    return torch.randn(shape, generator=g, device=DEVICE)


def test_the_mapping_is_that_of_this_torch():
    assert probe(device()) == ""


SHAPES = {
    "one": lambda: (1, 1),
    "odd": lambda: (3, 7, 5),
    "latent": lambda: (2, 4, 64, 64),
    "a wave": lambda: (1, wave()),
    "above a wave": lambda: (2, wave() + 3),
    "many waves": lambda: (1, 9 * wave() + 5),
}


@GRAPH
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_one_generator_for_the_batch(solver, shape, graph):
    shape, table = SHAPES[shape](), table_of(solver, 4)
    x = start(shape[0], shape[1:]).to(DEVICE)
    given, peer = generator(7, drawn=5), generator(7, drawn=5)
    drawn = torch.stack([randn(shape, peer) for _ in range(table.noise_draws)])
    expected = fd.sample(Net(), x, table, noise=drawn, graph=False)
    assert_equal(fd.sample(Net(), x, table, noise=given, graph=graph), expected)
    assert given.get_offset() == peer.get_offset()
    assert_equal(randn(5, given), randn(5, peer), "what is drawn afterwards")


@GRAPH
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_generator_for_each_sample(solver, shape, graph):
    """As diffusers draws for a list of generators: [1, ...] from each."""
    shape, table = SHAPES[shape](), table_of(solver, 4)
    batch = shape[0]
    x = start(batch, shape[1:]).to(DEVICE)
    given, peers = ([generator(40 + b, drawn=b) for b in range(batch)] for _ in range(2))
    drawn = torch.stack(
        [torch.cat([randn((1, *shape[1:]), g) for g in peers]) for _ in range(table.noise_draws)]
    )
    expected = fd.sample(Net(), x, table, noise=drawn, graph=False)
    assert_equal(fd.sample(Net(), x, table, noise=given, graph=graph), expected)
    assert [g.get_offset() for g in given] == [g.get_offset() for g in peers]


@GRAPH
def test_the_default_generator(graph):
    table, x = TABLES["DDPM"], start().to(DEVICE)
    torch.manual_seed(3)
    drawn = torch.stack([randn(x.shape) for _ in range(table.noise_draws)])
    after = randn(4)
    torch.manual_seed(3)
    expected = fd.sample(Net(), x, table, noise=drawn, graph=False)
    assert_equal(fd.sample(Net(), x, table, noise="torch", graph=graph), expected)
    assert_equal(randn(4), after, "what is drawn afterwards")


def test_generators_of_samples_that_draw_differently_often():
    """A finished or deterministic sample leaves its generator alone."""
    tables = [table_of("DDPM", 3), table_of("DDIM", 5), table_of("DDPM", 5)]
    x = start(3).to(DEVICE)
    given, peers = ([generator(b) for b in range(3)] for _ in range(2))
    fd.sample(Net(), x, tables, noise=given)
    for table, g in zip(tables, peers, strict=True):
        for _ in range(table.noise_draws):
            randn((1, *x.shape[1:]), g)
    assert [g.get_offset() for g in given] == [g.get_offset() for g in peers]


@pytest.mark.parametrize("graph", [False, "auto"])
def test_a_model_that_draws_from_the_same_generator(graph, recwarn):
    """In between, as in a loop of torch.randn; a captured step could not know how far."""
    table, x = table_of("DDPM", 6), start().to(DEVICE)

    def noisy(g):
        return lambda x, t: Net()(x, t) + 0.1 * randn(x.shape, g)

    given, peer = generator(7), generator(7)
    expected = fd.sample(noisy(peer), x, table, noise=lambda n, shape: randn(shape, peer),
                         graph=False)  # fmt: skip
    assert_equal(fd.sample(noisy(given), x, table, noise=given, graph=graph), expected)
    assert given.get_offset() == peer.get_offset()
    assert any("the model draws" in str(w.message) for w in recwarn) == (graph == "auto")


@pytest.mark.parametrize("shared", [True, False])
def test_a_restarted_sample_draws_on_from_its_generator(monkeypatch, shared):
    """As where torch draws the noise outside the kernel."""
    table, x = table_of("DDPM", 5), start(2).to(DEVICE)

    def restarted():
        noise = generator(3) if shared else [generator(3), generator(4)]
        state = fd.SamplerState(table, x, noise=noise)
        for k in range(7):
            state.step(Net()(state.model_input, state.t))
            if k == 1:
                state.restart(1, x[0])
        return state.x

    expected = restarted()
    monkeypatch.setattr(GeneratorStream, "of", lambda *_: None)
    assert_equal(restarted(), expected)


def test_a_generator_of_the_cpu_serves_the_device():
    table, x = TABLES["DDPM"], start()
    expected = fd.sample(Net(), x, table, noise=torch.Generator().manual_seed(2))
    sample = fd.sample(Net(), x.to(DEVICE), table, noise=torch.Generator().manual_seed(2))
    assert_equal(sample, expected)


def test_a_draw_of_more_than_two_gigabytes(room):
    """torch splits such a tensor and advances its generator by the pieces: it draws it itself."""
    room(24)
    shape = (1, 2**29 + 8)
    table, x = table_of("DDPM", 2), torch.zeros(shape, device=DEVICE)
    given, peer = generator(1), generator(1)

    def still(x, t):
        return x

    expected = fd.sample(still, x, table, noise=randn(shape, peer)[None], graph=False)
    assert_equal(fd.sample(still, x, table, noise=given, graph=False)[:, -99:], expected[:, -99:])
    assert given.get_offset() == peer.get_offset()
