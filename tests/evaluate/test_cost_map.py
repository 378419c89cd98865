"""The map of future costs: what it samples is the cost-to-go, and the picture says so."""

from dataclasses import replace

import numpy as np
import pytest

from flexgym.baselines.household import cost_to_go
from flexgym.envs import Battery, Car, House, Series, Session
from flexgym.envs.data import Sessions
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.dynamics import METER_KW
from flexgym.envs.household.scenario import HouseholdScenario
from flexgym.envs.uncertainty import Uncertainty
from flexgym.evaluate.cost_grid import cost_grid
from flexgym.evaluate.cost_map import cost_map_picture
from flexgym.evaluate.household_pictures import household_pictures, telling_day, telling_period
from flexgym.evaluate.rollout import HouseDays, trace
from flexgym.policies.household import Optimal, SelfConsumption

T = 24
CAR = Car(4.0, 20.0, 0.9)
HOUSE = House(Battery(4.0, 2.0), 5.0, 5.0, 30.0, 3.0, car=CAR)
SESSIONS = (Session(0, 5, 6.0, 12.0), Session(14, 22, 5.0, 9.0))
TERMINAL = 0.22


def solve(house=HOUSE, sessions=SESSIONS, uncertainty=None):
    hours = np.arange(T)
    series = Series(
        load_kw=0.5 + 0.4 * np.sin(hours),
        pv_kw=5.0 * np.maximum(0.0, np.sin(hours / 6)) if house.pv_kwp else np.zeros(T),
        import_eur_per_kwh=0.28 + 0.08 * np.cos(hours / 4),
        export_eur_per_kwh=np.full(T, 0.07),
        sessions=sessions,
    )
    return cost_to_go(house, series, uncertainty=uncertainty, terminal_eur_per_kwh=TERMINAL)


@pytest.mark.parametrize("uncertainty", [None, "markov"])
def test_grid_of_one_store(uncertainty):
    solved = solve(sessions=(), uncertainty=uncertainty)
    grid = cost_grid(solved)
    assert grid.visits == ()
    assert grid.cost_eur.shape == (T + 1, len(grid.soc_kwh))
    for t in (0, 7, T):
        np.testing.assert_array_equal(grid.cost_eur[t], solved.value(t, grid.soc_kwh))
    np.testing.assert_allclose(grid.saved_eur[T], TERMINAL * grid.soc_kwh, atol=1e-12)
    np.testing.assert_allclose(grid.value_ct[T], 100 * TERMINAL)
    assert (grid.saved_eur[:, 0] == 0.0).all()
    # Convex: every further kWh is worth less, and none is worth less than nothing.
    assert np.diff(grid.value_ct, axis=1).max() < 1e-6
    assert grid.value_ct.min() > -1e-6


def test_no_state_is_the_mean_over_states():
    model = Uncertainty.markov()
    solved = solve(sessions=(), uncertainty=model)
    states = [cost_grid(solved, state=s).cost_eur for s in range(model.n_states)]
    mean = np.tensordot(model.stationary, states, 1)
    np.testing.assert_allclose(cost_grid(solved).cost_eur, mean, atol=1e-12)
    assert np.ptp([cost[3, 0] for cost in states]) > 0.01


