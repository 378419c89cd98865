"""Cost of a period against the change of stored energy, beside a car and priced over its power."""

import math
from dataclasses import replace

import numpy as np
import pytest

from flexgym.envs import Battery, Car, House
from flexgym.envs.household import dynamics as d
from flexgym.envs.household.params import DT_H
from flexgym.envs.household.stage import STAGE_PIECES, priced_stage_cost, stage_cost

SLACK = 1e-9


def points(function, *args):
    """Breakpoints of a cost: change of stored energy (kWh), cost (EUR), slopes."""
    slopes, lengths = np.empty(STAGE_PIECES), np.empty(STAGE_PIECES)
    n, low, cost = function(*args, slopes, lengths)
    assert 0 <= n <= STAGE_PIECES
    assert (lengths[:n] >= 0.0).all()
    x = low + np.concatenate([[0.0], np.cumsum(lengths[:n])])
    y = cost + np.concatenate([[0.0], np.cumsum(slopes[:n] * lengths[:n])])
    return x, y, slopes[:n]


def step(row, soc, action, now):
    """One period with the car plugged in, halfway full and free to charge or discharge."""
    outcome = np.empty((1, len(d.OUTCOME_NAMES)))
    half = 0.5 * row[d.CAR_CAPACITY]
    visit = np.array([0.0, 9.0, half, 2.0 * half, 2.0 * half])[:, None]
    state, car = np.array([soc]), np.array([half])
    d.step(
        0, 3, False, np.asarray(action)[None], row[None], now[:, None], visit, np.zeros(1),
        state, car, outcome,
    )  # fmt: skip
    return dict(zip(d.OUTCOME_NAMES, outcome[0].tolist(), strict=True))


def test_cost_beside_the_car_is_what_the_step_charges(random_car_house_day):
    rng = np.random.default_rng(20)
    seen = dict.fromkeys(("charged", "given", "unserved", "negative"), 0)
    for _ in range(300):
        house, series, soc, _ = random_car_house_day(rng, 6)
        row = d.house_row(house)
        for t in range(6):
            load, pv = series.load_kw[t], series.pv_kw[t]
            buy, sell = series.import_eur_per_kwh[t], series.export_eur_per_kwh[t]
            now = np.array([load, pv, buy, sell])
            for _ in range(4):
                out = step(row, soc, rng.uniform(-1.0, 1.0, 2), now)
                x, y, slopes = points(stage_cost, row, load, out["car_kw"], pv, buy, sell)
                change = out["soc_kwh"] - row[d.RETENTION] * soc
                assert x[0] - SLACK <= change <= x[-1] + SLACK
                assert np.interp(change, x, y) == pytest.approx(out["cost_eur"], abs=1e-8)
                # A car that gives what must be exported at a negative price makes losses pay.
                if out["car_kw"] >= 0.0 or sell >= 0.0:
                    assert (np.diff(slopes) >= -1e-12).all()
                seen["charged"] += out["car_kw"] > 0.1
                seen["given"] += out["car_kw"] < -0.1
                seen["unserved"] += out["unserved_kw"] > 0.0
                seen["negative"] += sell < 0.0
    assert min(seen.values()) >= 100, seen


def inverter_powers(row, battery_kw, pv_kw):
    """Least and largest inverter power beside a battery power, the connection aside, kW."""
    return max(-row[d.INVERTER], battery_kw - pv_kw), min(row[d.INVERTER], battery_kw)


def is_feasible(row, battery_kw, car_kw, load_kw, pv_kw, slack=SLACK):
    low, high = inverter_powers(row, battery_kw, pv_kw)
    low = max(low, -row[d.EXPORT] - load_kw - car_kw)
    return low <= min(high, row[d.IMPORT] - car_kw) + slack


def car_powers(row, battery_kw, load_kw, pv_kw):
    """Feasible car powers: a fine grid and every kink of the cost beside this battery power.

    The cost bends where the car is idle or at its rating, and where the meter reaches zero,
    the import limit (with or without all of the load) or the export limit while the inverter
    is at either end of what the battery leaves it.
    """
    give, charge = row[d.CAR_DISCHARGE], row[d.CAR_POWER]
    limits = (0.0, row[d.IMPORT], row[d.IMPORT] + load_kw, -row[d.EXPORT])
    kinks = [
        at - load_kw - inverter
        for at in limits
        for inverter in inverter_powers(row, battery_kw, pv_kw)
    ]
    found = np.concatenate([np.linspace(-give, charge, 21), [0.0], kinks])
    found = np.unique(found[(found >= -give) & (found <= charge)])
    return [u for u in found if is_feasible(row, battery_kw, u, load_kw, pv_kw)]


def to_energy(row, battery_kw):
    eta_c, eta_d = row[d.ETA_C], row[d.ETA_D]
    return DT_H * (battery_kw * eta_c if battery_kw > 0.0 else battery_kw / eta_d)


def cheapest(row, battery_kw, load, worth, pv, buy, sell):
    """Least over the car's powers of the cost minus the worth of its energy, EUR."""
    best = math.inf
    change = to_energy(row, battery_kw)
    for u in car_powers(row, battery_kw, load, pv):
        x, y, _ = points(stage_cost, row, load, u, pv, buy, sell)
        assert x[0] - 1e-8 <= change <= x[-1] + 1e-8
        stored = DT_H * (u * row[d.CAR_ETA_C] if u > 0.0 else u / row[d.CAR_ETA_D])
        best = min(best, float(np.interp(change, x, y)) - worth * stored)
    return best


