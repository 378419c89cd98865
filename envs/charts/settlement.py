"""What houses are paid for leaving their own choice, and how evenly.

`pay_as_bid` and `pay_marginal` leave nobody worse off than its own choice of the moment: each
chart is convex, and at the answer every house would choose just that power if it paid the grid's
price. `pay_for_plan` compares with a plan for the day. Money goes from the operator to the houses;
a deficit, to be financed by network tariffs. The menus must be those
that were cleared: with reactive power chosen, their costs are the answer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from flexgym.envs.charts.chart import FlexibilityChart
from flexgym.envs.charts.clearing import Cleared
from flexgym.envs.errors import ChartError
from flexgym.envs.household.params import DT_H, Floats


@dataclass(frozen=True, eq=False)
class Settlement:
    """Payments of one period.

    Attributes:
        paid_eur: From the operator to each house, shape (H,), EUR.
        harm_eur: What the answer costs each house beside its own choice by its menu, future
            included, shape (H,), EUR.
    """

    paid_eur: Floats
    harm_eur: Floats

    @property
    def gain_eur(self) -> Floats:
        """What each house is better off by than with its own choice, shape (H,), EUR."""
        return self.paid_eur - self.harm_eur

    @property
    def deficit_eur(self) -> float:
        """What the operator pays in all, EUR."""
        return float(self.paid_eur.sum())


def pay_as_bid(menus: Sequence[FlexibilityChart], cleared: Cleared) -> Settlement:
    """Pay each house the harm that its own menu declares: an indemnity, open to false menus."""
    harm = harms(menus, cleared)
    return Settlement(harm, harm)


def pay_marginal(menus: Sequence[FlexibilityChart], cleared: Cleared) -> Settlement:
    """Pay the grid's price at each bus (DLMP) for the difference to the house's own choice.

    Reactive power counts where it was chosen inside the menus. Where limits cannot be kept the
    price of power says nothing but that, and the harm is paid.
    """
    harm = harms(menus, cleared)
    if not cleared.feasible:
        return Settlement(harm, harm)
    own = np.array([menu.best_power_kw for menu in menus])
    paid = cleared.price_eur_per_kwh.sum(axis=0) * (own - cleared.power_kw)
    if cleared.reactive == "menu":
        own_kvar = np.array([menu.best[1] for menu in menus])
        paid += cleared.price_eur_per_kvarh.sum(axis=0) * (own_kvar - cleared.q_kvar)
    return Settlement(DT_H * paid, harm)


def pay_for_plan(
    price_eur_per_kwh: ArrayLike,
    plan_kw: ArrayLike,
    power_kw: ArrayLike,
    deviation_eur: ArrayLike,
) -> Floats:
    """Pay for a day in two settlements: prices announced before it, and the rest as bid.

    Announced prices are paid for the difference to the plan that each house declared. A house
    that plans with them would choose by itself what is best at them; what clearing takes from
    that in real time is made good by its own menus (`deviations`). If it knows the day, it is
    never worse off than with its plan: by telescoping its cost is that of the best plan at these
    prices plus its deviations. Declaring a false plan is worth money, see `inflation_gain`.

    Args:
        price_eur_per_kwh: Announced at each house's bus, shape (T, H), EUR/kWh.
        plan_kw: Declared before the day, shape (T, H), kW.
        power_kw: Taken, likewise.
        deviation_eur: See `deviations`, shape (T, H), EUR.

    Returns:
        From the operator to each house over the day, shape (H,), EUR; below 0 it pays.

    Raises:
        ChartError: The shapes differ, or something is not finite.
    """
    price, plan, power, deviation = _alike(price_eur_per_kwh, plan_kw, power_kw, deviation_eur)
    return (DT_H * price * (plan - power) + deviation).sum(axis=0)


def deviations(
    menus: Sequence[FlexibilityChart], power_kw: ArrayLike, price_eur_per_kwh: ArrayLike
) -> Floats:
    """What powers cost each house above its own choice at a price of the grid, shape (H,), EUR.

    Args:
        menus: One a house.
        power_kw: What each takes, shape (H,), kW.
        price_eur_per_kwh: Announced for this period at each bus, shape (H,), EUR/kWh.

    Raises:
        ChartError: Not one finite power and price a menu.
    """
    power, price = np.asarray(power_kw, np.float64), np.asarray(price_eur_per_kwh, np.float64)
    if {power.shape, price.shape} != {(len(menus),)} or not np.isfinite(power + price).all():
        raise ChartError(
            f"got powers of shape {power.shape} and prices of shape {price.shape}; expected "
            f"({len(menus)},) for both, one a menu, and finite numbers."
        )
    found = np.empty(len(menus))
    for h, menu in enumerate(menus):
        x, slope = menu.power_kw, DT_H * price[h]
        at = min(max(power[h], x[0]), x[-1])
        found[h] = menu.cost(at) + slope * at - (menu.cost_eur + slope * x).min()
    return found


def inflation_gain(price_eur_per_kwh: ArrayLike, plan_kw: ArrayLike, share: float) -> Floats:
    """What each house is paid more for declaring its plan ``share`` larger where that pays.

    Its dispatch, so its true cost, stays the same: nothing in `pay_for_plan` holds it back.

    Args:
        price_eur_per_kwh: See `pay_for_plan`.
        plan_kw: Its true plan, shape (T, H), kW.
        share: Of the plan's size, added or taken away by the sign of the price.

    Returns:
        Shape (H,), EUR over the day.
    """
    price, plan = _alike(price_eur_per_kwh, plan_kw)
    if not (np.isfinite(share) and share >= 0.0):
        raise ChartError(f"share is {share}; expected a number >= 0.")
    return DT_H * share * (np.abs(price) * np.abs(plan)).sum(axis=0)


def _alike(*arrays: ArrayLike) -> list[Floats]:
    try:
        found = [np.asarray(array, dtype=np.float64) for array in arrays]
    except (TypeError, ValueError) as error:
        raise ChartError(f"got series that are no numbers ({error}); expected (T, H).") from None
    shapes = [array.shape for array in found]
    if found[0].ndim != 2 or len(set(shapes)) > 1 or not all(np.isfinite(a).all() for a in found):
        raise ChartError(
            f"got series of shapes {shapes}; expected one shape (T, H) and finite numbers."
        )
    return found


def harms(menus: Sequence[FlexibilityChart], cleared: Cleared) -> Floats:
    """What each menu costs more at the answer than at its own best, shape (H,), EUR."""
    if len(menus) != len(cleared.power_kw):
        raise ChartError(
            f"got {len(menus)} menus for an answer to {len(cleared.power_kw)}; expected those "
            "that were cleared."
        )
    if cleared.reactive == "menu":
        return cleared.cost_eur - np.array([menu.cost_eur.min() for menu in menus])
    harm = np.empty(len(menus))
    for h, (menu, power) in enumerate(zip(menus, cleared.power_kw, strict=True)):
        x = menu.power_kw
        harm[h] = menu.cost(min(max(power, x[0]), x[-1])) - menu.cost_eur.min()
    return harm


def jain(values: ArrayLike) -> float:
    """Jain's index of amounts, at least 0: 1 if all are alike, 1/n if one has all; nan if none.

    Source: Jain, Chiu, Hawe, DEC-TR-301, 1984.
    """
    x = _amounts(values)
    square = float((x**2).sum())
    return float(x.sum()) ** 2 / (len(x) * square) if square > 0.0 else float("nan")


def gini(values: ArrayLike) -> float:
    """Gini coefficient of amounts, at least 0: 0 if all are alike, near 1 if one has all."""
    x = np.sort(_amounts(values))
    total, n = float(x.sum()), len(x)
    if total <= 0.0:
        return float("nan")
    return float((2.0 * np.arange(1, n + 1) - n - 1) @ x) / (n * total)


def _amounts(values: ArrayLike) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) == 0 or not np.isfinite(x).all() or x.min() < 0.0:
        raise ChartError(f"got amounts {values!r}; expected finite numbers >= 0, shape (n,).")
    return x