@pytest.mark.parametrize("uncertainty", [None, "markov"])
def test_grid_of_battery_and_car(uncertainty):
    solved = solve(uncertainty=uncertainty)
    grid = cost_grid(solved)
    assert [visit.session for visit in grid.visits] == list(SESSIONS)
    block = 4.0 * 0.25 * 0.9
    for visit in grid.visits:
        session = visit.session
        stay = session.departure - session.arrival
        assert visit.car_kwh[[0, -1]] == pytest.approx([session.arrival_kwh, session.needed_kwh])
        assert visit.cost_eur.shape == (stay, len(visit.car_kwh))
        half = [solved.value(session.arrival + 2, 2.0, e) for e in visit.car_kwh]
        np.testing.assert_allclose(visit.cost_eur[2], half, atol=1e-9)
        # More energy in the car never costs, and at most what missing it does.
        assert visit.value_ct.min() > -0.1
        assert visit.value_ct.max() < 150.0 + 0.01
        # Energy that cannot be had any more is worth what missing it costs.
        assert visit.value_ct[-1, 0] == pytest.approx(150.0, abs=0.01)
        reach = min(session.arrival_kwh + stay * block, session.needed_kwh)
        for path in (visit.early_kwh, visit.late_kwh):
            assert path[[0, -1]] == pytest.approx([session.arrival_kwh, reach])
            steps = np.diff(path)
            assert steps.min() >= 0.0
            assert steps.max() <= block + 1e-9
        assert (visit.early_kwh >= visit.late_kwh - 1e-12).all()
    # The first visit is too short; in the panels of the battery it gets all it can.
    first = grid.visits[0]
    np.testing.assert_allclose(first.early_kwh, 6.0 + block * np.arange(6))
    np.testing.assert_allclose(
        grid.cost_eur[3], solved.value(3, grid.soc_kwh, 6.0 + 3 * block), atol=1e-9
    )
    np.testing.assert_allclose(
        grid.cost_eur[18], solved.value(18, grid.soc_kwh, 5.0 + 4.0 * 4 / 8), atol=1e-9
    )
    np.testing.assert_allclose(grid.saved_eur[T], TERMINAL * grid.soc_kwh, atol=1e-6)


def test_a_car_that_discharges_is_drawn_down_to_empty():
    car = replace(CAR, discharge_kw=3.0)
    (visit,) = cost_grid(solve(replace(HOUSE, car=car), SESSIONS[1:])).visits
    assert visit.car_kwh[[0, -1]] == pytest.approx([0.0, 20.0])
    # Bends fall on the grid, so no cell mixes missed energy with another.
    assert np.abs((visit.car_kwh - 9.0) / 0.9 - np.round((visit.car_kwh - 9.0) / 0.9)).min() < 1e-9
    assert np.isclose(visit.value_ct[-1], 150.0).sum() >= 8


def cases():
    small = replace(CAR, missed_eur_per_kwh=1.0)
    return {
        "battery": (solve(sessions=()), 3),
        "uncertain": (solve(sessions=(), uncertainty="markov"), 3),
        "battery and car": (solve(), 4),
        "uncertain, with car": (solve(uncertainty="markov"), 4),
        "car": (solve(replace(HOUSE, battery=None, pv_kwp=0.0, car=small)), 2),
        "full car": (solve(sessions=(Session(3, 9, 15.0, 9.0),)), 3),
    }


def test_pictures_of_any_house(tmp_path, drawn, crowded):
    path = tmp_path / "new folder" / "map.png"
    for name, (solved, panels) in cases().items():
        cost_map_picture(path, solved, title=name)
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert 20_000 < path.stat().st_size < 400_000
        figure = drawn[-1]
        assert crowded(figure) == [], name
        titles = [axes.get_title(loc="left") for axes in figure.axes]
        titles = [title for title in titles if title]
        assert len(titles) == panels, name
        assert any("in the car" in title for title in titles) is (name in CARS), name
        words = [text.get_text() for text in figure.texts]
        assert words[0] == name
        assert ("known" in words[1]) is ("uncertain" not in name)
        assert "ct/kWh" in words


CARS = {"battery and car", "uncertain, with car", "car"}


def test_picture_of_a_state_says_which(tmp_path, drawn):
    model = Uncertainty.markov()
    solved = solve(sessions=(), uncertainty=model)
    cost_map_picture(tmp_path / "map.png", solved, state=6)
    assert "PV at 1.55 and price at 0.8 times" in drawn[0].texts[1].get_text()