def check_priced(rng, house, load, worth, pv, buy, sell):
    """Compare at every breakpoint and between; the spread of car powers it was decided over."""
    row = d.house_row(house)
    x, y, slopes = points(priced_stage_cost, row, load, worth, pv, buy, sell)
    if buy >= 0.0:
        assert (np.diff(slopes) >= -1e-12).all()
    scale = np.where(x > 0.0, DT_H * row[d.ETA_C], DT_H / row[d.ETA_D])
    battery = x / scale
    ends = battery[0], battery[-1]
    for b in (*battery, *rng.uniform(*ends, 3)):
        expected = cheapest(row, b, load, worth, pv, buy, sell)
        assert np.interp(to_energy(row, b), x, y) == pytest.approx(expected, abs=1e-9)
    # Beyond the ends the battery is at its rating or no power of the car is feasible.
    for end, side in zip(ends, (-1.0, 1.0), strict=True):
        beyond = end + side * 1e-6
        free = np.linspace(-row[d.CAR_DISCHARGE], row[d.CAR_POWER], 41)
        assert abs(beyond) > row[d.POWER] or not any(
            is_feasible(row, beyond, u, load, pv, 0.0) for u in free
        )


def test_priced_cost_is_the_least_over_the_car_s_power(random_car_house_day):
    rng = np.random.default_rng(21)
    for _ in range(60):
        house, series, _, _ = random_car_house_day(rng, 4)
        for t in range(4):
            buy, sell = series.import_eur_per_kwh[t], series.export_eur_per_kwh[t]
            if rng.random() < 0.1:  # even import pays
                buy, sell = buy - 0.5, sell - 0.5
            worth = rng.choice([0.0, buy, rng.uniform(0.0, 0.5), rng.uniform(0.0, 4.0)])
            worth = max(float(worth), 0.0)
            check_priced(rng, house, series.load_kw[t], worth, series.pv_kw[t], buy, sell)


PLAIN = House(Battery(10.0, 4.0, 0.9, 0.93), 8.0, 8.0, 20.0, 12.0, car=Car(11.0, 60.0, 0.92))
GIVING = Car(7.0, 60.0, 0.92, discharge_kw=9.0, efficiency_discharge=0.9, wear_eur_per_kwh=0.03)
CASES = {
    "plain": PLAIN,
    "vehicle to grid": replace(PLAIN, car=GIVING),
    "no limits": replace(
        PLAIN, car=GIVING, inverter_kva=math.inf, import_limit_kw=math.inf, export_limit_kw=math.inf
    ),
    "tight inverter": replace(PLAIN, car=GIVING, inverter_kva=1.0),
    "no inverter": replace(PLAIN, inverter_kva=0.0),
    "tight connection": replace(PLAIN, car=GIVING, import_limit_kw=2.0, export_limit_kw=1.0),
    "no export": replace(PLAIN, car=GIVING, export_limit_kw=0.0),
    "no connection": replace(PLAIN, car=GIVING, import_limit_kw=0.0, export_limit_kw=0.0),
    "no battery": replace(PLAIN, car=GIVING, battery=None),
}


@pytest.mark.parametrize("house", CASES.values(), ids=CASES)
def test_priced_cost_at_every_limit(house):
    rng = np.random.default_rng(22)
    for load, pv in ((0.0, 0.0), (1.0, 7.0), (6.0, 2.0), (25.0, 0.0)):
        for buy, sell in ((0.3, 0.08), (0.3, -0.1), (0.25, 0.25), (-0.05, -0.2)):
            for worth in (0.0, 0.1, 0.3, 0.5, 2.0, 3.5):
                check_priced(rng, house, load, worth, pv, buy, sell)


def test_priced_cost_without_a_car_is_the_plain_cost(random_house_day):
    rng = np.random.default_rng(23)
    for _ in range(200):
        house, series, _, _ = random_house_day(rng, 4)
        row = d.house_row(house)
        for load, pv, buy, sell in zip(
            series.load_kw, series.pv_kw, series.import_eur_per_kwh, series.export_eur_per_kwh,
            strict=True,
        ):  # fmt: skip
            x, y, _ = points(stage_cost, row, load, 0.0, pv, buy, sell)
            priced_x, priced_y, _ = points(priced_stage_cost, row, load, 0.2, pv, buy, sell)
            assert priced_x[[0, -1]] == pytest.approx(x[[0, -1]], abs=1e-12)
            np.testing.assert_allclose(np.interp(x, priced_x, priced_y), y, rtol=0, atol=1e-12)


def test_a_charging_car_by_hand():
    """The car is worth charging from the sun, not from the grid; the battery idle."""
    house = replace(PLAIN, car=Car(3.0, 60.0, 1.0))
    x, y, _ = points(priced_stage_cost, d.house_row(house), 1.0, 0.2, 5.0, 0.3, 0.08)
    # 5 kW of sun: 1 kW for the load, 3 kW for the car, 1 kW sold.
    assert np.interp(0.0, x, y) == pytest.approx(0.25 * (-0.2 * 3.0 - 0.08), abs=1e-12)
    x, y, _ = points(priced_stage_cost, d.house_row(house), 1.0, 0.2, 2.0, 0.3, 0.08)
    # 2 kW of sun: nothing is bought for the car.
    assert np.interp(0.0, x, y) == pytest.approx(-0.25 * 0.2, abs=1e-12)
