"""Houses that do not learn, as the operator's environment needs them: they offer and follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Protocol, cast

from flexgym.envs.charts.chart import FlexibilityChart
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats
from flexgym.envs.household.simulation import HouseholdSimulation

USUAL_MENUS = "flexgym.policies.quick_menus:QuickMenus"
"""Where the menus of houses come from unless told otherwise."""


class HouseMenus(Protocol):
    """A day of several houses; they measure in the simulation that it was made with.

    What it plans may depend on houses, day and forecast only, so that it can be made anew in
    the middle of a day.
    """

    def offer(self) -> Sequence[FlexibilityChart]:
        """Menus of this period, one a house."""
        ...

    def follow(self, power_kw: Floats) -> Floats:
        """Battery, car and PV used that make powers at the meter, shape (3, n), kW.

        Args:
            power_kw: Shape (n,), kW, each within the menu offered.
        """
        ...


MakeMenus = Callable[[HouseholdSimulation], HouseMenus]


def menus_from(menus: Any) -> MakeMenus:
    """The maker of menus behind ``"module:attribute"``, or the one given.

    Raises:
        ScenarioError: There is none of that name, or it cannot be called.
    """
    found: Any = menus
    if isinstance(menus, str):
        module, _, name = menus.partition(":")
        try:
            found = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ScenarioError(
                f"menus is {menus!r}, which cannot be loaded ({error}); expected "
                f"'module:attribute' such as {USUAL_MENUS!r}."
            ) from error
    if not callable(found):
        raise ScenarioError(
            f"menus is {menus!r}; expected 'module:attribute' or something that takes houses and "
            "returns their HouseMenus."
        )
    return cast(MakeMenus, found)
