"""Pictures are written, also for houses that lack something, and say what they should."""

import struct
from dataclasses import replace

import numpy as np
import pytest

from flexgym.baselines.household import cost_to_go
from flexgym.envs import Battery, House
from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.dynamics import COST_EUR, METER_KW
from flexgym.envs.household.scenario import HouseholdScenario
from flexgym.evaluate.chart_picture import chart_picture
from flexgym.evaluate.day_picture import day_charts, dispatch_picture, extra_cost_ct
from flexgym.evaluate.pictures import score_picture, training_picture
from flexgym.evaluate.rollout import HouseDays, trace
from flexgym.policies.household import Idle, Optimal, SelfConsumption

HOUSE = House(Battery(6.0, 3.0), 6.0, 5.0, 30.0, 2.0)
ROWS = [
    {"policy": "idle", "score": {"mean": 0.0, "low": 0.0, "high": 0.0}},
    {"policy": "mpc", "score": {"mean": 98.0, "low": 96.0, "high": 100.2}},
    {"policy": "perfect foresight", "kind": "bound", "score": {"mean": 103.0}},
]


def png_size(path):
    """Width and height; the file must be a picture with something on it."""
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(content) > 10_000
    return struct.unpack(">II", content[16:24])


def played(house, policy, uncertainty="none"):
    scenario = HouseholdScenario.create(houses=house, days=170, uncertainty=uncertainty)
    simulation, outcomes = trace(policy, HouseDays.sample(scenario, 1, 3), 0)
    solved = cost_to_go(
        house,
        simulation.forecast_series(),
        uncertainty=None if uncertainty == "none" else scenario.uncertainty,
        terminal_eur_per_kwh=float(simulation.episodes.terminal_price[0]),
    )
    return simulation, outcomes, solved


@pytest.mark.parametrize(
    "house",
    [
        HOUSE,
        replace(HOUSE, pv_kwp=0.0),
        replace(HOUSE, battery=None),
        replace(HOUSE, battery=None, pv_kwp=0.0, import_limit_kw=0.2),
    ],
    ids=["all", "no pv", "no battery", "neither, short of power"],
)
def test_dispatch_picture_of_any_house(tmp_path, house):
    path = tmp_path / "new folder" / "day.png"
    dispatch_picture(path, *played(house, SelfConsumption()), title="A day")
    assert png_size(path) == (1500, 1860)


def test_dispatch_picture_under_uncertainty(tmp_path):
    dispatch_picture(tmp_path / "day.png", *played(HOUSE, Idle(), "markov"), title="A day")
    assert png_size(tmp_path / "day.png") == (1500, 1860)


@pytest.mark.parametrize("uncertainty", ["none", "markov"])
def test_charts_of_a_day_are_those_of_what_was_played(uncertainty):
    simulation, outcomes, solved = played(HOUSE, Optimal(), uncertainty)
    charts = day_charts(simulation, outcomes, solved)
    extra = extra_cost_ct(charts, outcomes[:, METER_KW])
    # The optimum plays the cheapest power of each chart; nothing costs less.
    assert np.abs(np.diag(extra)).max() < 1e-9
    assert np.nanmin(extra) >= 0.0
    far = np.array([-99.0, 99.0])
    assert np.isnan(extra_cost_ct(charts, far)).all()


def test_extra_cost_adds_up_to_what_idling_loses():
    # Nothing is curtailed here, so the power at the meter says what the battery does.
    house = replace(HOUSE, inverter_kva=30.0, export_limit_kw=30.0)
    simulation, outcomes, solved = played(house, Idle())
    charts = day_charts(simulation, outcomes, solved)
    lost = np.diag(extra_cost_ct(charts, outcomes[:, METER_KW])).sum()
    best = solved.value(0, float(simulation.episodes.soc_kwh[0]))
    assert lost == pytest.approx(100 * (outcomes[:, COST_EUR].sum() - best), abs=1e-6)


def test_dispatch_picture_refuses_half_a_day(tmp_path):
    simulation, outcomes, solved = played(HOUSE, Idle())
    with pytest.raises(ScenarioError, match="shape"):
        dispatch_picture(tmp_path / "day.png", simulation, outcomes[:40], solved, "A day")


@pytest.mark.parametrize("kind", ["hybrid", "separate", "coarse", "segment", "point"])
def test_chart_picture_of_any_chart(tmp_path, kind):
    inverters = {"inverter": "separate", "inverter_kva": 6.0} if kind == "separate" else {}
    scenario = HouseholdScenario.create(houses=replace(HOUSE, **inverters), days=170)
    series, terminal = scenario.forecast_series(0, 170)
    chart = cost_to_go(scenario.houses[0], series, terminal_eur_per_kwh=terminal).chart(24, 3.0)
    if kind == "coarse":
        chart = chart.coarsen(6)
    elif kind == "segment":
        chart = FlexibilityChart(chart.power_kw, chart.cost_eur)
    elif kind == "point":
        chart = chart.coarsen(1)
    chart_picture(tmp_path / "new folder" / "chart.png", chart, "A chart")
    width, height = png_size(tmp_path / "new folder" / "chart.png")
    assert width == 1275
    assert 750 < height < 1450


def test_score_picture(tmp_path):
    path = tmp_path / "scores.png"
    score_picture(path, {"scenario": {"title": "Test days"}, "rows": ROWS})
    width, low = png_size(path)
    far = {"policy": "ppo, mean of 3 runs", "score": {"mean": -400.0, "low": -450.0, "high": -9.0}}
    score_picture(path, {"environment": "flexgym/Household-v0", "rows": [*ROWS, far]})
    assert width == 1350
    assert png_size(path)[1] > low
    with pytest.raises(ScenarioError, match="no row"):
        score_picture(path, {"rows": []})


def test_training_picture(tmp_path):
    path = tmp_path / "training.png"
    reference = {"self-consumption": 85.0, "mpc": 98.0}
    training_picture(path, [1e5, 2e5, 3e5], [-300.0, np.nan, 60.0], reference)
    assert png_size(path) == (1350, 750)
    training_picture(path, [2_000_000], [97.0], {})
    assert png_size(path) == (1350, 750)
    for frames, scores in (([], []), ([1.0], [1.0, 2.0]), ([1.0], [np.nan])):
        with pytest.raises(ScenarioError, match="at least one score"):
            training_picture(path, frames, scores, reference)
