"""Scores between uncontrolled (0) and optimal (100), with bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats

RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A mean and its interval, of 95 % where nothing else is said."""

    mean: float
    low: float
    high: float


def score(policy_eur: Floats, uncontrolled_eur: Floats, optimal_eur: Floats) -> float:
    """``100 * (uncontrolled - policy) / (uncontrolled - optimal)``: a ratio of sums.

    Args:
        policy_eur: Cost of each episode under the policy, shape (n,), EUR.
        uncontrolled_eur: Likewise with the nothing controlled.
        optimal_eur: Likewise under the exact optimum.

    Raises:
        ScenarioError: There is nothing to gain on these episodes.
    """
    worth = uncontrolled_eur.sum() - optimal_eur.sum()
    if not worth > 1e-9:
        raise ScenarioError(
            f"the optimum saves {worth:.2e} EUR over no control; expected flexibility that is "
            "worth something. Choose houses with a battery or a car."
        )
    return float(100.0 * (uncontrolled_eur.sum() - policy_eur.sum()) / worth)


def bootstrap(
    policy_eur: Floats, uncontrolled_eur: Floats, optimal_eur: Floats, seed: int = 0
) -> tuple[Interval, Interval]:
    """Mean cost (EUR per episode) and score, each with a 95 % interval over episodes.

    All three costs of an episode are resampled together, so what they share cancels.
    """
    rng = np.random.default_rng(seed)
    n = len(policy_eur)
    pick = rng.integers(n, size=(RESAMPLES, n))
    cost = policy_eur[pick].mean(axis=1)
    gain = (uncontrolled_eur - policy_eur)[pick].sum(axis=1)
    worth = (uncontrolled_eur - optimal_eur)[pick].sum(axis=1)
    scores = 100.0 * gain / np.where(worth > 1e-9, worth, np.nan)
    best = score(policy_eur, uncontrolled_eur, optimal_eur)
    ends = np.quantile(cost, [0.025, 0.975])
    score_ends = np.nanquantile(scores, [0.025, 0.975])
    return (
        Interval(float(policy_eur.mean()), float(ends[0]), float(ends[1])),
        Interval(best, float(score_ends[0]), float(score_ends[1])),
    )


def mean_interval(episodes: ArrayLike, seed: int = 0) -> Interval:
    """Mean of episodes with its 95 % bootstrap interval."""
    values = np.asarray(episodes, dtype=np.float64)
    rng = np.random.default_rng(seed)
    n = len(values)
    means = values[rng.integers(n, size=(RESAMPLES, n))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))


def normal_interval(episodes: ArrayLike, level: float = 0.95) -> Interval:
    """Mean of many independent episodes with the interval of its normal limit."""
    values = np.asarray(episodes, dtype=np.float64)
    half = _half_width(values, level)
    return Interval(float(values.mean()), float(values.mean() - half), float(values.mean() + half))


def paired_score(
    policy_eur: Floats, zero_eur: Floats, best_eur: Floats, level: float = 0.95
) -> Interval:
    """``100 * (policy - zero) / (best - zero)`` of earnings, a ratio of sums, of many episodes.

    The interval is that of the normal limit (delta method): what the three share in an episode
    cancels.

    Args:
        policy_eur: Earned in each episode under the policy, shape (n,), EUR.
        zero_eur: Likewise by what scores 0.
        best_eur: Likewise by what scores 100.
        level: Of the interval.

    Raises:
        ScenarioError: There is nothing to gain on these episodes.
    """
    gain, worth = policy_eur - zero_eur, best_eur - zero_eur
    if not worth.sum() > 1e-9:
        raise ScenarioError(
            f"the reference earns {worth.mean():.2e} EUR more than what scores 0; expected "
            "something to gain. Play more days, or take prices that differ between hours."
        )
    ratio = float(gain.sum() / worth.sum())
    half = _half_width(gain - ratio * worth, level) / worth.mean()
    return Interval(100.0 * ratio, 100.0 * (ratio - half), 100.0 * (ratio + half))


def _half_width(values: Floats, level: float) -> float:
    spread = float(values.std(ddof=1)) / float(np.sqrt(len(values)))
    return NormalDist().inv_cdf(0.5 + 0.5 * level) * spread
