"""Data of the worlds: SimBench extract, houses, calendar, prices, cars. All offline.

Nothing is read or imported before its name is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexgym.envs.data.calendar import (
        EPISODES,
        QUARTERS,
        SPLITS,
        date,
        episode_start,
        split_days,
    )
    from flexgym.envs.data.hourly_prices import HourlyPrices
    from flexgym.envs.data.houses import HOUSE_SEEDS, SCENARIOS, ScenarioRanges, feeder43
    from flexgym.envs.data.price_file import load_hourly_prices, load_prices
    from flexgym.envs.data.prices import Prices, synthetic_prices
    from flexgym.envs.data.profile_file import load_profiles_csv
    from flexgym.envs.data.profiles import Profiles, load_grid, load_profiles, lv_bus_names
    from flexgym.envs.data.session_file import load_sessions
    from flexgym.envs.data.sessions import SessionModel, Sessions, synthetic_sessions

__all__ = [
    "EPISODES",
    "HOUSE_SEEDS",
    "QUARTERS",
    "SCENARIOS",
    "SPLITS",
    "HourlyPrices",
    "Prices",
    "Profiles",
    "ScenarioRanges",
    "SessionModel",
    "Sessions",
    "date",
    "episode_start",
    "feeder43",
    "load_grid",
    "load_hourly_prices",
    "load_prices",
    "load_profiles",
    "load_profiles_csv",
    "load_sessions",
    "lv_bus_names",
    "split_days",
    "synthetic_prices",
    "synthetic_sessions",
]

_HOME = {
    "calendar": ("EPISODES", "QUARTERS", "SPLITS", "date", "episode_start", "split_days"),
    "houses": ("HOUSE_SEEDS", "SCENARIOS", "ScenarioRanges", "feeder43"),
    "hourly_prices": ("HourlyPrices",),
    "price_file": ("load_hourly_prices", "load_prices"),
    "prices": ("Prices", "synthetic_prices"),
    "profile_file": ("load_profiles_csv",),
    "profiles": ("Profiles", "load_grid", "load_profiles", "lv_bus_names"),
    "session_file": ("load_sessions",),
    "sessions": ("SessionModel", "Sessions", "synthetic_sessions"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
