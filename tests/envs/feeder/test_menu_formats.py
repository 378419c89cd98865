"""Numbers in [-1, 1] as menus: every array is a valid one, by the documented maps."""

import numpy as np
import pytest
from gymnasium.utils import seeding
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flexgym.envs.charts import ConvexPiecewiseLinear
from flexgym.envs.feeder.menu_dispatch import reach
from flexgym.envs.feeder.menu_formats import (
    ASKED_EUR_PER_KWH,
    MENU_FORMATS,
    POINT_EUR,
    STORED_EUR_PER_KWH,
    HouseNow,
)
from flexgym.envs.feeder.menu_reading import read_menu
from flexgym.envs.household import dynamics as d
from flexgym.envs.household.params import DT_H
from flexgym.envs.household.simulation import HouseholdSimulation

N = 5


@pytest.fixture(scope="module")
def moments(mixed):
    """Houses of every kind in the middle of the day, with cars and without."""
    n = len(mixed.homes.houses)
    homes = HouseholdSimulation(mixed.homes, n, observation="compact")
    days = np.resize(mixed.homes.days, n)
    homes.begin([seeding.np_random(i)[0] for i in range(n)], {"house": np.arange(n), "day": days})
    rng, found = np.random.default_rng(0), []
    for t in range(90):
        if t % 11 == 5:
            low, high = reach(homes)
            found += [
                HouseNow(
                    homes.episodes.rows[i], homes.visit[:, i], t, float(homes.soc_kwh[i]),
                    float(homes.car_kwh[i]), homes.now[:, i], float(low[i]), float(high[i]),
                )
                for i in range(n)
            ]  # fmt: skip
        homes.step(rng.uniform(-1.0, 1.0, (n, 2)))
    return found


def numbers(size):
    exact = st.sampled_from([-1.0, 0.0, 1.0])
    return hnp.arrays(float, size, elements=exact | st.floats(-1.0, 1.0))


def read(name, action, at):
    form = MENU_FORMATS[name](N)
    return read_menu(action, form, form.size(cars=True), at)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(MENU_FORMATS)))
def test_every_array_is_a_menu_of_what_the_house_can_make(moments, data, name):
    at = data.draw(st.sampled_from(moments))
    action = data.draw(numbers(MENU_FORMATS[name](N).size(cars=True)))
    menu, _ = read(name, action, at)
    x, y = menu.power_kw, menu.cost_eur
    ConvexPiecewiseLinear(x, y)  # raises unless ascending, finite and convex
    assert x[0] >= at.low_kw - 1e-9
    assert x[-1] <= at.high_kw + 1e-9
    if name != "chart":
        assert (x[0], x[-1]) == pytest.approx((at.low_kw, at.high_kw), abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_segments(moments, data):
    at = data.draw(st.sampled_from(moments))
    action = data.draw(numbers(2 * N + 1))
    menu, _ = read("segments", action, at)
    unit = 0.5 * (1.0 + action)
    span = at.high_kw - at.low_kw
    own = at.low_kw + unit[0] * span
    assert menu.best_power_kw == pytest.approx(own, abs=1e-9)
    assert float(menu.cost(menu.best_power_kw)) == 0.0
    low, high = ASKED_EUR_PER_KWH
    prices = low + unit[1 + N :] * (high - low)
    weights = 0.01 + unit[1 : 1 + N]
    for sign, part in ((-1, slice(0, N // 2)), (1, slice(N // 2, N))):
        room = own - at.low_kw if sign < 0 else at.high_kw - own
        if room < 1e-3:
            continue
        # The asked price at a distance: the k-th cheapest, over the width of the k-th segment.
        ends = np.cumsum(weights[part] / weights[part].sum())
        asked = np.sort(prices[part])
        for share in (0.1, 0.5, 0.99):
            k = int(np.searchsorted(ends, share))
            widths = room * np.diff(np.concatenate([[0.0], ends]))
            inside = share * room - (ends[k - 1] * room if k else 0.0)
            expected = DT_H * (widths[:k] @ asked[:k] + inside * asked[k])
            assert float(menu.cost(own + sign * share * room)) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_points(moments, data):
    at = data.draw(st.sampled_from(moments))
    action = data.draw(numbers(2 * (N + 1)))
    menu, _ = read("chart", action, at)
    unit = 0.5 * (1.0 + action)
    power = at.low_kw + unit[: N + 1] * (at.high_kw - at.low_kw)
    cost = POINT_EUR * unit[N + 1 :]
    inside = menu.cost(power.clip(menu.power_kw[0], menu.power_kw[-1]))
    near = 2.0 * POINT_EUR * 1e-6 / max(np.ptp(power), 1e-6)
    distinct = len(power) == 1 or np.diff(np.sort(power)).min() > 1e-5
    if distinct:
        assert (inside <= cost + near).all()
        for x, y in zip(menu.power_kw, menu.cost_eur, strict=True):
            assert np.hypot(power - x, cost - y).min() < 1e-9  # vertices are points sent
        assert menu.power_kw[0] == power.min()
        assert menu.power_kw[-1] == power.max()


def test_cost_to_go_is_what_was_sent(moments):
    """The menu is the cheapest feasible way by wear, bill and the worth of stored energy."""
    rng = np.random.default_rng(2)
    with_car = 0
    for at in [moments[k] for k in rng.permutation(len(moments))[:120]]:
        action = rng.uniform(-1.0, 1.0, 2 * N)
        menu, _ = read("cost_to_go", action, at)
        unit, house = 0.5 * (1.0 + action), at.house
        load, pv, buy, sell = at.now
        for _ in range(25):
            u = rng.uniform(*d.car_range(house, at.visit, at.t, at.soc_kwh, at.car_kwh, load, pv))
            b = rng.uniform(*d.battery_range(house, at.soc_kwh, load, u, pv))
            used = rng.uniform(*d.pv_range(house, b, load, u, pv))
            p, unserved = d.meter(house, b, u, used, load)
            paid = sum(d.energy_bill(p, buy, sell)) + DT_H * house[d.UNSERVED] * unserved
            paid += DT_H * (house[d.WEAR] * abs(b) + house[d.CAR_WEAR] * max(-u, 0.0))
            top = [min(most, house[d.UNSERVED]) for most in STORED_EUR_PER_KWH]
            worth = -np.sort(-top[0] * unit[:N])
            filled = (d.next_soc(house, at.soc_kwh, b) * N / max(house[d.CAPACITY], 1e-9)
                      - np.arange(N)).clip(0.0, 1.0)  # fmt: skip
            paid -= worth @ filled * house[d.CAPACITY] / N
            if d.plugged(at.visit, at.t):
                with_car += 1
                stored = at.car_kwh + d.car_change(house, u)
                arrival = at.visit[d.ARRIVAL_KWH]
                need = max(at.visit[d.NEEDED_KWH], arrival)
                ends = np.append(np.linspace(arrival, need, N), max(at.visit[d.TARGET_KWH], need))
                ends[0] = 0.0
                parts = np.clip(stored - ends[:-1], 0.0, np.diff(ends))
                paid -= -np.sort(-top[1] * unit[N:]) @ parts
            if unserved == 0.0 and menu.power_kw[0] <= p <= menu.power_kw[-1]:
                assert paid >= float(menu.cost(p)) - 1e-8
    assert with_car > 100
