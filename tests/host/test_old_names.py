"""Old names of solvers, stages and tables, which go on working."""

from dataclasses import dataclass

import numpy as np
import pytest

from fastdiff.schedules import VPLinear
from fastdiff.solvers import DDIM, DPMSolverSinglestep, SASolver, Solver, Stage, StepTable, UniPC
from fastdiff.solvers.kappa import first_order
from fastdiff.tables import table_file
from fastdiff.tables.lin import X
from fastdiff.tables.path import Path
from fastdiff.tables.rows import Row


def test_the_old_name_of_always_save_state():
    with pytest.warns(DeprecationWarning, match="Old.keeps_anchor is now called always_save_state"):

        class Old(UniPC):
            keeps_anchor = True

    last = UniPC(3).lower(VPLinear(), 4).rows[-2], Old(3).lower(VPLinear(), 4).rows[-2]
    saves = [bool(Row.unpack(row.tolist()).s.terms) for row in last]
    assert saves == [False, True]
    with pytest.warns(DeprecationWarning, match="is now called always_save_state"):
        assert UniPC().keeps_anchor is False


@pytest.mark.parametrize("solver", [UniPC, SASolver, DPMSolverSinglestep])
def test_the_old_name_of_prediction_target(solver):
    with pytest.warns(DeprecationWarning, match=r"\(quantity=...\) is now called"):
        old = solver(quantity="eps")
    assert old == solver(prediction_target="eps") != solver()
    with pytest.warns(DeprecationWarning, match="quantity is now called prediction_target"):
        assert old.quantity == "eps"
    with pytest.raises(TypeError, match="prediction_target: expected one value, got a second one"):
        solver(quantity="eps", prediction_target="eps")


def test_solvers_written_with_the_old_name_of_prediction_target():
    with pytest.warns(DeprecationWarning, match="is now called prediction_target"):

        class Constant(DDIM):
            quantity = "eps"

        @dataclass(frozen=True)
        class Chosen(Solver):
            quantity: str = "x0"

            def steps(self, path):
                for _, t, s in path.steps():
                    yield Stage(x=first_order(t, s), at=s)

    assert Constant().prediction_target == "eps"
    assert Chosen("x0").lower(VPLinear(), 3).prediction_target == "x0"
    assert Chosen("eps").prediction_target == "eps"


def test_the_old_names_of_stages_and_tables():
    path = Path.along(VPLinear(), np.array([1.0, 0.5, 0.0]))
    with pytest.warns(DeprecationWarning, match=r"Stage\(told=...\) is now called conditioning"):
        stage = Stage(x=X, at=path[0], told=path[1])
    assert stage == Stage(x=X, at=path[0], conditioning=path[1])
    table = DDIM().lower(VPLinear(), 3)
    with pytest.warns(DeprecationWarning, match="uses_second_mix is now called uses_secondary_mix"):
        assert table.uses_second_mix is False
    with pytest.warns(DeprecationWarning, match="quantity is now called prediction_target"):
        assert table.quantity == "x0"


def test_files_of_tables_with_the_old_name_of_prediction_target(tmp_path):
    table = UniPC(prediction_target="eps").lower(VPLinear(), 3)
    meta = table._meta()
    meta["quantity"] = meta.pop("prediction_target")
    table_file.write(tmp_path / "old.npz", table.rows, table.levels, meta)
    assert StepTable.load(tmp_path / "old.npz") == table
