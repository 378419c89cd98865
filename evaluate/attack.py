"""Guessing what a house keeps to itself from what it says: features, regression, errors.

The attacker sees numbers and has learned from other houses on other days what goes with them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.household.params import DT_H, STEPS_PER_DAY, Floats
from flexgym.evaluate.score import RESAMPLES, Interval

NEAR = 4
"""Breakpoints and slopes on either side of the best point that an attacker reads."""
SHARES = np.linspace(0.04, 0.96, 12)
"""Of the range of power: where slopes are read."""
PRICES_EUR_PER_KWH = np.arange(-0.10, 0.51, 0.04)
"""At which the menu's demand is read, beside those at and around zero and the public prices."""
_STEEPEST = 2.0
LEVEL = 0
"""Feature that holds the least cost of a menu; all others are differences."""
_SHORT = (0, 1, 2, 3)
"""Least cost, least, largest and best power: what is remembered of earlier menus."""
HARMONICS = 3
LAGS = (1, 4)
"""Periods back that an attacker with a memory compares with."""


def menu_features(menu: FlexibilityChart, buy: float, sell: float) -> Floats:
    """What is read off a menu in active power, shape (f,); see `LEVEL`.

    Args:
        menu: The menu.
        buy: Public import price now, EUR/kWh.
        sell: Public export price now, EUR/kWh.
    """
    x, y = menu.power_kw, menu.cost_eur
    at = int(np.argmin(y))
    slope = np.diff(y) / (DT_H * np.diff(x))
    around = np.array([0.0, sell, buy])
    asked = np.concatenate([PRICES_EUR_PER_KWH, around - 1e-6, around + 1e-6])
    # A house pays its price for power as long as that is worth it: demand where slopes cross.
    demand = x[np.searchsorted(slope, asked)]
    within = x[0] + SHARES * (x[-1] - x[0])
    if len(slope):
        read = slope[np.searchsorted(x, within).clip(1, len(slope)) - 1].clip(-_STEEPEST, _STEEPEST)
    else:
        read = np.zeros(len(SHARES))
    padded = np.concatenate([np.full(NEAR, x[0]), x, np.full(NEAR, x[-1])])
    near = padded[at : at + 2 * NEAR + 1] - x[at]
    ends = np.full(NEAR, -_STEEPEST), np.full(NEAR, _STEEPEST)
    slopes = np.concatenate([ends[0], slope.clip(-_STEEPEST, _STEEPEST), ends[1]])
    widest = np.sort(np.diff(x))[::-1][:2]
    longest = np.zeros(2)
    longest[: len(widest)] = widest
    return np.concatenate([
        [y[at], x[0], x[-1], x[at], len(x)],
        demand, read, near[:NEAR], near[NEAR + 1 :], slopes[at : at + 2 * NEAR], longest,
    ])  # fmt: skip


def public_features(buy: Floats, sell: Floats, sun: Floats) -> Floats:
    """What everybody knows, shape (T, p): time of day, prices and sunshine.

    Args:
        buy: Import price, shape (T,), EUR/kWh.
        sell: Export price, likewise.
        sun: PV of the neighbourhood as share of its rating, shape (T,).
    """
    angle = 2.0 * np.pi * np.arange(STEPS_PER_DAY) / STEPS_PER_DAY
    waves = [f(k * angle) for k in range(1, HARMONICS + 1) for f in (np.sin, np.cos)]
    return np.column_stack([*waves, buy, sell, sun])


def meter_features(power_kw: Floats) -> Floats:
    """What a meter tells over the day, shape (T, H, m): power now and before, energy so far.

    Args:
        power_kw: Shape (T, H), kW.
    """
    return np.stack([power_kw, *_before(power_kw), DT_H * np.cumsum(power_kw, axis=0)], axis=2)


def memory_features(menus: Floats, power_kw: Floats) -> Floats:
    """What the menus and answers of the day so far tell, shape (T, H, m).

    Args:
        menus: Features of menus, shape (T, H, f).
        power_kw: What the houses were asked for, shape (T, H), kW.
    """
    short = menus[:, :, _SHORT]
    so_far = np.maximum.accumulate(short, axis=0), np.minimum.accumulate(short, axis=0)
    asked = np.stack([*_before(power_kw), DT_H * (np.cumsum(power_kw, 0) - power_kw)], axis=2)
    return np.concatenate([*so_far, *_before(menus), asked], axis=2)


def _before(values: Floats) -> list[Floats]:
    """Values of earlier periods; those before the day are its first."""
    return [np.concatenate([values[:1].repeat(k, axis=0), values[:-k]]) for k in LAGS]


