"""States and tables at the far end of sizes: what lies there is what a small one makes of it."""

import numpy as np
import pytest
import torch

import fastdiff as fd
from fastdiff.solvers import DDPM, DPMpp2M
from tests.support.helpers import native_only, same_bits
from tests.support.toy import start

pytestmark = pytest.mark.slow
MANY = 2**31 + 7
GIGABYTES = 14  # x in float32 and the model's input in bfloat16


def available_gigabytes():
    with open("/proc/meminfo") as file:
        values = dict(line.split(":") for line in file)
    return int(values["MemAvailable"].split()[0]) / 2**20


@native_only
def test_more_than_two_to_the_31_elements():
    """One step that draws noise; its ends as a sample of few elements has them, whose noise begins
    where that of the large one does."""
    if available_gigabytes() < GIGABYTES:
        pytest.skip(f"needs {GIGABYTES} GiB of free memory")
    table = DDPM().lower(fd.schedules.VPLinear(), 4)
    tail = MANY - 64 - MANY % 4  # the first element of a block of four
    ends = {0: torch.linspace(-2, 2, 64), tail: torch.linspace(-1, 3, MANY - tail)}
    out = torch.full((1, 1), 0.25, dtype=torch.bfloat16).expand(1, MANY)
    x = torch.zeros(1, 1).expand(1, MANY)
    state = fd.SamplerState(table, x, seeds=5, model_dtype=torch.bfloat16)
    for first, values in ends.items():
        state.x[0, first : first + len(values)] = values
    assert state.model_input.shape == (1, MANY)
    state.step(out)
    key = fd.noise.key(5)
    blocks = -(-MANY // 4)
    for first, values in ends.items():
        numel = len(values)
        # Draw 1 of a sample begins ceil(numel / 4) blocks behind its key.
        offset = int(key[1]) + blocks - -(-numel // 4) + first // 4
        keys = torch.stack((key[0], torch.tensor(offset)))[None]
        alone = fd.SamplerState(table, values[None], seeds=keys, model_dtype=torch.bfloat16)
        alone.step(torch.full((1, numel), 0.25, dtype=torch.bfloat16))
        piece = slice(first, first + numel)
        assert same_bits(state.x[:, piece].clone(), alone.x)
        assert same_bits(state.model_input[:, piece].clone(), alone.model_input)


@pytest.mark.parametrize("solver", [DPMpp2M(), DDPM()])
def test_a_table_of_many_rows(solver, tmp_path):
    """It lowers, is saved and loaded, and runs to its end."""
    steps = 100_000
    table = solver.lower(fd.schedules.VPLinear(), steps)
    assert table.nfe == steps
    table.save(tmp_path / "long.npz")
    again = fd.StepTable.load(tmp_path / "long.npz")
    assert np.array_equal(again.rows, table.rows)
    x = start(2, (5,))
    state = fd.SamplerState(again, x)
    out = torch.zeros(2, 5)
    while not state.done:
        state.step(out)
    assert state.x.isfinite().all() and (state.row.numpy() == steps + 1).all()
