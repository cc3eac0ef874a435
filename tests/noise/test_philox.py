"""Published vectors of the cipher, on every implementation that can be reached."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastdiff import noise
from fastdiff.ops import reference
from tests.support import philox_oracle as oracle
from tests.support.helpers import CLONES

# Random123, tests/kat_vectors: counter, key, output.
RANDOM123 = [
    ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]
# torch.func._random, key(42): blocks 0 and 1, and the keys folded in.
CIPHER_42 = ["9ceaf053 77f5493b 12bf50ad 5742b3d7", "fcdb2127 53ba6cfd 838f5a6e 744e06fb"]
FOLD_IN_42 = {
    0: (0x77F5493B9CEAF053, 0x5742B3D712BF50AD),
    1: (0x53BA6CFDFCDB2127, 0x744E06FB838F5A6E),
    7: (0x68784C855BBD83B1, 0x2E6B75B7172067AA),
}

int64 = st.integers(-(2**63), 2**63 - 1)


def hexadecimal(words):
    return " ".join(f"{int(w):08x}" for w in words)


def reference_philox(counter, key):
    return reference.philox(*([torch.tensor([w]) for w in words] for words in (counter, key)))


@pytest.mark.parametrize("philox", [reference_philox, oracle.philox])
@pytest.mark.parametrize(("counter", "key", "output"), RANDOM123)
def test_random123_vectors(philox, counter, key, output):
    assert hexadecimal(philox(counter, key)) == output


def test_ten_thousandth_word_of_cpp26():
    """std::philox4x32, default constructed: word order and the increment of the counter."""
    assert reference.words(torch.tensor([[20111115, 0]]), 2500)[0].flatten()[9999] == 1955073260
    assert reference.words(torch.tensor([[20111115, 2499]]), 1)[0, 0, 3] == 1955073260
    assert oracle.cipher(20111115, 0, 2500).flatten()[9999] == 1955073260


def test_cipher_of_a_key():
    for block, expected in enumerate(CIPHER_42):
        assert hexadecimal(reference.words(noise.key(42)[None], 2)[0, block]) == expected
        assert hexadecimal(reference.words(noise.key(42, block)[None], 1)[0, 0]) == expected
        assert hexadecimal(oracle.cipher(42, block, 1)[0]) == expected


@given(seed=int64, offset=int64, first=st.integers(0, 2**40), blocks=st.integers(1, 9))
def test_words_of_any_key(seed, offset, first, blocks):
    words = reference.words(torch.tensor([[seed, offset]]), blocks, first)[0]
    np.testing.assert_array_equal(words.numpy(), oracle.cipher(seed, offset + first, blocks))


@pytest.mark.parametrize("data", FOLD_IN_42)
def test_fold_in(data):
    expected = noise.key(*FOLD_IN_42[data])
    assert torch.equal(noise.fold_in(noise.key(42), data), expected)
    both = noise.fold_in(torch.stack((noise.key(1), noise.key(42))), data)
    assert torch.equal(both[1], expected)
    assert torch.equal(noise.split(noise.key(42), 8)[data], expected)


@given(seed=int64, offset=int64, data=int64)
def test_fold_in_of_any_key(seed, offset, data):
    w = [int(v) for v in oracle.cipher(seed, offset + data, 1)[0]]
    expected = noise.key(w[0] | w[1] << 32, w[2] | w[3] << 32)
    assert torch.equal(noise.fold_in(noise.key(seed, offset), data), expected)


@given(seed=int64, offset=int64, count=st.integers(0, 5))
def test_split_is_fold_in(seed, offset, count):
    keys = noise.split(noise.key(seed, offset), count)
    assert keys.shape == (count, 2)
    for i in range(count):
        assert torch.equal(keys[i], noise.fold_in(noise.key(seed, offset), i))


def test_offset_wraps_around():
    last, first = oracle.cipher(5, 2**64 - 1, 1)[0], oracle.cipher(5, 0, 1)[0]
    words = reference.words(noise.key(5, 2**64 - 1)[None], 2)[0].numpy()
    np.testing.assert_array_equal(words, [last, first])
    assert torch.equal(noise.fold_in(noise.key(5, -1), 1), noise.fold_in(noise.key(5), 0))
    carry = reference.words(noise.key(5, 2**32 - 1)[None], 2)[0].numpy()
    np.testing.assert_array_equal(carry, oracle.cipher(5, 2**32 - 1, 2))


# Instruction sets of the clones, and the width for which they are written.
BUILDS = {"avx512": ("x86-64-v4", 64), "avx2": ("x86-64-v3", 32), "baseline": ("x86-64", 16)}


@pytest.fixture(scope="module", params=[name for name in CLONES if name in BUILDS])
def native_words(request, tmp_path_factory):
    """Words of the C++ code, compiled as a clone is."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    here, (arch, width) = Path(__file__).parent, BUILDS[request.param]
    program = tmp_path_factory.mktemp("words") / request.param
    flags = ["-std=c++17", "-O2", f"-march={arch}", f"-DFD_VECTOR_BYTES={width}", "-w"]
    include = f"-I{here.parents[1] / 'csrc'}"
    subprocess.run(["g++", *flags, include, here / "words.cpp", "-o", program], check=True)

    def words(*lines):
        asked = "".join(
            f"{what} {' '.join(f'{n:x}' for n in numbers)}\n" for what, *numbers in lines
        )
        done = subprocess.run([program], input=asked, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    return words


def test_published_vectors_of_the_native_code(native_words):
    asked = [("cipher", *counter, *key) for counter, key, _ in RANDOM123]
    assert native_words(*asked) == [expected for *_, expected in RANDOM123]
    assert native_words(("stream", 42, 0, 2)) == CIPHER_42
    (ten_thousandth,) = native_words(("stream", 20111115, 2499, 1))  # of C++26's philox4x32
    assert int(ten_thousandth.split()[3], 16) == 1955073260
    assert native_words(("cipher", 0, 0, 0, 0, 42, 0), ("cipher", 1, 0, 0, 0, 42, 0)) == CIPHER_42


def test_streams_of_the_native_code(native_words):
    """Whole tiles, odd ends, carries into the high words, and the last block before the first."""
    starts = [0, 1, 2**32 - 3, 2**32, 2**63, 2**64 - 5]
    asked = [
        (seed, first, n) for seed in (0, 2**32, 2**64 - 1) for first in starts for n in (7, 64)
    ]
    found = iter(native_words(*(("stream", *numbers) for numbers in asked)))
    for seed, first, n in asked:
        for block in oracle.cipher(seed, first, n):
            assert next(found) == hexadecimal(block), (seed, first)
    assert next(found, None) is None
