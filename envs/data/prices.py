"""Electricity prices of the year: the container, and a synthetic day-ahead tariff.

The synthetic prices are invented, not measured. Their daily shapes follow what European
day-ahead markets look like with much sun: a cheap night, a dip at noon, an evening peak.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from flexgym.envs.data.calendar import DAYS, EPISODES, QUARTERS, as_index, date, episode_start
from flexgym.envs.errors import PriceDataError, ScenarioError
from flexgym.envs.household.params import STEPS_PER_DAY, Floats

EXPORTS = ("fixed", "spot")
FEES_EUR_PER_KWH, TAX_FACTOR = 0.18, 1.19
EXPORT_FIXED_EUR_PER_KWH, EXPORT_SPOT_SHARE = 0.07, 0.95
WEEKEND_LEVEL = 0.85
AMPLITUDE_SD, AMPLITUDE_CUT = 0.12, 2.0
NOISE_COEFFICIENT, NOISE_SD_CT = 0.9, 0.35
LOWEST_IMPORT_FACTOR = 0.8
"""The import price stays at or above the export price when multiplied by this."""

SPOT_SHAPES_CT: dict[str, tuple[float, ...]] = {
    "summer": (
        *(8.5, 8, 7.8, 7.6, 7.8, 8.5, 10, 11, 9.5, 6, 3, 1.5),
        *(0.8, 0.4, 0.6, 1.5, 3.5, 7, 11, 15, 16.5, 15, 12, 10),
    ),
    "shoulder": (
        *(8.5, 7.5, 6.8, 6.2, 6, 7, 10, 12.5, 11.5, 8.5, 5.5, 3.5),
        *(2.5, 2, 2.2, 4, 7.5, 12, 17, 20, 18.5, 15, 12, 10),
    ),
    "winter": (
        *(9.5, 8.5, 7.8, 7.5, 7.6, 8.5, 11, 15, 16.5, 15, 13, 11.8),
        *(11, 10.5, 10.8, 12, 15, 20, 22, 20, 16.5, 13.5, 11.5, 10.5),
    ),
}
"""Day-ahead price by hour of the day, ct/kWh, each value at half past the hour."""
SEASONS: dict[str, tuple[int, ...]] = {
    "summer": (5, 6, 7, 8),
    "shoulder": (3, 4, 9, 10),
    "winter": (1, 2, 11, 12),
}
"""Calendar months of each shape."""

_TAG = 43_05


@dataclass(frozen=True, eq=False)
class Prices:
    """Import and export price of every quarter-hour of 2016, read-only.

    Attributes:
        import_eur_per_kwh: Price of energy from the grid, shape (35136,), EUR/kWh; NaN where
            nothing is known.
        export_eur_per_kwh: Pay for energy into the grid, shape (35136,), EUR/kWh; NaN at the
            same places; never above the import price.
        name: Where the prices come from.
    """

    import_eur_per_kwh: Floats
    export_eur_per_kwh: Floats
    name: str

    def __post_init__(self) -> None:
        for field in ("import_eur_per_kwh", "export_eur_per_kwh"):
            array = np.array(getattr(self, field), dtype=np.float64)
            if array.shape != (QUARTERS,) or np.isinf(array).any():
                raise PriceDataError(
                    f"{field} has shape {array.shape}, infinite: {bool(np.isinf(array).any())}; "
                    f"expected ({QUARTERS},) finite values or NaN. Pass one value a quarter-hour."
                )
            array.flags.writeable = False
            object.__setattr__(self, field, array)
        bad = np.isnan(self.import_eur_per_kwh) != np.isnan(self.export_eur_per_kwh)
        if bad.any():
            raise PriceDataError(
                f"only one of the two prices is known in quarter-hour {int(np.argmax(bad))}; "
                "expected both or neither. Set the other to NaN too."
            )
        bad = self.export_eur_per_kwh > self.import_eur_per_kwh
        if bad.any():
            raise PriceDataError(
                f"the export price is above the import price in quarter-hour "
                f"{int(np.argmax(bad))}; expected export <= import. Swap the two, or lower it."
            )

    def covered_days(self) -> NDArray[np.int64]:
        """Episodes whose 06:00 to 06:00 has prices throughout, ascending."""
        first = episode_start(0)
        known = np.isfinite(self.import_eur_per_kwh)[first : first + EPISODES * STEPS_PER_DAY]
        return np.flatnonzero(known.reshape(EPISODES, STEPS_PER_DAY).all(axis=1))

    def covers(self, day: int) -> bool:
        """Whether episode ``day`` has prices throughout.

        Raises:
            ScenarioError: ``day`` is no episode of the year.
        """
        first = episode_start(day)
        return bool(np.isfinite(self.import_eur_per_kwh[first : first + STEPS_PER_DAY]).all())


def _shape(season: str) -> Floats:
    """Day-ahead price at the middle of each quarter-hour, shape (96,), ct/kWh, periodic."""
    hours = np.arange(24) + 0.5
    middles = (np.arange(STEPS_PER_DAY) + 0.5) * 24 / STEPS_PER_DAY
    return np.interp(middles, hours, SPOT_SHAPES_CT[season], period=24.0)


def _spot_eur_per_kwh(spread: float, seed: int) -> Floats:
    """Synthetic day-ahead price of the year, shape (35136,)."""
    rng = np.random.default_rng([_TAG, seed])
    shapes = {season: _shape(season) for season in SEASONS}
    season_of = {month: season for season, months in SEASONS.items() for month in months}
    shape = np.stack([shapes[season_of[date(day).month]] for day in range(DAYS)])
    mean = shape.mean(axis=1, keepdims=True)
    weekend = np.array([[date(day).weekday() >= 5] for day in range(DAYS)])
    normal = np.clip(rng.standard_normal((DAYS, 1)), -AMPLITUDE_CUT, AMPLITUDE_CUT)
    swing = spread * np.exp(AMPLITUDE_SD * normal)
    noise = rng.standard_normal(QUARTERS) * NOISE_SD_CT
    noise[1:] *= math.sqrt(1.0 - NOISE_COEFFICIENT**2)  # stationary from the first value on
    noise = lfilter([1.0], [1.0, -NOISE_COEFFICIENT], noise)
    spot_ct = mean * np.where(weekend, WEEKEND_LEVEL, 1.0) + swing * (shape - mean)
    return (spot_ct.ravel() + np.asarray(noise)) / 100.0


@lru_cache(maxsize=64)
def _synthetic(spread: float, export: str, seed: int) -> Prices:
    spot = _spot_eur_per_kwh(spread, seed)
    buy = FEES_EUR_PER_KWH + TAX_FACTOR * spot
    fixed = np.full_like(spot, EXPORT_FIXED_EUR_PER_KWH)
    sell = fixed if export == "fixed" else EXPORT_SPOT_SHARE * spot
    low = (buy <= 0.0) | (LOWEST_IMPORT_FACTOR * buy < sell)
    if low.any():
        raise ScenarioError(
            f"with spread={spread:g} the import price falls to {buy[low].min():.3f} EUR/kWh; "
            f"expected it positive and at least the export price / {LOWEST_IMPORT_FACTOR:g}. "
            "Use a spread of at most 1.2."
        )
    return Prices(
        buy, sell, f"synthetic day-ahead, spread {spread:g}, export {export}, seed {seed}"
    )


def synthetic_prices(spread: float = 1.0, export: str = "fixed", seed: int = 0) -> Prices:
    """A synthetic day-ahead tariff for 2016; the prices are invented.

    spot_t = level_d * mean + spread * amplitude_d * (shape_t - mean) + noise_t, where shape is
    the season's (switching with the calendar month), level_d is 0.85 at weekends and else 1,
    amplitude_d = exp(0.12 z_d) with z_d standard normal, cut off at +-2, and noise is
    autoregressive, n_t = 0.9 n_{t-1} + e_t, of stationary standard deviation 0.35 ct/kWh.
    import = 0.18 + 1.19 * spot; export = 0.07 or 0.95 * spot, EUR/kWh.

    Args:
        spread: Factor on the swing around the season's mean, >= 0; 1.2 is always safe.
        export: ``"fixed"`` or ``"spot"``.
        seed: Of the days' amplitudes and the noise, an integer >= 0.

    Returns:
        Prices that cover the whole year, import >= export / 0.8. Cached: same arguments, same
        object.

    Raises:
        ScenarioError: Unknown kind of export, or a spread or seed out of range.
    """
    if export not in EXPORTS:
        raise ScenarioError(f"export is {export!r}; expected one of {', '.join(EXPORTS)}.")
    number = as_index(seed)
    if number is None or number < 0:
        raise ScenarioError(f"seed is {seed!r}; expected an integer >= 0. Pass seed=0.")
    if not 0.0 <= spread < math.inf:
        raise ScenarioError(f"spread is {spread!r}; expected a number from 0 to 1.2.")
    return _synthetic(float(spread), export, number)
