"""Reading what a house sent: a menu, or the reason why it is none."""

from __future__ import annotations

from typing import Any

import numpy as np

from flexgym.envs.charts.chains import CarLevels
from flexgym.envs.charts.chart import FlexibilityChart
from flexgym.envs.errors import ChartError, MenuError
from flexgym.envs.feeder.menu_formats import SAME_KW, HouseNow, MenuFormat, Points
from flexgym.envs.household.params import DT_H, Floats

REASONS = (
    "missing", "wrong type", "wrong shape", "not finite", "out of range", "empty", "not convex",
    "too many vertices", "too dear", "beyond physical limits",
)  # fmt: skip
"""Why a menu is refused."""
MOST_VERTICES = 256
"""Most breakpoints of power in a menu."""
MOST_EUR_PER_KWH = 1000.0
"""Steepest slope of a menu."""
_NARROWEST_KW = 5e-10


def read_menu(
    sent: Any, form: MenuFormat, size: int, at: HouseNow
) -> tuple[FlexibilityChart, CarLevels | None]:
    """The menu that a house sent, with the cost-to-go behind it if there is one.

    Args:
        sent: The action; None is no message.
        form: Its format.
        size: Numbers in an action.
        at: The house now.

    Raises:
        MenuError: It is refused; ``reason`` is one of `REASONS`.
    """
    if sent is None:
        raise MenuError("got no menu; expected one from every house.", "missing")
    if isinstance(form, Points) and isinstance(sent, FlexibilityChart):
        return _checked(sent, at), None
    array = _numbers(sent)
    if isinstance(form, Points) and array.ndim == 2 and array.shape[1] == 3:
        return _checked(_of_vertices(array), at), None
    if array.size == 0:
        raise MenuError("got a menu without numbers; expected at least one vertex.", "empty")
    if array.shape != (size,):
        also = ", or vertices of shape (k, 3)" if isinstance(form, Points) else ""
        raise MenuError(
            f"got an action of shape {array.shape}; expected ({size},){also}.", "wrong shape"
        )
    _finite(array)
    if np.abs(array).max() > 1.0:
        raise MenuError(
            f"got numbers from {array.min():g} to {array.max():g}; expected all in [-1, 1]. Clip "
            "or squash the policy's output.",
            "out of range",
        )
    return form.read(array, at)


def _numbers(sent: Any) -> Floats:
    """The action as numbers; `MenuError` if it is none."""
    try:
        array = np.asarray(sent)
    except (ValueError, TypeError, RuntimeError) as error:
        raise MenuError(f"got no array ({error}); expected numbers.", "wrong shape") from None
    if array.dtype.kind not in "fiu":
        raise MenuError(
            f"got {type(sent).__name__} of {array.dtype}; expected an array of real numbers, or "
            "in the format 'chart' a FlexibilityChart.",
            "wrong type",
        )
    return array.astype(np.float64)


def _finite(array: Floats) -> None:
    if not np.isfinite(array).all():
        raise MenuError("got NaN or infinity; expected finite numbers.", "not finite")


def _of_vertices(vertices: Floats) -> FlexibilityChart:
    if len(vertices) == 0:
        raise MenuError("got a menu without vertices; expected at least one.", "empty")
    _few(len(vertices))
    _finite(vertices)
    _cheap(np.abs(vertices[:, 2]).max())
    try:
        return FlexibilityChart.from_vertices(vertices)
    except ChartError as error:
        raise MenuError(str(error), "not convex") from None


def _few(count: int) -> None:
    if count > MOST_VERTICES:
        raise MenuError(
            f"got {count} vertices; expected at most {MOST_VERTICES}. Coarsen the chart first.",
            "too many vertices",
        )


def _cheap(eur: float) -> None:
    if eur > 1e9:
        raise MenuError(f"got costs of {eur:g} EUR; expected at most 1e9.", "too dear")


def _checked(menu: FlexibilityChart, at: HouseNow) -> FlexibilityChart:
    """The menu as the operator reads it: active power alone, checked anew."""
    try:
        x, y = (np.array(a, dtype=np.float64).ravel() for a in (menu.power_kw, menu.cost_eur))
    except Exception as error:  # a chart of any making: whatever it raises, it is no menu
        raise MenuError(
            f"got a chart that cannot be read ({error!r}); expected one with vertices.",
            "wrong type",
        ) from None
    if len(x) == 0 or len(x) != len(y):
        raise MenuError(f"got {len(x)} powers and {len(y)} costs; expected as many.", "empty")
    _few(len(x))
    _finite(np.concatenate([x, y]))
    _cheap(np.abs(y).max())
    slack = SAME_KW * (1.0 + max(abs(at.low_kw), abs(at.high_kw)))
    if x.min() < at.low_kw - slack or x.max() > at.high_kw + slack:
        raise MenuError(
            f"got powers from {x.min():g} to {x.max():g} kW; expected them within what the house "
            f"can make now, {at.low_kw:g} to {at.high_kw:g} kW.",
            "beyond physical limits",
        )
    width = np.diff(x)
    if (width < _NARROWEST_KW).any():
        raise MenuError(
            f"got powers that do not ascend; expected steps of {_NARROWEST_KW:g} kW or more.",
            "not convex",
        )
    if len(x) > 1 and np.abs(np.diff(y) / width).max() > MOST_EUR_PER_KWH * DT_H:
        raise MenuError(
            f"got a slope steeper than expected; at most {MOST_EUR_PER_KWH:g} EUR/kWh are allowed.",
            "too dear",
        )
    try:
        return FlexibilityChart(x, y)
    except ChartError as error:
        raise MenuError(str(error), "not convex") from None
