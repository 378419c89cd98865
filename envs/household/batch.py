"""Many houses at once: a period played, and powers turned into the actions that play them."""

from __future__ import annotations

from flexgym.envs.compiled import compiled
from flexgym.envs.household.action_map import action_from_power, balancing, power_from_action
from flexgym.envs.household.dynamics import (
    LOAD,
    POWER,
    PV,
    battery_range,
    car_range,
    car_rating,
    plug_in,
    pv_range,
    step,
)


@compiled
def actions_from_powers(
    kind, battery_kw, car_kw, house, t, soc_kwh, car_kwh, now, visit, action
):  # fmt: skip
    """Write what plays powers into ``action[:, :2]``; the first infeasible row or -1.

    Args:
        kind: Position of the action map in `ACTION_MAPS`.
        battery_kw: Shape (n,), kW.
        car_kw: Shape (n,), kW; (0,) where there are no cars and only ``action[:, 0]``.
        house: Shape (n, 18), see `house_row`.
        t: Period.
        soc_kwh: State of charge, shape (n,), kWh.
        car_kwh: Energy in the car, shape (n,), kWh.
        now: Load, PV, import and export price of the period, shape (4, n).
        visit: The car's visit, shape (5, n), or (5, 0) where there are no cars.
        action: Shape (n, 1 or more), overwritten.
    """
    cars = visit.shape[1] > 0
    for i in range(len(battery_kw)):
        row = house[i]
        load, pv = now[LOAD, i], now[PV, i]
        car = 0.0
        if cars:
            rating = car_rating(row)
            low, high = car_range(row, visit[:, i], t, soc_kwh[i], car_kwh[i], load, pv)
            slack = 1e-9 * (1.0 + rating)
            if not (low - slack <= car_kw[i] <= high + slack):
                return i
            car = min(max(car_kw[i], low), high)
            zero = balancing(low, high, load, pv)
            action[i, 1] = action_from_power(kind, car, rating, low, high, zero)
            car = power_from_action(kind, action[i, 1], rating, low, high, zero)
        low, high = battery_range(row, soc_kwh[i], load, car, pv)
        slack = 1e-9 * (1.0 + row[POWER])
        wanted = battery_kw[i]
        if not (low - slack <= wanted <= high + slack):
            return i
        wanted = min(max(wanted, low), high)
        zero = balancing(low, high, load + car, pv)
        action[i, 0] = action_from_power(kind, wanted, row[POWER], low, high, zero)
    return -1


@compiled
def shares_from_pv(house, battery_kw, car_kw, now, used_kw, out):
    """Write PV powers as shares, in [0, 1], of what can be used beside battery and car.

    Args:
        house: Shape (n, 18).
        battery_kw: Shape (n,), kW.
        car_kw: Shape (n,), kW.
        now: Load, PV, import and export price of the period, shape (4, n).
        used_kw: Shape (n,), kW.
        out: Shape (n,), overwritten.
    """
    for i in range(len(used_kw)):
        low, high = pv_range(house[i], battery_kw[i], now[LOAD, i], car_kw[i], now[PV, i])
        # A plan may miss its range by the tolerance of its solver.
        width = high - low
        out[i] = min(max((used_kw[i] - low) / width, 0.0), 1.0) if width > 1e-9 else 1.0


@compiled
def advance(
    kind, t, action, house, exogenous, visits, terminal_price, soc_kwh, car_kwh, outcome
):  # fmt: skip
    """Play period t of n houses and let the cars of the next one arrive.

    Args:
        kind: See `step`, like all that is not named here.
        t: Period.
        action: Shape (n, 1 to 3).
        house: Shape (n, 18).
        exogenous: Load, PV, import and export price of all periods, shape (T, 4, n).
        visits: The cars' visits in all periods, shape (T, 5, n) or (T, 5, 0).
        terminal_price: Shape (n,).
        soc_kwh: Shape (n,); overwritten.
        car_kwh: Shape (n,); overwritten.
        outcome: Shape (n, 17), overwritten.

    Returns:
        -1, or the position of an action outside [-1, 1]; then nothing has happened.
    """
    flat = action.reshape(-1)
    for k in range(flat.shape[0]):
        if not abs(flat[k]) <= 1.0:
            return k
    last = t == exogenous.shape[0] - 1
    step(
        kind, t, last, action, house, exogenous[t], visits[t], terminal_price, soc_kwh, car_kwh,
        outcome,
    )  # fmt: skip
    if not last:
        plug_in(t + 1, visits[t + 1], car_kwh)
    return -1
