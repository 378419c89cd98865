"""Decisions on a grid come near the exact plan, and the bench of menus measures."""

import json
from argparse import Namespace

import numpy as np
import pytest

from flexgym.baselines.household.cost_to_go import known_day
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Series
from flexgym.envs.household.scenario import HouseholdScenario
from flexgym.evaluate.bench import menus
from flexgym.evaluate.bench.grid_plan import grid_decisions, grid_values
from flexgym.evaluate.rollout import HouseDays


@pytest.mark.parametrize("car", [False, True])
def test_a_fine_grid_comes_near_the_exact_cost_from_above(car):
    scenario = HouseholdScenario.create(split="train", car=car, uncertainty="none")
    homes = HouseDays.sample(scenario, 3, 0).begin(slice(0, 3))
    episodes = homes.episodes
    for i in range(3):
        series = np.ascontiguousarray(episodes.exogenous[:, :, i].T)
        sessions = homes.realised_series(i).sessions
        terminal = float(episodes.terminal_price[i])
        exact = known_day(homes.house(i), Series(*series, sessions=sessions), terminal)
        visits = np.zeros((96, 5))
        visits[:, :2] = np.inf
        if car:
            visits = np.ascontiguousarray(episodes.visits[:, :, i])
        start = next((t for t in range(96) if not visits[t, 0] <= t < visits[t, 1]), 0)
        above = []
        for cells in (24, 96):
            values, ends = np.empty((2, cells + 1, 40))
            grid_values(episodes.rows[i], series, visits, start, terminal, cells, values, ends)
            grid = np.linspace(0.0, episodes.rows[i, 0], cells + 1)
            above.append(values[:, 0] - exact.value(start, grid, 0.0, np.ones(1)))
        # The car moves by half of what full power charges: that error stays.
        assert min(a.min() for a in above) > (-0.05 if car else -1e-9)
        # Rounding to a cell costs in every period, so the error falls with the cells.
        assert np.mean(above[1]) < 0.45 * np.mean(above[0])


def test_decisions_on_a_grid_can_be_played():
    scenario = HouseholdScenario.create(split="train", uncertainty="none")
    homes = HouseDays.sample(scenario, 4, 1).begin(slice(0, 4))
    episodes = homes.episodes
    series = np.ascontiguousarray(episodes.exogenous.transpose(2, 1, 0))
    out, missed = np.empty((2, 4)), 0.0
    while not homes.done:
        grid_decisions(
            episodes.rows, series, np.ascontiguousarray(episodes.visits), homes.t,
            episodes.terminal_price, homes.soc_kwh, homes.car_kwh, 24, out,
        )  # fmt: skip
        outcome = homes.step(homes.action(out[0].copy(), car_kw=out[1].copy()))
        missed += outcome[:, 8].sum()
    assert missed == pytest.approx(episodes.unreachable_kwh.sum(), abs=1e-6)


def test_the_bench_writes_what_it_measured(tmp_path, capsys):
    arguments = Namespace(
        repeats=1, houses=2, seed=0, run=None, document=None, out=tmp_path, command="x"
    )
    assert menus.run(arguments) == 0
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert {row["what"] for row in rows} >= set(menus.FLOORS)
    assert all(row["value"] > 0 for row in rows)
    assert "grid" in capsys.readouterr().out
    arguments.houses = 0
    with pytest.raises(ScenarioError, match="houses must be at least 1"):
        menus.run(arguments)
