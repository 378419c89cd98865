"""Menus made in milliseconds: battery and car each plan alone, on the forecast.

The battery's cost-to-go is exact for the house without its car on the day as forecast. The
car's is the merit order of the prices until it leaves. What the two could do for each other
later, and what the forecast may miss, is left out, so these menus are approximate; their
houses follow them exactly. `flexgym.policies.menus` has certified ones.
"""

from __future__ import annotations

import numpy as np

from flexgym.baselines.household.tables import KnownDay
from flexgym.envs.charts import ConvexPiecewiseLinear
from flexgym.envs.charts.chains import CarLevels
from flexgym.envs.charts.separable import car_levels
from flexgym.envs.compiled import compiled
from flexgym.envs.household.dynamics import (
    BUY,
    CAPACITY,
    CAR_ETA_C,
    CAR_MISSED,
    CAR_POWER,
    DEPARTURE,
    LOAD,
    NEEDED_KWH,
    PV,
    SELL,
    TARGET_KWH,
    UNSERVED,
    car_range,
    next_soc,
    plugged,
    store_range,
)
from flexgym.envs.household.params import DT_H, Floats
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.policies.house_levels import HouseLevels


class QuickMenus(HouseLevels):
    """A day of menus; see `flexgym.envs.feeder.house_menus.HouseMenus`.

    Args:
        homes: The houses, in an episode; their forecast is read, and what they measure.
    """

    def __init__(self, homes: HouseholdSimulation) -> None:
        episodes = homes.episodes
        # Houses first: a row is read period by period. Losses that pay would not be convex.
        self._ahead = np.ascontiguousarray(episodes.forecast.transpose(2, 1, 0))
        self._ahead[:, BUY] = self._ahead[:, BUY].clip(0.0)
        self._ahead[:, SELL] = np.minimum(self._ahead[:, SELL], self._ahead[:, BUY])
        self._plans = [
            KnownDay.solve(episodes.rows[i], self._ahead[i], float(episodes.terminal_price[i]))
            for i in range(homes.n)
        ]
        super().__init__(homes, self._planned)

    def _planned(self, i: int) -> CarLevels:
        """Cost after this period beside each power of the car of house i."""
        homes, t = self._homes, self._homes.t
        house, soc = homes.episodes.rows[i], float(homes.soc_kwh[i])
        empty, slopes, lengths = self._plans[i].functions_after(t)
        x, y = np.empty(slopes.shape[1] + 1), np.empty(slopes.shape[1] + 1)
        n = _within_reach(house, soc, float(empty[0]), slopes[0], lengths[0], x, y)
        battery = ConvexPiecewiseLinear.trusted(x[:n], y[:n])
        if not (homes.cars and plugged(homes.visit[:, i], t)):
            return CarLevels.of([(0.0, battery)])
        visit, stored = homes.visit[:, i], float(homes.car_kwh[i])
        load, pv = homes.now[:2, i]
        low, high = car_range(house, visit, t, soc, stored, load, pv)
        car = charging_cost(house, visit, t, self._ahead[i])
        return car_levels(house, battery, car, stored, low, high)


def charging_cost(house: Floats, visit: Floats, t: int, ahead: Floats) -> ConvexPiecewiseLinear:
    """Cost after period t against the energy in a plugged-in car, by merit order.

    In each period until it leaves the car may charge at full power, first from the sun that
    the house's load leaves over, which could be sold, then from the grid. What it still lacks
    is missed. Energy beyond its need is worth nothing.

    Args:
        house: Shape (18,), see `house_row`.
        visit: The car's visit, shape (5,).
        t: Period.
        ahead: Load, PV, import and export price as forecast, shape (4, T).
    """
    size = 2 * ahead.shape[1] + 3
    x, y = np.empty(size), np.empty(size)
    n = fill_charging_cost(house, visit, t, ahead, x, y)
    return ConvexPiecewiseLinear.trusted(x[:n].copy(), y[:n].copy())


@compiled
def fill_charging_cost(house, visit, t, ahead, x, y):
    """Write breakpoints, kWh ascending, and cost, EUR; their number. See `charging_cost`."""
    most = house[CAR_POWER] * DT_H
    dear = min(house[CAR_MISSED], house[UNSERVED])
    first, end = t + 1, int(visit[DEPARTURE])
    price, energy = np.empty(2 * max(end - first, 0)), np.empty(2 * max(end - first, 0))
    n = 0
    for k in range(first, end):
        sun = min(max((ahead[PV, k] - ahead[LOAD, k]) * DT_H, 0.0), most)
        for cost, kwh in ((ahead[SELL, k], sun), (ahead[BUY, k], most - sun)):
            if kwh > 0.0 and cost < dear * house[CAR_ETA_C]:
                price[n], energy[n] = cost / house[CAR_ETA_C], kwh * house[CAR_ETA_C]
                n += 1
    order = np.argsort(price[:n])
    # From what is needed down: the last kWh is charged when it is cheapest.
    need, top = visit[NEEDED_KWH], max(visit[TARGET_KWH], visit[NEEDED_KWH])
    size = len(x)
    at = size - 1
    x[at], y[at] = top, 0.0
    if top > need:
        at -= 1
        x[at], y[at] = need, 0.0
    for k in order:
        left = x[at]
        if left <= 0.0:
            break
        kwh = min(energy[k], left)
        if kwh < 1e-9:
            continue
        at -= 1
        x[at], y[at] = left - kwh, y[at + 1] + price[k] * kwh
    if x[at] > 1e-9:
        at -= 1
        x[at], y[at] = 0.0, y[at + 1] + dear * x[at + 1]
    for k in range(at, size):
        x[k - at], y[k - at] = x[k], y[k]
    return size - at


@compiled
def _within_reach(house, soc_kwh, empty, slopes, lengths, x, y):
    """Write the cost-to-go where the battery can be after this period; number of points."""
    low, high = store_range(house, soc_kwh)
    low, high = next_soc(house, soc_kwh, low), next_soc(house, soc_kwh, high)
    n = 0
    energy, cost = 0.0, empty
    x[0], y[0] = 0.0, cost
    for k in range(len(slopes)):
        end = energy + lengths[k]
        if lengths[k] > 1e-12 and end > low:
            if n == 0:
                x[0], y[0] = energy, cost
            n += 1
            x[n], y[n] = end, cost + slopes[k] * lengths[k]
        cost += slopes[k] * lengths[k]
        energy = end
        if energy >= high and n > 0:
            break
    if n == 0:
        x[0], y[0] = min(energy, house[CAPACITY]), cost
    return n + 1
