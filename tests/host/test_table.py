"""The table: its self-check rejects any wrong coefficient; saving, loading, printing."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdiff import grids
from fastdiff.row import COLUMN, FIELDS, HISTORY, WIDTH
from fastdiff.schedules import EDM, DiscreteBetas, RectifiedFlow, VPCosine, VPLinear
from fastdiff.solvers import DDIM, DDPM, DEIS, LMS, DPMpp2M, DPMpp2MSDE, Heun, StepTable, UniPC
from tests.support.registered import SOLVERS, label

EXACT = [solver for solver in SOLVERS if solver.exact_on_point_mass == "full"]
SETTINGS = [
    (VPLinear(), "eps", None),
    (VPCosine(), "v", 1.0),
    (EDM(), "x0", None),
    (RectifiedFlow(3.0), "flow", (-2.0, 1.5)),
    (DiscreteBetas.linear(), "score", None),
]


def with_rows(table, rows):
    return dataclasses.replace(table, rows=rows)


def test_layout():
    assert WIDTH == len(FIELDS) == 40 and HISTORY == 4
    assert FIELDS[COLUMN["c_x"]] == "c_x"
    expected = {"p_x": 0, "c_x": 5, "c_h0": 10, "c_zp": 15, "d_x": 16, "e_x": 27, "live": 39}
    assert {name: COLUMN[name] for name in expected} == expected


def test_first_and_last_row():
    table = DDIM().lower(VPLinear(), 3)
    entry = {name: v for name, v in zip(FIELDS, table.rows[0], strict=True) if v}
    expected = {"c_x": 1, "in_scale": 1, "t_next": 1, "slot": -1, "live": 1}
    assert entry == expected | {"clip_lo": -np.inf, "clip_hi": np.inf}
    assert table.rows[-2, COLUMN["in_scale"]] == 0
    end = {name: v for name, v in zip(FIELDS, table.rows[-1], strict=True) if v}
    assert end == {"slot": -1}


@pytest.mark.parametrize("solver", [Heun(), LMS(), DEIS()], ids=label)
def test_steps_too_long_for_float64_are_named_as_the_cause(solver):
    """And a wrong coefficient is not excused by them."""
    options = {"prediction": "v", "grid": grids.Karras(final="min")}
    with pytest.raises(ValueError, match=r"got .*; a few steps .* = 1e\+10 to 1e-06 leave float64"):
        solver.lower(EDM(1e-6, 1e10), 1, **options)
    table = solver.lower(EDM(), 5, **options)
    rows = table.rows.copy()
    rows[2, COLUMN["c_x"]] *= 1.001
    with pytest.raises(ValueError, match="^(?!.*float64).*on a point mass"):
        with_rows(table, rows)


@pytest.mark.parametrize("solver", EXACT, ids=label)
@settings(max_examples=settings.default.max_examples // 8)
@given(st.data())
def test_any_wrong_number_is_rejected(solver, data):
    schedule, prediction, clip = data.draw(st.sampled_from(SETTINGS))
    table = solver.lower(schedule, 7, prediction=prediction, clip=clip)
    candidates = np.argwhere((table.rows != 0) & np.isfinite(table.rows))
    k, column = candidates[data.draw(st.integers(0, len(candidates) - 1))]
    rows = table.rows.copy()
    rows[k, column] *= 1 + data.draw(st.sampled_from([-1e-3, 1e-3]))
    with pytest.raises(ValueError, match=r"StepTable of .*(row|level|END)"):
        with_rows(table, rows)


@pytest.mark.parametrize("solver", EXACT, ids=label)
def test_no_single_number_is_free(solver):
    """The same, exhaustively on one schedule."""
    table = solver.lower(VPLinear(), 5)
    for k, column in np.argwhere((table.rows != 0) & np.isfinite(table.rows)):
        rows = table.rows.copy()
        rows[k, column] *= 1.001
        with pytest.raises(ValueError):
            with_rows(table, rows)
            pytest.fail(f"row {k}, {FIELDS[column]}")


def test_the_error_says_where_and_what():
    table = DDIM().lower(VPLinear(), 4, prediction="v")
    rows = table.rows.copy()
    rows[2, COLUMN["c_x"]] *= -1
    with pytest.raises(
        ValueError,
        match=r"DDIM.* on VPLinear.*row 2: on a point mass the factor of x0 must be alpha = 0\.\d+",
    ):
        with_rows(table, rows)


def test_large_variance_says_that_only_its_drift_is_exact():
    table = DDPM("fixed_large").lower(VPLinear(), 5)
    assert table.exact_on_point_mass == "drift"
    with pytest.raises(ValueError, match="the noise must be sigma"):
        dataclasses.replace(table, exact_on_point_mass="full")
    rows = table.rows.copy()
    rows[1, COLUMN["c_z"]] *= 1.1
    with_rows(table, rows)
    rows[1, COLUMN["c_x"]] *= 1.001
    with pytest.raises(ValueError, match="row 1"):
        with_rows(table, rows)


@pytest.mark.parametrize(
    ("k", "name", "value", "message"),
    [
        (1, "slot", 4, "row 1: slot must be an integer in -1..3, got 4"),
        (1, "slot", 0.5, "row 1: slot must be an integer"),
        (1, "live", 0, "row 1: live must be 1, got 0"),
        (2, "c_h3", 0.1, "row 2: reads history slot 3 before"),
        (2, "c_s", 0.1, "row 2: reads the anchor s before"),
        (0, "c_o", 0.1, "row 0: c_o must be 0 before the first model evaluation"),
        (3, "c_x", np.nan, "row 3: c_x must be finite, got nan"),
        (3, "c_z", 0.1, "row 3: draw must be 1, got 0"),
        (3, "draw", 1, "row 3: draw must be 0, got 1"),
        (1, "clip_lo", -1, "row 1: clip_lo must be -inf, got -1"),
        (1, "t_next", 0.3, "row 1: t_next must be"),
        (-1, "live", 1, "END row: live must be 0, got 1"),
    ],
)
def test_structure(k, name, value, message):
    table = DPMpp2M().lower(VPLinear(), 5)
    rows = table.rows.copy()
    rows[k, COLUMN[name]] = value
    with pytest.raises(ValueError, match=message):
        with_rows(table, rows)


def test_levels_are_checked():
    table = DDIM().lower(VPLinear(), 4)
    for column, value, message in [
        (2, 0.0, "level 2: sigma must be > 0"),
        (1, -1.0, "level 2: alpha and sigma must be >= 0"),
        (2, 5e3, "level 2: sigma / alpha must not exceed that of level 1"),
        (0, np.nan, "level 2: t must be finite"),
    ]:
        levels = table.levels.copy()
        levels[2, column] = value
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(table, levels=levels)


def test_shapes_and_metadata_are_checked():
    table = DDIM().lower(VPLinear(), 4)
    for change, error, message in [
        ({"rows": table.rows[:, :30]}, ValueError, r"rows must have shape \[N \+ 2, 40\]"),
        ({"rows": table.rows[:2]}, ValueError, "with N >= 1"),
        ({"levels": table.levels[1:]}, ValueError, r"levels must have shape \[6, 7\]"),
        ({"order": 0}, ValueError, "order must be a positive integer"),
        ({"solver": DDIM()}, TypeError, "solver must be a string"),
        ({"exact_on_point_mass": "half"}, ValueError, "exact_on_point_mass must be"),
    ]:
        with pytest.raises(error, match=message):
            dataclasses.replace(table, **change)


def test_arrays_are_read_only_and_pack_copies():
    table = DDIM().lower(VPLinear(), 4)
    with pytest.raises(ValueError):
        table.rows[0, 0] = 1
    packed = table.pack()
    assert packed.dtype == np.float32 and packed.shape == (6, WIDTH) and packed.flags.writeable
    assert table.pack(np.float64).tobytes() == table.rows.tobytes()


def test_metadata():
    table = DPMpp2MSDE().lower(DiscreteBetas.linear(), 10, clip=1)
    assert (table.nfe, table.noise_draws, table.stochastic, table.clip) == (10, 9, True, (-1, 1, 0))
    assert table.model_t.tolist() == [999, 899, 799, 699, 599, 499, 399, 299, 199, 99]
    assert table.solver == repr(DPMpp2MSDE()) and table.prediction == "eps"
    draws = table.rows[1:-1, COLUMN["draw"]]
    assert draws.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 9]


def test_equality_is_by_content():
    a = DDIM().lower(VPLinear(), 4)
    b = with_rows(a, a.rows)
    assert a == b and hash(a) == hash(b) and a is not b
    assert a != DDIM().lower(VPLinear(), 5) and a != DDIM().lower(VPLinear(), 4, clip=1)
    assert a != "table"


@pytest.mark.parametrize("solver", SOLVERS, ids=label)
def test_save_and_load(solver, tmp_path):
    table = solver.lower(VPLinear(), 6, clip=(-1, 2))
    path = tmp_path / "table.fd"
    table.save(path)
    assert StepTable.load(path) == table
    assert StepTable.load(str(path)).clip == (-1.0, 2.0, 0.0)


def test_loading_refuses_what_is_not_a_table(tmp_path):
    path = tmp_path / "table"
    with pytest.raises(FileNotFoundError):
        StepTable.load(path)
    table = UniPC().lower(VPLinear(), 6)
    table.save(path)
    good = path.read_bytes()
    for cut in (0, 10, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:cut])
        with pytest.raises(
            ValueError, match="expected a saved StepTable, got a damaged or foreign"
        ):
            StepTable.load(path)
    path.write_bytes(b"not a table at all")
    with pytest.raises(ValueError, match="damaged or foreign file"):
        StepTable.load(path)
    with open(path, "wb") as file:
        np.savez(file, rows=table.rows)
    with pytest.raises(ValueError, match="damaged or foreign file"):
        StepTable.load(path)


@pytest.mark.parametrize("stride", [37, pytest.param(1, marks=pytest.mark.slow)])
def test_every_damaged_byte_and_every_cut_is_an_error_that_names_the_file(tmp_path, stride):
    path = tmp_path / "table"
    Heun().lower(VPLinear(), 4).save(path)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in range(0, len(good), stride):
        damaged = bytearray(good)
        damaged[place] ^= int(rng.integers(1, 256))
        refused(path, bytes(damaged))
    for length in {*range(0, len(good), 7 * stride), *range(len(good) - 100, len(good))}:
        refused(path, good[:length])
    refused(path, good + b"\0")


def refused(path, data):
    path.write_bytes(data)
    with pytest.raises(ValueError, match="path: expected .*StepTable.* got") as error:
        StepTable.load(path)
    assert repr(str(path)) in str(error.value)


def test_tables_of_before_the_checksum_are_read(tmp_path):
    path = tmp_path / "table"
    table = DPMpp2M().lower(VPLinear(), 4)
    meta = {"format": "fastdiff.StepTable", "version": 2, **table._meta()}
    with open(path, "wb") as file:
        np.savez(file, rows=table.rows, levels=table.levels, meta=np.array(json.dumps(meta)))
    assert StepTable.load(path) == table


def test_loading_refuses_other_versions_and_wrong_rows(tmp_path):
    path = tmp_path / "table"
    table = DDIM().lower(VPLinear(), 4)

    def write(rows, meta):
        with open(path, "wb") as file:
            np.savez(file, rows=rows, levels=table.levels, meta=np.array(meta))

    write(table.rows, '{"format": "fastdiff.StepTable", "version": 1}')
    with pytest.raises(ValueError, match="expected StepTable version 3, got version 1"):
        StepTable.load(path)
    write(table.rows, '{"format": "something"}')
    with pytest.raises(ValueError, match="a file of another format"):
        StepTable.load(path)
    meta = json.dumps({"format": "fastdiff.StepTable", "version": 2, **table._meta()})
    write(table.rows, meta)
    assert StepTable.load(path).nfe == 4
    write(table.rows * 1.001, meta)
    with pytest.raises(ValueError, match="path: expected a valid StepTable, got .*row"):
        StepTable.load(path)


def test_printing():
    text = str(UniPC().lower(VPLinear(), 4, clip=1))
    assert "UniPC" in text and "nfe 4" in text and "x' =" in text and "s' =" in text
    assert "m = clip(" in text and "h1 = +1 m" in text
    assert len(str(DDPM().lower(DiscreteBetas.linear(), 1000)).splitlines()) < 30
    assert "nfe=4" in repr(DDIM().lower(VPLinear(), 4))
