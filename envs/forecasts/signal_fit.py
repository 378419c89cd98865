"""From estimated forecasts to a finite chain of signals, on which optima are exact.

`SignalProcess.autoregressive` has forecasts whose error k periods ahead has the variance
sd^2 (1 - persistence^(2 k)). Persistence and sd are fitted to the estimated standard deviations
of errors by least squares over the lead times. The fit is ours; the source names no process.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from flexgym.envs.forecasts.estimate import ForecastStatistics
from flexgym.envs.forecasts.signals import SignalProcess
from flexgym.envs.household.params import Floats

_MOST_PERSISTENCE = 0.999
"""Beyond it an autoregression is a random walk over any horizon of hours, and sd grows with it."""
_GRID = 200


@dataclass(frozen=True, eq=False)
class SignalFit:
    """An autoregression fitted to forecast errors.

    Attributes:
        persistence: Autocorrelation of one period, 0 to 0.999.
        sd_eur_per_kwh: Stationary standard deviation, EUR/kWh.
        error_sd_eur_per_kwh: Estimated standard deviation of the error, lead times 1..K, (K,).
    """

    persistence: float
    sd_eur_per_kwh: float
    error_sd_eur_per_kwh: Floats

    @property
    def fitted_sd_eur_per_kwh(self) -> Floats:
        """What the autoregression gives for it, shape (K,)."""
        return self.sd_eur_per_kwh * _shape(self.persistence, len(self.error_sd_eur_per_kwh))

    @property
    def misfit(self) -> float:
        """Root mean square of fitted minus estimated, over that of the estimated; 0 is perfect."""
        size = float(np.linalg.norm(self.error_sd_eur_per_kwh))
        apart = np.linalg.norm(self.fitted_sd_eur_per_kwh - self.error_sd_eur_per_kwh)
        return float(apart) / size if size > 0.0 else 0.0

    def process(self, price_eur_per_kwh: ArrayLike, n: int = 9) -> SignalProcess:
        """The chain around a curve of mean prices, shape (T,), with ``n`` values of the signal.

        Raises:
            ScenarioError: Bad prices, or ``n`` below 2.
        """
        return SignalProcess.autoregressive(
            price_eur_per_kwh, self.persistence, self.sd_eur_per_kwh, n
        )


def fit_signals(statistics: ForecastStatistics) -> SignalFit:
    """Fit persistence and deviation to the errors by lead time.

    One lead time does not tell the two apart, nor do forecasts without errors: the fit then has
    persistence 0.
    """
    sd = statistics.error.sd
    K = len(sd)

    def scale(persistence: float) -> float:
        shape = _shape(persistence, K)
        return float(shape @ sd / (shape @ shape))

    def loss(persistence: float) -> float:
        return float(((scale(persistence) * _shape(persistence, K) - sd) ** 2).sum())

    if K == 1 or not sd.any():
        return SignalFit(0.0, scale(0.0), sd)
    grid = np.linspace(0.0, _MOST_PERSISTENCE, _GRID)
    best = int(np.argmin([loss(r) for r in grid]))
    around = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, _GRID - 1)])
    found = minimize_scalar(loss, bounds=around, method="bounded", options={"xatol": 1e-10})
    # The bounded search never tries its own ends.
    persistence = min((float(found.x), float(grid[best])), key=loss)  # type: ignore[attr-defined]
    return SignalFit(persistence, scale(persistence), sd)


def _shape(persistence: float, K: int) -> Floats:
    """Error's standard deviation over the stationary one, lead times 1..K."""
    return np.sqrt(1.0 - persistence ** (2.0 * np.arange(1, K + 1)))
