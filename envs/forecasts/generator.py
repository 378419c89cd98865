"""Forecasts that are revised as a record's were: the martingale model of forecast evolution.

In every period one vector of updates is drawn, one entry for each lead time, independent of all
vectors before: Heath and Jackson (1994), IIE Transactions 26(3). Updates issued together keep
their joint distribution; what a record's updates have in common with earlier ones is lost, as it
must be for a martingale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from flexgym.envs.data.calendar import as_index
from flexgym.envs.errors import ForecastError
from flexgym.envs.forecasts.estimate import whole_issues
from flexgym.envs.forecasts.record import ForecastRecord
from flexgym.envs.forecasts.updates import by_delivery, forecasts_from_updates
from flexgym.envs.household.params import Floats
from flexgym.envs.quantity import as_floats

KINDS = ("bootstrap", "gaussian")


@dataclass(frozen=True, eq=False)
class ForecastGenerator:
    """Draws tables of forecasts and what becomes of them.

    Attributes:
        vectors_eur_per_kwh: Updates issued together, shape (n, K): one vector is drawn a period.
        kind: ``"bootstrap"`` draws whole vectors as they are; ``"gaussian"`` draws normal ones of
            the same mean and covariance.

    Raises:
        ForecastError: Vectors are no finite numbers, or an unknown kind.
    """

    vectors_eur_per_kwh: Floats
    kind: str = "bootstrap"

    def __post_init__(self) -> None:
        array = as_floats(self.vectors_eur_per_kwh, "vectors_eur_per_kwh", ForecastError)
        if array.ndim != 2 or not array.size or not np.isfinite(array).all():
            raise ForecastError(
                f"vectors_eur_per_kwh has shape {array.shape}; expected finite numbers, shape "
                "(n, lead times). Take them from a record."
            )
        if self.kind not in KINDS:
            raise ForecastError(f"kind is {self.kind!r}; expected one of {', '.join(KINDS)}.")
        array.setflags(write=False)
        object.__setattr__(self, "vectors_eur_per_kwh", array)

    @classmethod
    def of(
        cls, record: ForecastRecord, kind: str = "bootstrap", *, keep_bias: bool = False
    ) -> ForecastGenerator:
        """A generator with a record's statistics.

        Args:
            record: Where updates are taken from.
            kind: As above.
            keep_bias: Whether updates keep their mean. Without it they have mean zero and the
                forecasts are a martingale.

        Raises:
            ForecastError: The record is too short, or an unknown kind.
        """
        vectors = whole_issues(record)
        return cls(vectors if keep_bias else vectors - vectors.mean(axis=0), kind)

    @property
    def leads(self) -> int:
        """Longest lead time, K."""
        return self.vectors_eur_per_kwh.shape[1]

    @property
    def covariance(self) -> Floats:
        """Covariance of updates issued together, shape (K, K), (EUR/kWh)^2."""
        deviation = self.vectors_eur_per_kwh - self.vectors_eur_per_kwh.mean(axis=0)
        return deviation.T @ deviation / len(deviation)

    @property
    def error_sd_eur_per_kwh(self) -> Floats:
        """Standard deviation of the error k = 1..K periods ahead, shape (K,): updates add up."""
        return np.sqrt(np.cumsum(self.vectors_eur_per_kwh.var(axis=0)))

    def draw(
        self,
        earliest_eur_per_kwh: ArrayLike,
        rng: np.random.Generator,
        size: int | None = None,
    ) -> Floats:
        """Draw forecast tables; column 0 holds the realised prices, which may be negative.

        Args:
            earliest_eur_per_kwh: Forecast of each period K periods before, shape (T,), EUR/kWh;
                a record's `daily_curve_eur_per_kwh` is one.
            rng: Where randomness comes from.
            size: Number of tables, or None for one without a leading axis.

        Returns:
            Shape (T, K + 1) or (size, T, K + 1), EUR/kWh.

        Raises:
            ForecastError: Bad forecasts, size or generator of random numbers.
        """
        if not callable(getattr(rng, "integers", None)):
            raise ForecastError(
                f"rng is {rng!r}; expected a numpy Generator. Pass np.random.default_rng(seed)."
            )
        first = as_floats(earliest_eur_per_kwh, "earliest_eur_per_kwh", ForecastError)
        count = 1 if size is None else as_index(size)
        if first.ndim != 1 or not first.size or count is None or count < 0:
            raise ForecastError(
                f"earliest_eur_per_kwh has shape {first.shape} and size is {size!r}; expected one "
                "number a period and an integer >= 0."
            )
        shape = (count, first.size + self.leads - 1)
        if self.kind == "bootstrap":
            issued = self.vectors_eur_per_kwh[
                rng.integers(len(self.vectors_eur_per_kwh), size=shape)
            ]
        else:
            value, vector = np.linalg.eigh(self.covariance)
            root = vector * np.sqrt(np.clip(value, 0.0, None))
            issued = rng.standard_normal((*shape, self.leads)) @ root.T
            issued += self.vectors_eur_per_kwh.mean(axis=0)
        table = forecasts_from_updates(first, by_delivery(issued))
        return table[0] if size is None else table
