"""Reactive power of a house's inverters: what depends on the house alone.

The circle of an inverter's rating is replaced by an inner polygon of `SIDES` sides with
corners at full active power, so every limit on active power stays what it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from flexgym.envs.household.params import Floats, House

SIDES = 16
"""Sides of the polygon in the circle: 97.4 % of its area, at worst 1.9 % of the radius lost."""
_ANGLES = np.linspace(math.pi, 0.0, SIDES // 2 + 1)
_CORNERS_KW = np.cos(_ANGLES)
_CORNERS_KW[[0, SIDES // 4, -1]] = -1.0, 0.0, 1.0
_CORNERS_KVAR = np.sin(_ANGLES)
_CORNERS_KVAR[[0, -1]] = 0.0


@dataclass(frozen=True)
class Capability:
    """Apparent-power limits of the inverters of one house.

    Attributes:
        kva: Rating of the hybrid inverter or of the roof's own, kVA; 0 gives no reactive power.
        battery_kva: Rating of a separate battery inverter, kVA, or None for a hybrid one.
        tan_phi: Most reactive power per PV power used at the first, kvar/kW; inf without rule.
        load_tan_phi: Reactive per active power of the load, kvar/kW.
    """

    kva: float
    battery_kva: float | None
    tan_phi: float
    load_tan_phi: float


@lru_cache(maxsize=1024)
def capability(house: House) -> Capability:
    """Limits of the inverters of a house.

    Without roof and battery there is no inverter; a rating that is not finite is not known.
    """
    factor = house.min_power_factor
    tan_phi = math.inf if factor is None else math.sqrt(1.0 - factor**2) / factor
    battery = house.battery
    battery_kva = None
    if house.inverter == "separate" and battery is not None:
        rating = house.battery_inverter_kva
        battery_kva = _known(battery.power_kw if rating is None else rating)
    there = house.pv_kwp > 0.0 or (house.inverter == "hybrid" and battery is not None)
    kva = _known(house.inverter_kva) if there else 0.0
    return Capability(kva, battery_kva, tan_phi, house.load.tan_phi)


def _known(kva: float) -> float:
    return kva if math.isfinite(kva) else 0.0


def polygon(kva: float) -> tuple[Floats, Floats]:
    """Corners of the polygon's upper half: kW, ascending, and kvar."""
    return kva * _CORNERS_KW, kva * _CORNERS_KVAR


def kink_powers(limits: Capability, pv_kw: float) -> Floats:
    """Battery powers at which what the inverters can do beside them bends, kW.

    Active powers of the corners of the region of battery, PV and reactive power.
    """
    if limits.battery_kva is not None:
        return polygon(limits.battery_kva)[0]
    corners, reactive = polygon(limits.kva)
    if math.isinf(limits.tan_phi):
        return np.concatenate([corners, corners + pv_kw])
    least_pv = reactive / limits.tan_phi if limits.tan_phi > 0.0 else 0.0 * reactive
    most = limits.tan_phi * pv_kw
    meets = np.interp(most, reactive[: SIDES // 4 + 1], corners[: SIDES // 4 + 1])
    ends = np.array([meets, -meets]) + pv_kw if most < limits.kva else np.empty(0)
    return np.concatenate([corners, corners + pv_kw, corners + np.minimum(least_pv, pv_kw), ends])


def reactive_limit(kva: float, power_kw: Floats) -> Floats:
    """Most reactive power of the polygon beside active powers (any shape), kvar."""
    return np.interp(power_kw, kva * _CORNERS_KW, kva * _CORNERS_KVAR)


def in_circle(kva: float, power_kw: Floats, reactive_kvar: Floats) -> Floats:
    """Apparent power within the rating itself, for checks: 0 inside, else the excess, kVA."""
    return (np.hypot(power_kw, reactive_kvar) - kva).clip(0.0)


def pv_corners(limits: Capability, pv_kw: float) -> Floats:
    """Corners of what a separate PV inverter can do, upper half: (g, q), g ascending.

    Bounded by the PV power available, the polygon and the grid code.
    """
    g = polygon(limits.kva)[0]
    g = np.unique(np.concatenate([[0.0, pv_kw], g[(g > 0.0) & (g < pv_kw)]]))
    q = reactive_limit(limits.kva, g)
    if math.isfinite(limits.tan_phi):
        gap = q - limits.tan_phi * g
        at = np.flatnonzero((gap[:-1] > 0.0) & (gap[1:] < 0.0))
        crossing = g[at] + (g[at + 1] - g[at]) * gap[at] / (gap[at] - gap[at + 1])
        g = np.sort(np.concatenate([g, crossing]))
        q = np.minimum(reactive_limit(limits.kva, g), limits.tan_phi * g)
    return np.column_stack([g, q])
