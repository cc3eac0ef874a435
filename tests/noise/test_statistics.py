"""The layout (seed, draw, sample, element) of the noise, not only its cipher: distribution and
independence of the float32 normals.

Everything is deterministic. Each statistic is a standard normal score or a p-value under the null
hypothesis; the limits (a score of 5, a p-value of 1e-6) leave a fair generator in peace, while a
lane that is dropped, repeated or shifted misses them by hundreds; the last tests show that.
"""

import itertools

import numpy as np
import pytest
from scipy import stats

from fastdiff import noise

EVENTS, NUMEL = 1024, 256  # 2^18 normals
SCORE, P = 5.0, 1e-6
LANE_PAIRS = list(itertools.combinations(range(4), 2))


@pytest.fixture(scope="module")
def z():
    """[EVENTS, NUMEL]: neighbouring seeds from 0 on."""
    return noise.normal(noise.keys(0, EVENTS), (NUMEL,)).numpy().astype(np.float64)


def check_distribution(z):
    z = z.ravel()
    assert stats.kstest(z, "norm").pvalue > P
    counts = np.bincount((stats.norm.cdf(z) * 512).astype(int), minlength=512)
    assert P < stats.chisquare(counts).pvalue < 1 - P
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - mean) * np.sqrt(z.size / variance) < SCORE


def check_independence(a, b):
    """Correlation of the values, of their squares, and of the signs of their sum and product."""
    a, b, root = a.ravel(), b.ravel(), np.sqrt(a.size)
    assert abs((a * b).mean()) * root < SCORE
    assert abs(((a**2 - 1) * (b**2 - 1)).mean()) / 2 * root < SCORE
    assert abs((a * (b**2 - 1)).mean()) / np.sqrt(2) * root < SCORE
    assert abs(np.sign(a * b).mean()) * root < SCORE


def test_distribution(z):
    check_distribution(z)


@pytest.mark.parametrize("lane", range(4))
def test_distribution_of_a_lane(z, lane):
    check_distribution(z[:, lane::4])


@pytest.mark.parametrize("block", [0, 1, NUMEL // 4 - 1])
def test_distribution_across_seeds(z, block):
    check_distribution(z[:, 4 * block : 4 * block + 4])


def test_distribution_over_structured_seeds():
    """Seeds and offsets of one set bit: keys and counters that differ as little as they can."""
    bits = [1 << k for k in range(64)]
    keys = [noise.key(seed, offset) for seed in bits for offset in (0, *bits[::8])]
    check_distribution(np.stack([noise.normal(key, (64,)).numpy() for key in keys]))


@pytest.mark.parametrize(("i", "j"), LANE_PAIRS)
def test_lanes_of_a_block(z, i, j):
    check_independence(z[:, i::4], z[:, j::4])


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 8, 64])
def test_elements_of_an_event(z, lag):
    check_independence(z[:, :-lag], z[:, lag:])


@pytest.mark.parametrize("lag", [1, 2, 16, 256])
def test_neighbouring_seeds(z, lag):
    check_independence(z[:-lag], z[lag:])


@pytest.mark.parametrize("numel", [3, 16, 49])
def test_neighbouring_draws_and_samples(numel):
    """Sizes that do not fill their last block, as trajectories have them."""
    keys = noise.keys(1000, 64)
    draws = np.stack([noise.draw(keys, (numel,), n).numpy() for n in range(200)]).astype(np.float64)
    check_distribution(draws)
    check_independence(draws[:-1], draws[1:])
    check_independence(draws[:, :-1], draws[:, 1:])
    check_independence(draws[:-1, :-1], draws[1:, 1:])
    check_independence(draws[:-1, 1:], draws[1:, :-1])


def test_no_value_comes_twice_too_often(z):
    """float32 normals collide: about 2^18 * 2^18 / 2 pairs over some 2^25 values."""
    distinct = np.unique(z.astype(np.float32)).size
    assert z.size - distinct < 20_000


def all_checks(blocks):
    """What the tests above look at, for [events, blocks, 4]."""
    check_distribution(blocks)
    for i, j in LANE_PAIRS:
        check_independence(blocks[:, :, i], blocks[:, :, j])
    check_independence(blocks[:, :-1], blocks[:, 1:])
    check_independence(blocks[:-1], blocks[1:])


FAULTS = {
    "repeated lane": lambda z: z[:, :, [0, 1, 2, 2]],
    "zero lane": lambda z: z * [1, 1, 1, 0],
    "tied signs": lambda z: z * [1, 1, 1, -1] * np.sign(z[:, :, :1]),
    "cut tails": lambda z: np.clip(z, -2.5, 2.5),
    "wide": lambda z: z * 1.01,
    "shifted": lambda z: z + 0.01,
    "repeated block": lambda z: np.repeat(z[:, ::2], 2, axis=1),
    "repeated seed": lambda z: np.repeat(z[::2], 2, axis=0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_checks_see_a_fault(z, fault):
    blocks = z.reshape(EVENTS, NUMEL // 4, 4)
    all_checks(blocks)
    with pytest.raises(AssertionError):
        all_checks(FAULTS[fault](blocks))