class Attacker:
    """Ridge regression on what is seen and on random hinges of it.

    Each of the hinges, ``max(0, w'x + b)``, looks at up to three features, so that together they
    follow kinks and products much as trees do. The penalty is that which does best, for each
    target, on days that were held out.

    Args:
        seen: Shape (n, f).
        private: Targets, shape (n, m).
        day: Which day each row is from, shape (n,); at least two.
        hinges: How many.
        seed: Of hinges and held-out days.
    """

    PENALTIES = np.logspace(-6.0, 1.0, 15)
    """Times the mean square of the regressors."""
    HELD = 4
    """One day of so many is held out to choose the penalty."""

    def __init__(
        self,
        seen: Floats,
        private: Floats,
        day: NDArray[np.int_],
        hinges: int = 600,
        seed: int = 0,
    ) -> None:
        rng = np.random.default_rng(seed)
        self._centre = seen.mean(axis=0)
        spread = seen.std(axis=0)
        self._scale = np.where(spread > 1e-9, spread, 1.0)
        known = self._standard(seen)
        self._weights = np.zeros((known.shape[1], hinges))
        for column in self._weights.T:
            chosen = rng.choice(len(column), min(int(rng.integers(1, 4)), len(column)), False)
            column[chosen] = rng.normal(size=len(chosen))
        at = rng.integers(len(known), size=hinges)
        self._bias = -np.einsum("ij,ji->i", known[at], self._weights)
        self._lowest, self._highest = private.min(axis=0), private.max(axis=0)

        self._mean, self._usual = np.zeros(known.shape[1] + hinges), private.mean(axis=0)
        self._mean = self._regressors(seen).mean(axis=0)
        z, y = self._regressors(seen), private - self._usual
        days = rng.permutation(np.unique(day))
        held = np.isin(day, days[: max(1, len(days) // self.HELD)])
        rest = z[~held].T @ z[~held], z[~held].T @ y[~held]
        errors = np.stack([
            ((z[held] @ b - y[held]) ** 2).sum(axis=0) for b in _ridge(*rest, self.PENALTIES)
        ])  # fmt: skip
        best = errors.argmin(axis=0)
        whole = rest[0] + z[held].T @ z[held], rest[1] + z[held].T @ y[held]
        found = np.stack(_ridge(*whole, self.PENALTIES))
        self._coefficients = found[best, :, np.arange(y.shape[1])].T

    def guess(self, seen: Floats) -> Floats:
        """Targets guessed, shape (n, m): within what was ever learned from."""
        found = self._usual + self._regressors(seen) @ self._coefficients
        return found.clip(self._lowest, self._highest)

    def _standard(self, seen: Floats) -> Floats:
        return ((seen - self._centre) / self._scale).clip(-5.0, 5.0)

    def _regressors(self, seen: Floats) -> Floats:
        known = self._standard(seen)
        hinges = np.maximum(known @ self._weights + self._bias, 0.0)
        return np.column_stack([known, hinges]) - self._mean


def _ridge(gram: Floats, moment: Floats, penalties: Floats) -> list[Floats]:
    """Coefficients (f, m) under each penalty, from ``Z'Z`` and ``Z'y``."""
    scale = np.sqrt(np.maximum(np.diag(gram), 1e-12))
    root, axes = np.linalg.eigh(gram / np.outer(scale, scale))
    turned = axes.T @ (moment / scale[:, None])
    return [(axes @ (turned / (root.clip(0.0) + p)[:, None])) / scale[:, None] for p in penalties]


@dataclass(frozen=True)
class Found:
    """How well a target was guessed.

    Attributes:
        rmse: Root of the mean square error, in the target's unit, with its 95 % interval.
        r2: Share of the target's variance that the guesses explain; 0 is its mean.
    """

    rmse: Interval
    r2: Interval


def errors(guess: Floats, truth: Floats, seed: int = 0) -> Found:
    """Errors of guesses over days, shape (days, n) each; intervals resample days."""
    sums = np.stack([
        np.full(len(truth), float(truth.shape[1])),
        ((guess - truth) ** 2).sum(axis=1), truth.sum(axis=1), (truth**2).sum(axis=1),
    ])  # fmt: skip
    rng = np.random.default_rng(seed)
    pick = rng.integers(len(truth), size=(RESAMPLES, len(truth)))
    whole, again = _scores(sums.sum(axis=1)), _scores(sums[:, pick].sum(axis=2))
    intervals = [
        Interval(float(value), *(float(end) for end in np.quantile(drawn, [0.025, 0.975])))
        for value, drawn in zip(whole, again, strict=True)
    ]
    return Found(*intervals)


def _scores(sums: Floats) -> tuple[Floats, Floats]:
    n, squares, total, power = sums
    variance = power - total**2 / n
    return np.sqrt(squares / n), 1.0 - squares / np.maximum(variance, 1e-12)
