"""How the operator's numbers become powers of houses, by their menus alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flexgym.envs.charts.chart import FlexibilityChart
from flexgym.envs.household.params import DT_H, Floats

CONTROLS = ("dispatch", "price")
"""What the operator says: a power of each house, or a price."""
_TIE_EUR = 1e-9


class MenuArrays(NamedTuple):
    """Menus side by side, the last vertex repeated where there are fewer.

    Attributes:
        own_kw: The houses' own choices, shape (H,), kW.
        power_kw: Powers of the vertices, shape (H, n), kW, ascending.
        harm_eur: What they cost beside the own choice, shape (H, n), EUR.
    """

    own_kw: Floats
    power_kw: Floats
    harm_eur: Floats


def menu_arrays(menus: Sequence[FlexibilityChart], n_vertices: int) -> MenuArrays:
    """The menus as arrays; none may have more vertices."""
    power = np.empty((len(menus), n_vertices))
    harm = np.empty_like(power)
    own = np.empty(len(menus))
    for h, menu in enumerate(menus):
        x, y = menu.power_kw, menu.cost_eur
        own[h] = menu.best_power_kw
        power[h], harm[h] = x[-1], y[-1] - y.min()
        power[h, : len(x)], harm[h, : len(x)] = x, y - y.min()
    return MenuArrays(own, power, harm)


def move(menus: MenuArrays, action: Floats) -> Floats:
    """Powers between own choice (0) and the least (-1) or largest (1) of the menu, (H,), kW."""
    own, low, high = menus.own_kw, menus.power_kw[:, 0], menus.power_kw[:, -1]
    power = own + np.where(action < 0.0, action * (own - low), action * (high - own))
    return power.clip(low, high)


def moved(menus: MenuArrays, power_kw: Floats) -> Floats:
    """Actions that `move` to powers of the menus, shape (H,), in [-1, 1]."""
    own = menus.own_kw
    room = np.where(power_kw >= own, menus.power_kw[:, -1] - own, own - menus.power_kw[:, 0])
    action = np.divide(power_kw - own, room, out=np.zeros(len(own)), where=room > 0.0)
    return action.clip(-1.0, 1.0)


def cheapest_powers(menus: MenuArrays, price_eur_per_kwh: Floats) -> Floats:
    """Powers that are cheapest for the houses at prices beside those they know, (H,), kW.

    Of several within 1e-9 EUR the one nearest to the own choice.
    """
    cost = menus.harm_eur + DT_H * price_eur_per_kwh[:, None] * menus.power_kw
    tie = cost <= cost.min(axis=1, keepdims=True) + _TIE_EUR
    low = np.where(tie, menus.power_kw, np.inf).min(axis=1)
    high = np.where(tie, menus.power_kw, -np.inf).max(axis=1)
    return np.clip(menus.own_kw, low, high)
