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

from flexgym.envs.compiled import compiled
from flexgym.envs.data.calendar import as_index
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats
from flexgym.envs.quantity import as_floats, is_number
from flexgym.envs.uncertainty import MarkovChain

_ROUNDING = 1e-9
MOST_VALUES = 1000
MOST_EUR_PER_KWH = 1e4
"""Prices and noise are at most this large either way: beyond, it is no price of energy."""


@dataclass(frozen=True, eq=False)
class SignalProcess:
    """Signals s_0, s_1, ... and the prices they stand for.

    Attributes:
        initial: Probability of each signal in period 0, shape (n,).
        transition: Probability of going from signal (row) to signal (column) between periods
            t and t + 1, shape (T - 1, n, n); one matrix (n, n) is used throughout.
        price_eur_per_kwh: Expected price of a period given its signal, shape (T, n), EUR/kWh;
            may be negative, at most 10000 either way.
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
            array = as_floats(getattr(self, name), name, ScenarioError)
            if not np.isfinite(array).all():
                raise ScenarioError(f"{name} is not finite throughout; expected numbers.")
            if array.size and np.abs(array).max() > MOST_EUR_PER_KWH:
                raise ScenarioError(
                    f"{name} holds {array.flat[np.argmax(np.abs(array))]:g}; expected at most "
                    f"{MOST_EUR_PER_KWH:g} either way. Give prices in EUR/kWh."
                )
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
        return cls(np.ones(1), np.ones((1, 1)), _curve(price_eur_per_kwh)[:, None])

    @classmethod
    def independent(cls, price_eur_per_kwh: ArrayLike, probabilities: ArrayLike) -> SignalProcess:
        """Signals that say nothing of later ones: prices (T, n), probabilities (n,) or (T, n)."""
        price = as_floats(price_eur_per_kwh, "price_eur_per_kwh", ScenarioError)
        chance = as_floats(probabilities, "probabilities", ScenarioError)
        if price.ndim != 2 or not price.size or chance.shape not in (price.shape, price.shape[1:]):
            raise ScenarioError(
                f"price_eur_per_kwh has shape {price.shape} and probabilities {chance.shape}; "
                "expected (T, n) and (n,) or (T, n)."
            )
        chance, n = np.broadcast_to(chance, price.shape), price.shape[1]
        return cls(chance[0], np.repeat(chance[1:, None, :], n, axis=1), price)

    @classmethod
    def scaled(cls, price_eur_per_kwh: ArrayLike, chain: MarkovChain) -> SignalProcess:
        """A forecast curve (T,) times the factors of a chain that begins stationary."""
        if not isinstance(chain, MarkovChain):
            raise ScenarioError(f"chain is {chain!r}; expected a flexgym MarkovChain.")
        price = _curve(price_eur_per_kwh)[:, None] * np.asarray(chain.factors)
        return cls(chain.stationary, chain.matrix, price)

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
            n: Number of values, 2 to 1000.

        Raises:
            ScenarioError: A number is out of range, or the curve none.
        """
        count, sd = as_index(n), sd_eur_per_kwh
        numbers = is_number(persistence, 0.0, 1.0) and is_number(sd, 0.0, MOST_EUR_PER_KWH)
        if not numbers or count is None or not 2 <= count <= MOST_VALUES:
            raise ScenarioError(
                f"persistence is {persistence!r}, sd_eur_per_kwh {sd_eur_per_kwh!r}, n {n!r}; "
                f"expected a number in [0, 1], one in [0, {MOST_EUR_PER_KWH:g}] and an integer "
                f"from 2 to {MOST_VALUES}."
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
        return cls(initial / initial.sum(), matrix, _curve(price_eur_per_kwh)[:, None] + level)

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
        out = conditional_means(self.price_eur_per_kwh, self.transition, np.nan)
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
        steps = np.cumsum(self.transition, axis=-1)
        rows = np.ascontiguousarray(uniform, dtype=np.float64).reshape(-1, self.periods)
        _fill_paths(np.cumsum(self.initial), steps, rows, out.reshape(-1, self.periods))
        return out

    def noise(self, uniform: Floats) -> Floats:
        """What prices add to their expectation, of the shape of the draws, EUR/kWh."""
        which = _position(np.cumsum(self.noise_probabilities), uniform)
        return self.noise_eur_per_kwh[which]


def conditional_means(price_eur_per_kwh: Floats, transition: Floats, past: float) -> Floats:
    """Expected price of period u given the signal of period t, of one process or alike ones.

    Args:
        price_eur_per_kwh: Shape (..., T, n); leading axes are processes of one chain.
        transition: Shape (T - 1, n, n).
        past: What stands where u < t.

    Returns:
        Shape (..., T, n, T), axes t, signal, u; EUR/kWh.
    """
    T, n = price_eur_per_kwh.shape[-2:]
    out = np.full((*price_eur_per_kwh.shape[:-2], T, n, T), past)
    for t in reversed(range(T)):
        if t + 1 < T:
            out[..., t, :, t + 1 :] = transition[t] @ out[..., t + 1, :, t + 1 :]
        out[..., t, :, t] = price_eur_per_kwh[..., t, :]
    return out


def _curve(price_eur_per_kwh: ArrayLike) -> Floats:
    """One price a period, shape (T,), or `ScenarioError`."""
    price = as_floats(price_eur_per_kwh, "price_eur_per_kwh", ScenarioError)
    if price.ndim != 1 or not price.size:
        raise ScenarioError(
            f"price_eur_per_kwh has shape {price.shape}; expected (T,), one number a period."
        )
    return price


def _position(cumulated: Floats, uniform: Floats) -> NDArray[np.int64]:
    """First entry of ``cumulated`` (..., n) above ``uniform`` (...); the last if rounding errs."""
    return np.minimum((cumulated <= uniform[..., None]).sum(axis=-1), cumulated.shape[-1] - 1)


@compiled
def _fill_paths(first, steps, uniform, out):
    """Paths of signals, shape (m, T), from cumulated probabilities (n,) and (T - 1, n, n)."""
    last = len(first) - 1
    for i in range(len(uniform)):
        s = 0
        for t in range(uniform.shape[1]):
            share = first if t == 0 else steps[t - 1, s]
            k = 0
            while k < last and share[k] <= uniform[i, t]:
                k += 1
            out[i, t] = s = k
