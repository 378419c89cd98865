"""Prices as their forecasts see them: a finite Markov chain of forecast signals.

In every period a signal is observed before anybody decides. The expected price of this and of
every later period follows from it, so point forecasts are conditional expectations and their
updates a martingale by construction. Finite chains have exact optima by dynamic programming.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats
from flexgym.envs.uncertainty import MarkovChain

_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class SignalProcess:
    """Signals s_0, s_1, ... and the prices they stand for.

    Attributes:
        initial: Probability of each signal in period 0, shape (n,).
        transition: Probability of going from signal (row) to signal (column) between periods
            t and t + 1, shape (T - 1, n, n); one matrix (n, n) is used throughout.
        price_eur_per_kwh: Expected price of a period given its signal, shape (T, n), EUR/kWh;
            may be negative.
        noise_eur_per_kwh: What the price may add to that, shape (m,), EUR/kWh, of mean zero;
            drawn anew in every period and seen only after the decision. (0,) is a price that
            the signal reveals.
        noise_probabilities: Their probabilities, shape (m,).

    Raises:
        ScenarioError: Shapes differ, numbers are not finite, or probabilities are none.
    """

    initial: Floats
    transition: Floats
    price_eur_per_kwh: Floats
    noise_eur_per_kwh: Floats = (0.0,)  # type: ignore[assignment]
    noise_probabilities: Floats = (1.0,)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            try:
                array = np.array(getattr(self, name), dtype=np.float64)
            except (TypeError, ValueError):
                raise ScenarioError(f"{name} is no array of numbers.") from None
            if not np.isfinite(array).all():
                raise ScenarioError(f"{name} is not finite throughout; expected numbers.")
            object.__setattr__(self, name, array)
        price, n = self.price_eur_per_kwh, self.initial.size
        if price.ndim != 2 or price.shape[0] < 1 or self.initial.shape != price.shape[1:] or n < 1:
            raise ScenarioError(
                f"price_eur_per_kwh has shape {price.shape} and initial {self.initial.shape}; "
                "expected (periods, signals) and (signals,)."
            )
        steps = (len(price) - 1, n, n)
        if self.transition.shape == (n, n):
            object.__setattr__(self, "transition", np.tile(self.transition, (steps[0], 1, 1)))
        if self.transition.shape != steps:
            raise ScenarioError(
                f"transition has shape {self.transition.shape}; expected {steps} or {(n, n)}."
            )
        for name in ("initial", "transition", "noise_probabilities"):
            chance = getattr(self, name)
            if chance.size and not (
                (chance >= 0).all() and np.abs(chance.sum(axis=-1) - 1.0).max() <= _ROUNDING
            ):
                raise ScenarioError(f"{name} must be >= 0 and add up to 1 (in every row).")
        noise = self.noise_eur_per_kwh
        if noise.ndim != 1 or noise.shape != self.noise_probabilities.shape or noise.size < 1:
            raise ScenarioError(
                f"noise_eur_per_kwh has shape {noise.shape} and noise_probabilities "
                f"{self.noise_probabilities.shape}; expected one probability for each value."
            )
        if abs(noise @ self.noise_probabilities) > _ROUNDING * max(1.0, np.abs(noise).max()):
            raise ScenarioError(
                f"noise_eur_per_kwh has the mean {noise @ self.noise_probabilities:g}; expected 0. "
                "Put it into price_eur_per_kwh."
            )
        for name in self.__dataclass_fields__:
            getattr(self, name).setflags(write=False)

    @classmethod
    def known(cls, price_eur_per_kwh: ArrayLike) -> SignalProcess:
        """Prices that are known in advance, shape (T,)."""
        price = np.asarray(price_eur_per_kwh, dtype=np.float64)
        return cls(np.ones(1), np.ones((1, 1)), price.reshape(-1, 1))

    @classmethod
    def independent(cls, price_eur_per_kwh: ArrayLike, probabilities: ArrayLike) -> SignalProcess:
        """Signals that say nothing of later ones: prices (T, n), probabilities (n,) or (T, n)."""
        price = np.asarray(price_eur_per_kwh, dtype=np.float64)
        chance = np.broadcast_to(np.asarray(probabilities, dtype=np.float64), price.shape)
        n = price.shape[-1]
        return cls(chance[0], np.repeat(chance[1:, None, :], n, axis=1), price)

    @classmethod
    def scaled(cls, price_eur_per_kwh: ArrayLike, chain: MarkovChain) -> SignalProcess:
        """A forecast curve (T,) times the factors of a chain that begins stationary."""
        price = np.asarray(price_eur_per_kwh, dtype=np.float64)
        return cls(chain.stationary, chain.matrix, price[:, None] * np.asarray(chain.factors))

    @classmethod
    def autoregressive(
        cls, price_eur_per_kwh: ArrayLike, persistence: float, sd_eur_per_kwh: float, n: int = 9
    ) -> SignalProcess:
        """A curve (T,) plus a stationary x_t = persistence * x_{t-1} + e_t in n values.

        Rouwenhorst's chain: its conditional mean, stationary deviation and autocorrelation are
        those of the autoregression exactly, so the error of a forecast k periods ahead has the
        variance ``sd**2 * (1 - persistence**(2 * k))``.

        Args:
            price_eur_per_kwh: Mean price of each period.
            persistence: Autocorrelation of one period, in [0, 1].
            sd_eur_per_kwh: Stationary standard deviation, EUR/kWh, >= 0.
            n: Number of values, at least 2.
        """
        if not (0.0 <= persistence <= 1.0 and sd_eur_per_kwh >= 0.0 and n >= 2):
            raise ScenarioError(
                f"persistence is {persistence}, sd_eur_per_kwh {sd_eur_per_kwh}, n {n}; expected "
                "a number in [0, 1], one >= 0 and at least 2."
            )
        stay = 0.5 * (1.0 + persistence)
        matrix = np.array([[stay, 1.0 - stay], [1.0 - stay, stay]])
        for k in range(3, n + 1):
            grown = np.zeros((k, k))
            grown[:-1, :-1] += stay * matrix
            grown[:-1, 1:] += (1.0 - stay) * matrix
            grown[1:, :-1] += (1.0 - stay) * matrix
            grown[1:, 1:] += stay * matrix
            grown[1:-1] /= 2.0
            matrix = grown
        matrix /= matrix.sum(axis=1, keepdims=True)
        # The stationary distribution is binomial, whatever the persistence.
        initial = np.array([1.0])
        for _ in range(n - 1):
            initial = np.convolve(initial, [0.5, 0.5])
        level = np.linspace(-1.0, 1.0, n) * sd_eur_per_kwh * np.sqrt(n - 1)
        price = np.asarray(price_eur_per_kwh, dtype=np.float64)
        return cls(initial / initial.sum(), matrix, price[:, None] + level)

    @property
    def periods(self) -> int:
        """Number of periods, T."""
        return len(self.price_eur_per_kwh)

    @property
    def signals(self) -> int:
        """Number of signals, n."""
        return len(self.initial)

    @cached_property
    def forecasts(self) -> Floats:
        """Expected price of period u given the signal of period t, shape (T, n, T), EUR/kWh.

        NaN for the past, u < t.
        """
        T, n = self.price_eur_per_kwh.shape
        out = np.full((T, n, T), np.nan)
        for t in reversed(range(T)):
            if t + 1 < T:
                out[t, :, t + 1 :] = self.transition[t] @ out[t + 1, :, t + 1 :]
            out[t, :, t] = self.price_eur_per_kwh[t]
        out.setflags(write=False)
        return out

    @cached_property
    def marginal(self) -> Floats:
        """Probability of each signal in each period, seen from before period 0, shape (T, n)."""
        rows = [self.initial]
        for step in self.transition:
            rows.append(rows[-1] @ step)
        return np.array(rows)

    def draw(self, uniform: Floats) -> NDArray[np.int64]:
        """Paths of signals by inversion, so that equal draws give equal paths.

        Args:
            uniform: Draws from [0, 1), shape (..., T).

        Returns:
            Shape (..., T).
        """
        out = np.empty(uniform.shape, dtype=np.int64)
        out[..., 0] = _position(np.cumsum(self.initial), uniform[..., 0])
        steps = np.cumsum(self.transition, axis=-1)
        for t in range(1, self.periods):
            out[..., t] = _position(steps[t - 1][out[..., t - 1]], uniform[..., t])
        return out

    def prices(self, signal: NDArray[np.int64], uniform: Floats) -> Floats:
        """Realised prices along paths of signals, EUR/kWh.

        Args:
            signal: Signals, shape (..., T).
            uniform: Draws from [0, 1) for the noise, shape (..., T).

        Returns:
            Shape (..., T).
        """
        expected = self.price_eur_per_kwh[np.arange(self.periods), signal]
        return expected + self.noise(uniform)

    def noise(self, uniform: Floats) -> Floats:
        """What prices add to their expectation, of the shape of the draws, EUR/kWh."""
        which = _position(np.cumsum(self.noise_probabilities), uniform)
        return self.noise_eur_per_kwh[which]


def _position(cumulated: Floats, uniform: Floats) -> NDArray[np.int64]:
    """First entry of ``cumulated`` (..., n) above ``uniform`` (...); the last if rounding errs."""
    return np.minimum((cumulated <= uniform[..., None]).sum(axis=-1), cumulated.shape[-1] - 1)
