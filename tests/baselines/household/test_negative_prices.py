"""Where losses pay the recursion declines, and the program stays exact."""

import itertools

import numpy as np
import pytest

from flexgym.baselines.household import cost_to_go, perfect_foresight
from flexgym.envs import Battery, House, Series
from flexgym.envs.errors import ConvexityError
from flexgym.envs.household import dynamics as d
from flexgym.envs.household.batch import actions_from_powers

AWAY = np.zeros((d.VISIT_ROWS, 0))


def negative_day(rng, random_house_day, periods):
    house, series, soc, terminal = random_house_day(rng, periods)
    buy = np.where(rng.random(periods) < 0.4, -rng.uniform(0.1, 0.4, periods), 0.2)
    sell = np.minimum(series.export_eur_per_kwh, buy - 0.01)
    house = House(
        Battery(4.0, 3.0, 0.8, 0.8, 0.0, 1.0), 5.0, 6.0, rng.uniform(2.0, 8.0), rng.uniform(0, 5.0)
    )
    soc = rng.uniform(0.0, 4.0)
    return house, Series(series.load_kw, series.pv_kw, buy, sell), soc, terminal


def cost_of(house, series, soc, terminal, choose):
    """Cost of playing actions in the physics; ``choose(t)`` gives each."""
    row, state = d.house_row(house)[None], np.array([soc])
    outcome, total = np.empty((1, len(d.OUTCOME_NAMES))), 0.0
    now = np.stack(
        [series.load_kw, series.pv_kw, series.import_eur_per_kwh, series.export_eur_per_kwh]
    )
    for t in range(len(series)):
        here = np.ascontiguousarray(now[:, t : t + 1])
        last = t == len(series) - 1
        action = choose(t, row, state, here)
        d.step(
            0, t, last, action, row, here, AWAY, np.array([terminal]), state, np.zeros(1), outcome
        )
        total += outcome[0, d.COST_EUR]
    return total


def dispatched(battery_kw):
    def choose(t, row, state, here):
        action = np.empty((1, 1))
        power = 0.0 if abs(battery_kw[t]) < 1e-8 else battery_kw[t]
        no_car = np.zeros(1)
        assert (
            actions_from_powers(
                0, np.array([power]), no_car, row, t, state, no_car, here, AWAY, action
            )
            == -1
        )
        return action

    return choose


def test_the_recursion_declines(random_house_day):
    rng = np.random.default_rng(0)
    declined = 0
    for _ in range(20):
        house, series, _, terminal = negative_day(rng, random_house_day, 12)
        if series.import_eur_per_kwh.min() > 0:
            continue
        with pytest.raises(ConvexityError, match="perfect_foresight solves"):
            cost_to_go(house, series, terminal_eur_per_kwh=terminal)
        declined += 1
    assert declined >= 15
    assert issubclass(ConvexityError, ValueError)


def test_the_program_plays_at_its_cost_and_nothing_beats_it(random_house_day):
    rng = np.random.default_rng(1)
    for _ in range(40):
        house, series, soc, terminal = negative_day(rng, random_house_day, 12)
        bound = perfect_foresight(house, series, soc_kwh=soc, terminal_eur_per_kwh=terminal)
        played = cost_of(house, series, soc, terminal, dispatched(bound.battery_kw))
        assert played == pytest.approx(bound.cost_eur, abs=1e-7)
        for _ in range(20):
            other = cost_of(house, series, soc, terminal, lambda *_: rng.uniform(-1.0, 1.0, (1, 1)))
            assert bound.cost_eur <= other + 1e-7


def test_the_program_finds_the_best_of_all_plans_on_a_grid(random_house_day):
    """Brute force over action grids comes close to the program and never below it."""
    rng = np.random.default_rng(2)
    grid = [-1.0, -0.75, -0.35, 0.35, 0.75, 1.0]
    close = 0
    for _ in range(8):
        house, series, soc, terminal = negative_day(rng, random_house_day, 4)
        bound = perfect_foresight(house, series, soc_kwh=soc, terminal_eur_per_kwh=terminal)
        best = min(
            cost_of(house, series, soc, terminal, lambda t, *_: np.array([[plan[t]]]))  # noqa: B023
            for plan in itertools.product(grid, repeat=4)
        )
        assert best >= bound.cost_eur - 1e-8
        close += best - bound.cost_eur < 0.02
    assert close >= 6


def test_unserved_load_cheaper_than_the_grid_is_refused():
    """The house sheds load at its import limit only; a program would shed to save money."""
    series = Series([2.0, 4.0, 2.0], [0.0] * 3, [0.3, 0.2, 0.3], [0.0] * 3)
    tight, loose = (
        House(Battery(4.0, 2.0), 0.0, 5.0, limit, 5.0, unserved_eur_per_kwh=0.25)
        for limit in (3.0, 30.0)
    )
    with pytest.raises(ConvexityError, match="Raise unserved_eur_per_kwh"):
        perfect_foresight(tight, series, soc_kwh=0.0)
    # Where the limit can never bind the price of unserved load does not matter.
    program = perfect_foresight(loose, series, soc_kwh=0.0)
    assert program.unserved_kw.max() == 0.0
    assert cost_to_go(loose, series).value(0, 0.0) == pytest.approx(program.cost_eur, abs=1e-9)
    tight = House(Battery(4.0, 2.0), 0.0, 5.0, 1.0, 5.0, unserved_eur_per_kwh=0.25)
    with pytest.raises(ConvexityError, match="price of unserved load"):
        cost_to_go(tight, series)
