"""From the cost-to-go and measurements to the flexibility chart of this period."""

from __future__ import annotations

import numpy as np

from flexgym.envs.charts.chart import FlexibilityChart
from flexgym.envs.charts.piecewise import ConvexPiecewiseLinear
from flexgym.envs.errors import ConvexityError
from flexgym.envs.household.dynamics import (
    CAPACITY,
    DT_H,
    ETA_C,
    ETA_D,
    IMPORT,
    POWER,
    RETENTION,
    UNSERVED,
    WEAR,
    inverter_range,
)
from flexgym.envs.household.params import Floats


def battery_cost(
    house: Floats, soc_kwh: float, cost_to_go: ConvexPiecewiseLinear
) -> ConvexPiecewiseLinear:
    """Wear and cost-to-go against battery power, within power and capacity."""
    left = house[RETENTION] * soc_kwh
    low = max(-house[POWER], -left * house[ETA_D] / DT_H)
    high = min(house[POWER], (house[CAPACITY] - left) / (house[ETA_C] * DT_H))
    low, high = min(low, 0.0), max(high, 0.0)
    change = cost_to_go.x - left
    kinks = np.where(change > 0.0, change / (house[ETA_C] * DT_H), change * house[ETA_D] / DT_H)
    kinks = np.concatenate([kinks[(kinks > low) & (kinks < high)], [low, 0.0, high]])
    power = np.unique(kinks)
    power = power[np.concatenate([[True], np.diff(power) > 1e-9])]
    energy = left + np.where(power > 0.0, power * house[ETA_C] * DT_H, power * DT_H / house[ETA_D])
    later = np.interp(energy, cost_to_go.x, cost_to_go.y)
    return ConvexPiecewiseLinear(power, house[WEAR] * np.abs(power) * DT_H + later)


def house_chart(
    house: Floats,
    soc_kwh: float,
    load_kw: float,
    pv_kw: float,
    buy: float,
    sell: float,
    cost_to_go: ConvexPiecewiseLinear,
) -> FlexibilityChart:
    """Chart of a house with PV and battery behind one hybrid inverter.

    Load is left unserved only as far as the import limit forces it; a house that cannot
    stay below the limit offers the limit alone.

    Raises:
        ConvexityError: Stored energy is worth more than unserved load.

    Args:
        house: Shape (11,), see `house_row`.
        soc_kwh: State of charge, kWh.
        load_kw: Load measured, kW.
        pv_kw: PV power measured before curtailment, kW.
        buy: Import price, EUR/kWh.
        sell: Export price, EUR/kWh.
        cost_to_go: Expected cost after this period against stored energy, kWh to EUR.
    """
    stored = battery_cost(house, soc_kwh, cost_to_go)
    if pv_kw > 0.0:
        # min over g in [0, pv] of stored(r + g): curtailment is free, its slope is zero.
        free = ConvexPiecewiseLinear(np.array([-pv_kw, 0.0]), np.zeros(2))
        stored = stored.infimal_convolution(free)
    inverter = stored.restrict(*inverter_range(house, load_kw))
    limit = float(house[IMPORT])
    headroom = limit - load_kw
    shed = inverter.y + house[UNSERVED] * DT_H * (inverter.x - headroom)
    if inverter.x[0] >= headroom:
        cost = float(shed.min()) + DT_H * buy * limit
        return FlexibilityChart(np.array([limit]), np.array([cost]))
    if shed[inverter.x >= headroom].min(initial=np.inf) < float(inverter(headroom)) - 1e-9:
        raise ConvexityError(
            f"stored energy is worth more than unserved load ({house[UNSERVED]:g} EUR/kWh), so "
            "the house would leave load unserved to charge and its cost is not convex at the "
            "import limit. Raise unserved_eur_per_kwh or lower terminal_eur_per_kwh."
        )
    meter = inverter.restrict(inverter.x[0], headroom).shifted(load_kw)
    power = np.unique(np.append(meter.x, 0.0)) if meter.x[0] < 0.0 < meter.x[-1] else meter.x
    near = np.abs(power) > 1e-12
    power = np.where(near, power, 0.0)
    power = power[np.concatenate([[True], np.diff(power) > 1e-12])]
    bill = DT_H * np.where(power > 0.0, buy, sell) * power
    return FlexibilityChart(power, np.interp(power, meter.x, meter.y) + bill)