def test_colours_are_those_of_the_values(tmp_path, drawn):
    solved = solve()
    grid = cost_grid(solved)
    cost_map_picture(tmp_path / "map.png", solved)
    _, _, battery, car = drawn[0].axes[:4]
    np.testing.assert_allclose(
        battery.collections[0].get_array().data, grid.value_ct[:-1].T, atol=1e-9
    )
    shades, norm = car.collections[0].cmap, car.collections[0].norm
    # One scale; what is missed stands out from all that can be bought.
    assert norm is battery.collections[0].norm
    assert norm.extend == "max"
    assert norm.boundaries[-1] < 100 * solved.series.import_eur_per_kwh.max() + 10.0
    missed, bought = shades(norm(150.0)), shades(norm(norm.boundaries[-1] - 0.1))
    assert np.abs(np.subtract(missed, bought)).max() > 0.3
    assert "scarce" in {text.get_text() for axes in drawn[0].axes for text in axes.texts}


def test_bad_input_is_named(tmp_path):
    solved = solve(sessions=(), uncertainty="markov")
    for state in (-1, 9):
        with pytest.raises(ScenarioError, match=f"state is {state}"):
            cost_map_picture(tmp_path / "map.png", solved, state=state)
    with pytest.raises(ScenarioError, match="state is 1"):
        cost_map_picture(tmp_path / "map.png", solve(), state=1)
    with pytest.raises(ScenarioError, match="no battery"):
        cost_map_picture(tmp_path / "map.png", solve(replace(HOUSE, battery=None), ()))
    assert not list(tmp_path.iterdir())


def household_days(sessions, n=6):
    scenario = HouseholdScenario.create(
        houses=replace(HOUSE, pv_kwp=6.0), days=[20, 100, 170], uncertainty="none",
        sessions=sessions,
    )  # fmt: skip
    return HouseDays.sample(scenario, n, 3)


def test_the_telling_day_and_period_show_what_can_be_chosen():
    # At night on one day, by day on another, with nothing to charge on the sunniest.
    visits = {20: (Session(20, 40, 8.0, 14.0),), 100: (Session(80, 90, 8.0, 14.0),)}
    played = household_days(Sessions("mine", ({**visits, 170: (Session(20, 40, 8.0, 8.0),)},)))
    index = telling_day(played)
    assert played.day[index] == 20
    simulation, outcomes = trace(SelfConsumption(), played, index)
    period = telling_period(simulation, outcomes)
    assert 20 <= period < 30
    away = household_days(Sessions("away", ({},)))
    assert away.day[telling_day(away)] in (100, 170)
    simulation, outcomes = trace(SelfConsumption(), away, 0)
    assert 0 <= telling_period(simulation, outcomes) < 96


def test_pictures_of_an_evaluation(tmp_path, drawn, crowded):
    played = household_days(Sessions("mine", ({100: (Session(20, 40, 8.0, 14.0),)},)))
    rows = [{"policy": "optimal", "score": {"mean": 100.0, "low": 99.0, "high": 100.0}}]
    optimal = Optimal()
    household_pictures(tmp_path, {"rows": rows}, played, SelfConsumption(), optimal)
    files = {"scores.png", "day.png", "cost_map.png", "chart.png"}
    assert {file.name for file in tmp_path.iterdir()} == files
    assert all(file.stat().st_size < 400_000 for file in tmp_path.iterdir())
    assert [crowded(figure) for figure in drawn] == [[]] * 4
    _, day, future, chart = (figure.texts[0].get_text() for figure in drawn)
    assert day == "self-consumption, house 0, 10 April"
    assert future == "What the future costs, house 0, 10 April"
    assert chart.startswith("Flexibility at 1")
    # The chart drawn is that of the period: it holds the power that was played.
    simulation, outcomes = trace(SelfConsumption(), played, telling_day(played))
    low, high = drawn[3].axes[0].get_xlim()
    assert low < outcomes[telling_period(simulation, outcomes), METER_KW] < high
