"""A solver that fails says so by name."""

import highspy
import numpy as np
import pytest

from flexgym.baselines.feeder.solver_run import run_to_optimum
from flexgym.envs.errors import SolverError, SolverTimeoutError

STATUS = highspy.HighsModelStatus


def model(low=0.0):
    """Minimise x + y with x + y >= 1, both from ``low`` to 2."""
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = 2, 1
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = np.ones(2), np.full(2, low), np.full(2, 2.0)
    lp.row_lower_, lp.row_upper_ = np.ones(1), np.full(1, highspy.kHighsInf)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_, lp.a_matrix_.index_ = np.array([0, 2]), np.array([0, 1])
    lp.a_matrix_.value_ = np.ones(2)
    highs.passModel(lp)
    return highs


class Misled:
    """HiGHS that says of its first runs that it has not found out."""

    def __init__(self, highs, runs):
        self._highs, self._left = highs, runs
        self.solvers = []

    def __getattr__(self, name):
        return getattr(self._highs, name)

    def run(self):
        self.solvers.append(self._highs.getOptionValue("solver")[1])
        self._highs.run()
        self._left -= 1

    def getModelStatus(self):  # noqa: N802
        return STATUS.kNotset if self._left >= 0 else self._highs.getModelStatus()


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_misled_simplex_starts_again(bad):
    highs = Misled(model(), bad)
    run_to_optimum(highs)
    assert highs.solvers == ["choose", "choose", "ipm"][: bad + 1]
    assert highs.getInfo().objective_function_value == pytest.approx(1.0)
    assert highs.getOptionValue("solver")[1] == "choose"


def test_one_that_never_finds_out_is_an_error():
    highs = Misled(model(), 3)
    with pytest.raises(SolverError, match="Not Set"):
        run_to_optimum(highs)
    assert len(highs.solvers) == 3


def test_no_optimum_is_an_error():
    with pytest.raises(SolverError, match="Infeasible"):
        run_to_optimum(model(low=3.0))


def test_time_that_is_up_is_an_error_of_its_own():
    highs = model()
    with pytest.raises(SolverTimeoutError, match="more time") as caught:
        run_to_optimum(highs, deadline_s=0.0)
    assert isinstance(caught.value, SolverError)
    assert isinstance(caught.value, TimeoutError)
    run_to_optimum(highs)
    assert highs.getInfo().objective_function_value == pytest.approx(1.0)
