"""Battery and car with a cost-to-go each: their charts, and powers back from these."""

from dataclasses import replace

import numpy as np
import pytest

from flexgym.envs import Car
from flexgym.envs.charts import ConvexPiecewiseLinear
from flexgym.envs.charts.capability import Capability
from flexgym.envs.charts.chains import CarLevels
from flexgym.envs.charts.construction import house_chart
from flexgym.envs.charts.separable import car_levels, split_power
from flexgym.envs.charts.set_points import disaggregate
from flexgym.envs.household import dynamics as d
from flexgym.envs.household.params import DT_H

NO_KVAR = Capability(0.0, None, np.inf, 0.0)


def falling(rng, top, pieces, most=2.0):
    """A convex function of stored energy, not rising."""
    ends = np.unique(np.concatenate([[0.0, top], rng.uniform(0.0, top, pieces - 1)]))
    worth = np.sort(rng.uniform(0.0, most, len(ends) - 1))[::-1]
    return ConvexPiecewiseLinear(ends, np.concatenate([[0.0], -np.cumsum(worth * np.diff(ends))]))


def case(rng, random_house):
    """A house, its measurements and a cost-to-go of battery and car."""
    give = float(rng.choice([0.0, 7.0]))
    car = Car(
        rng.uniform(2.0, 11.0), 40.0, rng.uniform(0.8, 1.0), discharge_kw=give,
        efficiency_discharge=rng.uniform(0.8, 1.0), wear_eur_per_kwh=float(rng.choice([0.0, 0.05])),
    )  # fmt: skip
    house = d.house_row(replace(random_house(rng), car=car))
    load, pv = rng.uniform(0.0, 5.0), rng.uniform(0.0, 8.0) * (rng.random() < 0.7)
    sell = rng.uniform(-0.05, 0.1)
    soc, stored = house[d.CAPACITY] * rng.random(), rng.uniform(0.0, 39.0)
    visit = np.array([0.0, 40.0, 5.0, 30.0, max(stored, 40.0 if give else 35.0)])
    now = (load, pv, sell + rng.uniform(0.0, 0.4), sell)
    battery = falling(rng, house[d.CAPACITY], 6) if house[d.CAPACITY] > 0 else None
    battery = battery or ConvexPiecewiseLinear(np.zeros(1), np.zeros(1))
    return house, soc, stored, now, visit, battery, falling(rng, 40.0, 8)


def cost(house, soc, stored, now, battery, car, powers):
    """What powers cost, future included, by the physics and the two functions."""
    load, _, buy, sell = now
    b, u, used = powers
    p, unserved = d.meter(house, b, u, used, load)
    worn = DT_H * (house[d.WEAR] * abs(b) + house[d.CAR_WEAR] * max(-u, 0.0))
    later = float(battery(d.next_soc(house, soc, b))) + float(car(stored + d.car_change(house, u)))
    return p, sum(d.energy_bill(p, buy, sell)) + worn + house[d.UNSERVED] * unserved * DT_H + later


@pytest.mark.parametrize("seed", range(60))
def test_powers_cost_what_the_chart_says(random_house, seed):
    rng = np.random.default_rng(seed)
    house, soc, stored, now, visit, battery, car = case(rng, random_house)
    load, pv = now[:2]
    low, high = d.car_range(house, visit, 0, soc, stored, load, pv)
    levels = car_levels(house, battery, car, stored, low, high)
    chart = house_chart(house, soc, *now, levels)
    x = chart.power_kw
    for power in (*x, *rng.uniform(x[0], x[-1], 6)):
        split = split_power(house, soc, load, pv, levels, power)
        b, u, used = split
        assert low - 1e-9 <= u <= high + 1e-9
        least, most = d.battery_range(house, soc, load, u, pv)
        assert least - 1e-9 <= b <= most + 1e-9
        dark, bright = d.pv_range(house, b, load, u, pv)
        assert dark - 1e-9 <= used <= bright + 1e-9
        at, paid = cost(house, soc, stored, now, battery, car, split)
        assert at == pytest.approx(power, abs=1e-8)
        assert paid == pytest.approx(float(chart.cost(power)), abs=1e-8)
        if len(x) > 1:
            found = disaggregate(house, soc, load, pv, levels, NO_KVAR, float(power))
            other = (found.battery_kw, found.car_kw, found.pv_used_kw)
            assert cost(house, soc, stored, now, battery, car, other)[1] >= paid - 1e-7
    # No feasible powers cost less than the chart says of what they make at the meter.
    for _ in range(40):
        u = rng.uniform(low, high)
        b = rng.uniform(*d.battery_range(house, soc, load, u, pv))
        used = rng.uniform(*d.pv_range(house, b, load, u, pv))
        at, paid = cost(house, soc, stored, now, battery, car, (b, u, used))
        if x[0] - 1e-9 <= at <= x[-1] + 1e-9:
            assert paid >= float(chart.cost(at)) - 1e-9


def test_a_power_that_is_not_in_the_chart_is_cut(random_house):
    rng = np.random.default_rng(3)
    house, soc, _, now, _, battery, _ = case(rng, random_house)
    levels = CarLevels.of([(0.0, battery)])
    x = house_chart(house, soc, *now, levels).power_kw
    for power, end in ((-1e3, x[0]), (1e3, x[-1])):
        split = split_power(house, soc, *now[:2], levels, power)
        assert split == split_power(house, soc, *now[:2], levels, end)
