"""What is left of a day: the optimum from where the optimum leads is its own continuation."""

import numpy as np
import pytest

from flexgym.baselines.feeder import FeederDay, central_optimum
from flexgym.baselines.feeder.rolling_program import RollingProgram
from flexgym.envs.errors import StateError
from flexgym.envs.feeder.accounts import FEEDER_NAMES
from flexgym.envs.feeder.homes import actions_of, follow, homes_of
from flexgym.policies.household import pv_shares

COST = FEEDER_NAMES.index("cost_eur")


def play(simulation, homes, battery_kw, car_kw, pv_used_kw):
    """One period."""
    follow(homes, simulation)
    share = pv_shares(homes, battery_kw, car_kw, pv_used_kw)
    simulation.step(actions_of(simulation, homes.action(battery_kw, share, car_kw=car_kw)))


@pytest.mark.parametrize(
    "options", [{"trafo_kva": 30.0}, {"day": 80, "trafo_kva": 25.0}, {"trafo_kva": 1000.0}]
)
def test_the_rest_costs_what_the_whole_leaves(own, begun, options):
    simulation = begun(own(**options), curtailment="action")
    day, homes = FeederDay.of(simulation), homes_of(simulation)
    whole = central_optimum(day)
    for t in range(day.periods):
        if t in (0, 30, 52, 75, 95):
            rest = day.rest(t, simulation.soc_kwh[0], simulation.car_kwh[0])
            assert rest.periods == 96 - t
            left = central_optimum(rest)
            past = simulation.episode[0, COST]
            tolerance = abs(whole.gap_eur) + abs(left.gap_eur) + 1e-4
            assert tolerance < 0.05
            assert past + left.cost_eur == pytest.approx(whole.cost_eur, abs=tolerance)
        play(simulation, homes, *(p[:, t] for p in (whole.battery_kw, whole.car_kw)),
             whole.pv_used_kw[:, t])  # fmt: skip


def test_sessions_of_the_rest(own, begun):
    day = FeederDay.of(begun(own()))
    (session,) = day.series[0].sessions
    houses = len(day.houses)
    before = day.rest(session.arrival, day.soc_kwh, np.full(houses, 99.0))
    (later,) = before.series[0].sessions
    assert (later.arrival, later.departure) == (0, session.departure - session.arrival)
    assert later.arrival_kwh == session.arrival_kwh
    during = day.rest(session.arrival + 1, day.soc_kwh, np.full(houses, 7.0))
    (here,) = during.series[0].sessions
    assert (here.arrival, here.departure) == (0, session.departure - session.arrival - 1)
    assert (here.arrival_kwh, here.needed_kwh) == (7.0, session.needed_kwh)
    if session.departure < day.periods:
        gone = day.rest(session.departure, day.soc_kwh, np.zeros(houses))
        assert gone.series[0].sessions == ()


@pytest.mark.parametrize("start", [-1, 96])
def test_a_rest_that_does_not_exist(own, begun, start):
    day = FeederDay.of(begun(own()))
    with pytest.raises(StateError, match="period from 0 to 95"):
        day.rest(start, day.soc_kwh, np.zeros(len(day.houses)))
    with pytest.raises(StateError, match="shapes"):
        day.rest(3, day.soc_kwh[:2], np.zeros(len(day.houses)))


def test_one_model_moved_on_plans_as_a_new_one(own, begun):
    """From any state and with other forecasts than it began with: by the principle of optimality.

    What a period costs and the optimum after it add up to the optimum before it.
    """
    simulation = begun(own(trafo_kva=25.0), curtailment="action")
    truth, homes = FeederDay.of(simulation), homes_of(simulation)
    guess = FeederDay.of(begun(own(trafo_kva=25.0), seed=8))
    rolling = RollingProgram(guess)
    names = ("load_kw", "pv_kw", "import_eur_per_kwh", "export_eur_per_kwh")
    series = np.array([[getattr(each, name) for each in truth.series] for name in names])
    wrong = np.array([[getattr(each, name) for each in guess.series] for name in names])
    state = simulation.soc_kwh[0], simulation.car_kwh[0]
    checked = (10, 40, 57, 80)
    for t in range(90):
        # Elsewhere the forecast is wrong, and leads off the optimum.
        seen = series if t in checked else np.where(np.arange(96) <= t, series, wrong)
        present = rolling.step(t, seen, *state)
        assert present.settled
        if t in checked:
            before = central_optimum(truth.rest(t, *state))
            spent = simulation.episode[0, COST]
        play(simulation, homes, present.battery_kw, present.car_kw, present.pv_used_kw)
        state = simulation.soc_kwh[0], simulation.car_kwh[0]
        if t in checked:
            after = central_optimum(truth.rest(t + 1, *state))
            spent = simulation.episode[0, COST] - spent
            assert spent + after.cost_eur == pytest.approx(before.cost_eur, abs=0.02)


def test_periods_do_not_come_back(own, begun):
    day = FeederDay.of(begun(own()))
    rolling, cars = RollingProgram(day), np.zeros(len(day.houses))
    names = ("load_kw", "pv_kw", "import_eur_per_kwh", "export_eur_per_kwh")
    series = np.array([[getattr(each, name) for each in day.series] for name in names])
    rolling.step(5, series, day.soc_kwh, cars)
    for t in (4, 96):
        with pytest.raises(StateError, match="Begin a new day"):
            rolling.step(t, series, day.soc_kwh, cars)
