"""Pictures are written, also for houses that lack something, and say what they should."""

import struct
from dataclasses import replace

import numpy as np
import pytest

from flexgym.baselines.household import cost_to_go
from flexgym.envs import Battery, Car, House, Session
from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.data import Sessions
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.dynamics import CAR_KWH, COST_EUR, METER_KW, MISSED_EUR, SOC_KWH
from flexgym.envs.household.scenario import HouseholdScenario
from flexgym.evaluate.chart_picture import chart_picture
from flexgym.evaluate.day_picture import (
    chart_at,
    day_charts,
    dispatch_picture,
    energy_in_car,
    extra_cost_ct,
)
from flexgym.evaluate.pictures import score_picture, training_picture
from flexgym.evaluate.rollout import HouseDays, trace
from flexgym.policies.household import Optimal, SelfConsumption, Uncontrolled

HOUSE = House(Battery(6.0, 3.0), 6.0, 5.0, 30.0, 2.0)
WITH_CAR = replace(HOUSE, car=Car(7.4, 40.0, 0.9))
SESSIONS = (Session(4, 10, 10.0, 22.0), Session(50, 90, 20.0, 30.0))
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
    sessions = Sessions("mine", ({170: SESSIONS},)) if house.car else None
    scenario = HouseholdScenario.create(
        houses=house, days=170, uncertainty=uncertainty, sessions=sessions
    )
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
        WITH_CAR,
        replace(WITH_CAR, battery=None, pv_kwp=0.0, import_limit_kw=6.0),
    ],
    ids=["all", "no pv", "no battery", "neither, short of power", "car", "car only, short"],
)
def test_dispatch_picture_of_any_house(tmp_path, house, drawn, crowded):
    path = tmp_path / "new folder" / "day.png"
    dispatch_picture(path, *played(house, SelfConsumption()), title="A day")
    assert png_size(path) == (1500, 1860)
    assert crowded(drawn[0]) == []


def test_dispatch_picture_under_uncertainty(tmp_path):
    dispatch_picture(tmp_path / "day.png", *played(HOUSE, Uncontrolled(), "markov"), title="A day")
    assert png_size(tmp_path / "day.png") == (1500, 1860)


def test_dispatch_picture_tells_about_the_car(tmp_path, drawn):
    simulation, outcomes, solved = played(WITH_CAR, SelfConsumption())
    dispatch_picture(tmp_path / "day.png", simulation, outcomes, solved, title="A day")
    assert outcomes[:, MISSED_EUR].sum() > 1.0
    figure = drawn[0]
    assert f"car not charged {outcomes[:, MISSED_EUR].sum():.2f}" in figure.texts[1].get_text()
    _, powers, charge, *_ = figure.axes
    names = [[text.get_text() for text in a.get_legend().get_texts()] for a in (powers, charge)]
    assert "car" in names[0]
    missed = SESSIONS[0].needed_kwh - outcomes[9, CAR_KWH]
    assert names[1] == ["battery, 6.0 kWh", "car, 40.0 kWh", "needed", f"missed {missed:.1f} kWh"]
    # The car's line: from what it brings to what it leaves with, % of its capacity.
    lines = [line.get_xydata() for line in charge.lines if len(line.get_xdata()) > 5]
    stays = [line for line in lines if line[0, 0] > 6.0]
    for session, line in zip(SESSIONS, stays, strict=True):
        energy = np.append(
            session.arrival_kwh, outcomes[session.arrival : session.departure, CAR_KWH]
        )
        np.testing.assert_allclose(line[:, 1], 100 * energy / 40.0)
        np.testing.assert_allclose(
            line[[0, -1], 0], 6 + 0.25 * np.array([session.arrival, session.departure])
        )
    none = replace(WITH_CAR, car=None)
    dispatch_picture(tmp_path / "day.png", *played(none, SelfConsumption()), title="A day")
    assert "car" not in drawn[1].texts[1].get_text()
    assert "kWh" in drawn[1].axes[2].get_title(loc="left")


def test_energy_in_the_car_at_the_start_of_periods():
    simulation, outcomes, solved = played(WITH_CAR, SelfConsumption())
    energies = [energy_in_car(simulation, outcomes, t) for t in range(96)]
    there = [e is not None for e in energies]
    assert there == [any(s.arrival <= t < s.departure for s in SESSIONS) for t in range(96)]
    for session in SESSIONS:
        assert energies[session.arrival] == session.arrival_kwh
        assert energies[session.arrival + 2] == outcomes[session.arrival + 1, CAR_KWH]
    chart = chart_at(simulation, outcomes, solved, 52)
    same = solved.chart(52, outcomes[51, SOC_KWH], outcomes[51, CAR_KWH])
    power = np.linspace(-2.0, 10.0, 49)
    np.testing.assert_allclose(chart.cost(power), same.cost(power), atol=1e-9)
    simulation, outcomes, _ = played(HOUSE, SelfConsumption())
    assert energy_in_car(simulation, outcomes, 7) is None


@pytest.mark.parametrize(
    ("house", "uncertainty", "tolerance"),
    [
        (HOUSE, "none", 1e-9),
        (HOUSE, "markov", 1e-9),
        (WITH_CAR, "none", 1e-6),
        (WITH_CAR, "markov", 1e-6),
    ],
)
def test_charts_of_a_day_are_those_of_what_was_played(house, uncertainty, tolerance):
    simulation, outcomes, solved = played(house, Optimal(), uncertainty)
    charts = day_charts(simulation, outcomes, solved)
    extra = extra_cost_ct(charts, outcomes[:, METER_KW])
    # The optimum plays the cheapest power of each chart; nothing costs less.
    assert np.abs(np.diag(extra)).max() < tolerance
    assert np.nanmin(extra) >= 0.0
    far = np.array([-99.0, 99.0])
    assert np.isnan(extra_cost_ct(charts, far)).all()


@pytest.mark.parametrize("house", [HOUSE, replace(WITH_CAR, battery=None)], ids=["battery", "car"])
def test_extra_cost_adds_up_to_what_no_control_loses(house):
    # One store and nothing curtailed, so the power at the meter says what the store does.
    house = replace(house, inverter_kva=30.0, export_limit_kw=30.0)
    simulation, outcomes, solved = played(house, Uncontrolled())
    charts = day_charts(simulation, outcomes, solved)
    lost = np.diag(extra_cost_ct(charts, outcomes[:, METER_KW])).sum()
    best = solved.value(0, float(simulation.episodes.soc_kwh[0]))
    assert lost == pytest.approx(100 * (outcomes[:, COST_EUR].sum() - best), abs=1e-6)


def test_dispatch_picture_refuses_half_a_day(tmp_path):
    simulation, outcomes, solved = played(HOUSE, Uncontrolled())
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
