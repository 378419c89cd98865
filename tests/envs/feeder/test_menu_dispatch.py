"""Powers at the meter to devices by rule: whatever the house can make, it makes."""

import numpy as np
import pytest
from gymnasium.utils import seeding

from flexgym.envs.charts import ConvexPiecewiseLinear
from flexgym.envs.charts.chains import CarLevels
from flexgym.envs.charts.construction import house_chart
from flexgym.envs.feeder.menu_dispatch import by_rule, own_choice, reach
from flexgym.envs.household import dynamics as d
from flexgym.envs.household.batch import shares_from_pv
from flexgym.envs.household.simulation import HouseholdSimulation


@pytest.fixture
def homes(mixed):
    n = len(mixed.homes.houses)
    found = HouseholdSimulation(
        mixed.homes, n, observation="compact", curtailment="action", action_map="range"
    )
    rngs = [seeding.np_random(i)[0] for i in range(n)]
    days = np.resize(mixed.homes.days, n)
    found.begin(rngs, {"house": np.arange(n), "day": days})
    return found


def play(homes, battery, car, used):
    share = np.empty(homes.n)
    shares_from_pv(homes.episodes.rows, battery, car, homes.now, used, share)
    return homes.step(homes.action(battery, share, car_kw=car))


def cars(homes):
    """Least and largest power of the cars, what they need, what they must have now, kW."""
    found = []
    for i in range(homes.n):
        house, visit = homes.episodes.rows[i], homes.visit[:, i]
        low, high = d.car_range(
            house, visit, homes.t, homes.soc_kwh[i], homes.car_kwh[i], *homes.now[:2, i]
        )
        there = d.plugged(visit, homes.t)
        missing = max(visit[d.NEEDED_KWH] - homes.car_kwh[i], 0.0) if there else 0.0
        left = visit[d.DEPARTURE] - homes.t - 1 if there else 0.0
        later = left * d.car_change(house, house[d.CAR_POWER])
        must = d.car_power(house, max(missing - later, 0.0)) if there else 0.0
        found.append((low, high, min(d.car_power(house, missing), high), min(must, high)))
    return np.array(found).T


def test_every_power_in_reach_is_made_and_sun_is_spared_last(homes):
    rng = np.random.default_rng(0)
    curtailed = late = due = 0
    while not homes.done:
        low, high = reach(homes)
        share = rng.choice([0.0, 1.0, rng.random()], homes.n)
        power = low + share * (high - low)
        battery, car, used = by_rule(homes, power)
        least, most, need, must = cars(homes)
        rows = homes.episodes.rows
        stores = np.array([d.store_range(r, e) for r, e in zip(rows, homes.soc_kwh, strict=True)])
        full, r = battery >= stores[:, 1] - 1e-9, battery - used
        # Sun is left only where battery and car take all they can, or the inverter binds.
        spared = homes.now[1] - used > 1e-9
        assert full[spared].all()
        assert ((car >= most - 1e-9) | (r <= -rows[:, d.INVERTER] + 1e-9))[spared].all()
        curtailed += spared.sum()
        # The car draws more than it needs only when the battery cannot.
        beyond = car > need + 1e-9
        assert (full | (r >= rows[:, d.INVERTER] - 1e-9))[beyond].all()
        late += beyond.sum()
        assert (car >= least - 1e-9).all()
        # What it must have now it gets, as far as sun and battery give it beside the meter.
        given = r + car - np.maximum(-rows[:, d.INVERTER], stores[:, 0] - homes.now[1])
        assert (car >= np.minimum(must, given) - 1e-9).all()
        due += (must > 0.0).sum()
        outcome = play(homes, battery, car, used)
        np.testing.assert_allclose(outcome[:, d.METER_KW], power, rtol=0, atol=1e-9)
    assert curtailed > 0
    assert late > 0
    assert due > 0


def test_reach_is_that_of_the_chart(homes):
    """Independent oracle: the ends of the chart of a house to which energy is worth nothing."""
    rng = np.random.default_rng(1)
    checked = 0
    while not homes.done:
        low, high = reach(homes)
        for i in rng.choice(homes.n, 6, replace=False):
            house, visit = homes.episodes.rows[i], homes.visit[:, i]
            flat = ConvexPiecewiseLinear(np.zeros(1), np.zeros(1))
            if house[d.CAPACITY] > 0.0:
                flat = ConvexPiecewiseLinear(np.array([0.0, house[d.CAPACITY]]), np.zeros(2))
            load, pv, buy, sell = homes.now[:, i]
            least, most = d.car_range(
                house, visit, homes.t, homes.soc_kwh[i], homes.car_kwh[i], load, pv
            )
            levels = CarLevels.of([(u, flat) for u in sorted({least, 0.0, most})])
            x = house_chart(house, homes.soc_kwh[i], load, pv, buy, sell, levels).power_kw
            assert (low[i], high[i]) == pytest.approx((x[0], x[-1]), abs=1e-9)
            checked += 1
        play(homes, *by_rule(homes, low + rng.random(homes.n) * (high - low)))
    assert checked > 500


def test_own_choice_is_that_of_houses_nobody_controls(homes):
    while not homes.done:
        battery, car, used, power = own_choice(homes)
        low, high = reach(homes)
        assert ((power >= low - 1e-9) & (power <= high + 1e-9)).all()
        _, most, need, _ = cars(homes)
        np.testing.assert_allclose(car, np.minimum(need.clip(0.0), most), atol=1e-12)
        for i in range(homes.n):
            load, pv, buy, sell = homes.now[:, i]
            house = homes.episodes.rows[i]
            lowest, largest = d.battery_range(house, homes.soc_kwh[i], load, car[i], pv)
            wanted = min(max(pv - load - car[i], lowest), largest)
            assert battery[i] == pytest.approx(wanted, abs=1e-12)
            assert used[i] == d.best_pv(house, battery[i], load, car[i], pv, buy, sell)
        outcome = play(homes, battery, car, used)
        np.testing.assert_allclose(outcome[:, d.METER_KW], power, rtol=0, atol=1e-9)
