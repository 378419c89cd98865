"""What a record says of forecast errors and updates, lead time by lead time.

The tests of the martingale property are standard ones, not the source's. If forecasts are
conditional expectations, the updates issued in a period have mean zero given all that was known
before. Each test is a robust z statistic, sum(w) / sqrt(sum(w**2)) with w the update itself, or
the product of two deviations from their means: the update with the one of the same lead time
issued a period before ("serial"), and with the one before of the same target ("revision", the
efficiency test of Nordhaus, 1987, Review of Economics and Statistics 69(4)). It holds when
variances change with the hour of the day.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from flexgym.envs.data.calendar import as_index
from flexgym.envs.errors import ForecastError
from flexgym.envs.forecasts.record import ForecastRecord
from flexgym.envs.forecasts.updates import by_issue, without_rounding
from flexgym.envs.household.params import Floats
from flexgym.envs.quantity import as_floats

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FEWEST_ISSUES = 30
"""Periods in which updates of all lead times must have been issued."""


@dataclass(frozen=True, eq=False)
class Spread:
    """Distribution of a quantity by lead time, EUR/kWh.

    Attributes:
        mean: Shape (K,).
        sd: Standard deviation around the mean, shape (K,).
        quantiles: At `QUANTILES`, shape (5, K).
    """

    mean: Floats
    sd: Floats
    quantiles: Floats

    @classmethod
    def of(cls, values: Floats) -> Spread:
        """Of a sample, shape (n, K)."""
        sd = without_rounding(values.std(axis=0), float(np.abs(values).max()))
        return cls(values.mean(axis=0), sd, np.quantile(values, QUANTILES, axis=0))


@dataclass(frozen=True, eq=False)
class MartingaleTest:
    """Robust z statistics of updates; each is standard normal for a martingale.

    Attributes:
        mean_z: Of the mean of u_{t,k}, shape (K,).
        serial_correlation: Of u issued a period apart with the same lead time, shape (K,).
        serial_z: Its statistic, shape (K,).
        revision_correlation: Of u_{t,k} with u_{t,k+1}, shape (K - 1,).
        revision_z: Its statistic, shape (K - 1,).
    """

    mean_z: Floats
    serial_correlation: Floats
    serial_z: Floats
    revision_correlation: Floats
    revision_z: Floats

    @property
    def p_value(self) -> float:
        """Chance that a martingale has a statistic as large as the largest (Bonferroni)."""
        z = np.abs(np.concatenate([self.mean_z, self.serial_z, self.revision_z]))
        return float(min(1.0, 2.0 * z.size * ndtr(-z.max())))


@dataclass(frozen=True, eq=False)
class ForecastStatistics:
    """Estimates from a record of T hours with lead times up to K.

    Attributes:
        periods: T.
        leads: K.
        price_mean_eur_per_kwh: Mean of the realised prices.
        price_sd_eur_per_kwh: Their standard deviation.
        error: Errors e_{t,k}; entry k - 1 has lead time k = 1..K.
        update: Updates u_{t,k}; entry k turns the forecast k + 1 hours ahead into the one k
            hours ahead, k = 0..K-1.
        update_covariance: Covariance of updates issued together, u_{s+j,j} and u_{s+k,k}, around
            their means, shape (K, K), (EUR/kWh)^2.
        martingale: Tests of the updates.
    """

    periods: int
    leads: int
    price_mean_eur_per_kwh: float
    price_sd_eur_per_kwh: float
    error: Spread
    update: Spread
    update_covariance: Floats
    martingale: MartingaleTest


def estimate(record: ForecastRecord) -> ForecastStatistics:
    """Estimate the distributions of errors and updates.

    Raises:
        ForecastError: The record is too short.
    """
    issued, u = whole_issues(record), record.update_eur_per_kwh
    deviation = issued - issued.mean(axis=0)
    price = record.price_eur_per_kwh
    return ForecastStatistics(
        record.periods,
        record.leads,
        float(price.mean()),
        float(price.std()),
        Spread.of(record.error_eur_per_kwh[:, 1:]),
        Spread.of(u),
        deviation.T @ deviation / len(issued),
        _martingale(u),
    )


def whole_issues(record: ForecastRecord) -> Floats:
    """Updates issued together, shape (T - K + 1, K), of a record that is long enough.

    Raises:
        ForecastError: The record is too short.
    """
    if not isinstance(record, ForecastRecord):
        raise ForecastError(f"record is {type(record).__name__}; expected a ForecastRecord.")
    if record.periods < record.leads + FEWEST_ISSUES - 1:
        raise ForecastError(
            f"the record has {record.periods} hours with {record.leads} lead times; expected "
            f"{record.leads + FEWEST_ISSUES - 1} hours at least. Use a longer file or fewer lead "
            "times."
        )
    return by_issue(record.update_eur_per_kwh)


def _martingale(u: Floats) -> MartingaleTest:
    centred = without_rounding(u - u.mean(axis=0), float(np.abs(u).max()))
    serial, serial_z = _correlation(centred[:-1], centred[1:])
    revision, revision_z = _correlation(centred[:, :-1], centred[:, 1:])
    return MartingaleTest(_robust_z(u), serial, serial_z, revision, revision_z)


def _correlation(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Correlations of columns of mean zero, and their robust z statistics."""
    size = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return _ratio((a * b).sum(axis=0), size), _robust_z(a * b)


def _robust_z(w: Floats) -> Floats:
    return _ratio(w.sum(axis=0), np.sqrt((w**2).sum(axis=0)))


def _ratio(above: Floats, below: Floats) -> Floats:
    """Above / below, and 0 where nothing varies."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0.0)


def histogram(values: ArrayLike, bins: int = 40) -> tuple[Floats, NDArray[np.int64]]:
    """Counts of each column of a sample in bins that all columns share.

    Args:
        values: Sample, shape (n,) or (n, K), finite.
        bins: Number of bins between the smallest and the largest value, at least 1.

    Returns:
        Edges, shape (bins + 1,), and counts, shape (K, bins); the counts of a column add up to n.

    Raises:
        ForecastError: Nothing to count, numbers that are not finite, or no bin.
    """
    array = as_floats(values, "values", ForecastError)
    number = as_index(bins)
    if (
        array.ndim not in (1, 2)
        or not array.size
        or not np.isfinite(array).all()
        or number is None
        or number < 1
    ):
        raise ForecastError(
            f"values have shape {array.shape}, bins is {bins!r}; expected finite numbers and at "
            "least one bin."
        )
    edges = np.histogram_bin_edges(array, number)
    columns = array.reshape(len(array), -1).T
    counts = np.array([np.histogram(column, edges)[0] for column in columns])
    return edges, counts
