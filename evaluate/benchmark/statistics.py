"""Statistics of the benchmark: interquartile mean, stratified bootstrap, chance to be better.

After Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice,
NeurIPS 2021 (arXiv:2108.13264), whose tasks are here groups of episodes: a single day may hold
nothing to gain, a group does. One difference: a trained network plays all groups, so a resample
draws its seeds once for all of them; they draw seeds task by task, for theirs train task by task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats
from flexgym.evaluate.score import RESAMPLES, Interval

GROUPS = 10
SMALLEST_GROUP = 8
"""Episodes; fewer would say little of a group, and a resample of them less."""
TIE_EUR = 1e-9


def interquartile_mean(scores: Floats) -> Floats:
    """Mean of the middle half of the last axis: a quarter is cut off at each end, rounded down."""
    ordered = np.sort(scores, axis=-1)
    cut = ordered.shape[-1] // 4
    return ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1)


def strata(worth_eur: Floats) -> list[NDArray[np.int64]]:
    """Positions of episodes in groups of equal size, in their order.

    Up to `GROUPS` of at least `SMALLEST_GROUP`, or half as many, and so on, until the reference
    gains something in each.

    Args:
        worth_eur: What the reference saves over no control in each episode, shape (n,), EUR.

    Raises:
        ScenarioError: It saves nothing on all of them together.
    """
    count = max(1, min(GROUPS, len(worth_eur) // SMALLEST_GROUP))
    while True:
        groups = np.array_split(np.arange(len(worth_eur)), count)
        if all(worth_eur[group].sum() > TIE_EUR for group in groups):
            return groups
        if count == 1:
            raise ScenarioError(
                f"the reference saves {worth_eur.sum():.2e} EUR over no control; expected "
                "something to gain. Play more days."
            )
        count //= 2


@dataclass(frozen=True)
class Standing:
    """Where a policy stands; intervals are of 95 %, over episodes and training seeds.

    Attributes:
        cost_eur: Mean cost of an episode, EUR.
        score: Share of what the reference saves over no control, a ratio of sums, %.
        iqm: Interquartile mean of that share over groups of episodes and seeds, %.
        improvement: Chance to cost less than the strongest rule on a day, ties one half, %;
            None for that rule itself.
        seed_scores: Score of each seed, %.
    """

    cost_eur: Interval
    score: Interval
    iqm: Interval
    improvement: Interval | None
    seed_scores: tuple[float, ...]


class Resamples:
    """Resampled episodes and seeds that all policies of a setting share.

    Args:
        zero_eur: Cost of each episode without control, shape (n,), EUR; scores 0.
        best_eur: Cost of each under the reference, shape (n,), EUR; scores 100.
        seed: Of the resamples.
        count: How many.

    Raises:
        ScenarioError: The reference gains nothing.
    """

    def __init__(
        self, zero_eur: Floats, best_eur: Floats, seed: int = 0, count: int = RESAMPLES
    ) -> None:
        self._zero, self._worth = zero_eur, zero_eur - best_eur
        self.groups = strata(self._worth)
        self._rng_seed, self._count = seed, count
        rng = np.random.default_rng([seed, 0])
        # How often each episode of a group is drawn, (resamples, members).
        self._weights = [
            rng.multinomial(len(g), np.full(len(g), 1.0 / len(g)), size=count).astype(np.float64)
            for g in self.groups
        ]

    def standing(self, cost_eur: Floats, rule_eur: Floats | None = None) -> Standing:
        """Statistics of a policy.

        Args:
            cost_eur: Shape (seeds, n), EUR.
            rule_eur: Of the strongest rule, shape (its seeds, n), EUR; None leaves out the
                improvement.
        """
        seeds = len(cost_eur)
        better = None if rule_eur is None else chances(cost_eur, rule_eur)
        rng = np.random.default_rng([self._rng_seed, 1, seeds])
        drawn = rng.integers(seeds, size=(self._count, seeds))
        once = [np.ones((1, len(group))) for group in self.groups]
        at = self._values(cost_eur, better, once, np.arange(seeds)[None])
        around = self._values(cost_eur, better, self._weights, drawn)
        cost, score, iqm, *improvement = map(_interval, at, around)
        each = 100.0 * (self._zero - cost_eur).sum(axis=1) / self._worth.sum()
        return Standing(
            cost, score, iqm, improvement[0] if improvement else None, tuple(each.tolist())
        )

    def _values(
        self,
        cost_eur: Floats,
        better: Floats | None,
        weights: Sequence[Floats],
        picked: NDArray[np.int64],
    ) -> list[Floats]:
        """Cost, score, interquartile mean and, where asked, chance, each shape (resamples,)."""
        n = len(self._zero)
        gain = self._sums(self._zero - cost_eur, weights, picked)
        worth = np.stack(
            [w @ self._worth[g] for w, g in zip(weights, self.groups, strict=True)], axis=1
        )
        # A resample in which nothing can be gained says nothing.
        worth = np.where(worth > TIE_EUR, worth, np.nan)[:, None]
        ratios = (100.0 * gain / worth).reshape(len(gain), -1)
        middle = np.where(np.isnan(ratios).any(axis=1), np.nan, interquartile_mean(ratios))
        found = [
            self._sums(cost_eur, weights, picked).sum(axis=2).mean(axis=1) / n,
            100.0 * gain.sum(axis=2).mean(axis=1) / worth.sum(axis=(1, 2)),
            middle,
        ]
        if better is not None:
            chance = self._sums(better, weights, picked).sum(axis=2).mean(axis=1) / n
            found.append(100.0 * chance)
        return found

    def _sums(self, values: Floats, weights: Sequence[Floats], picked: NDArray[np.int64]) -> Floats:
        """Sums over each group's drawn episodes for the drawn seeds, (resamples, seeds, groups)."""
        sums = [w @ values[:, g].T for w, g in zip(weights, self.groups, strict=True)]
        return np.take_along_axis(np.stack(sums, axis=2), picked[:, :, None], axis=1)


def chances(cost_eur: Floats, other_eur: Floats) -> Floats:
    """Chance that a seed costs less than one of another policy, a tie one half.

    Args:
        cost_eur: Shape (seeds, n), EUR.
        other_eur: Shape (its seeds, n), EUR.

    Returns:
        Of each seed and episode, shape (seeds, n).
    """
    apart = cost_eur[:, None] - other_eur[None]
    return ((apart < -TIE_EUR) + 0.5 * (np.abs(apart) <= TIE_EUR)).mean(axis=1)


def _interval(at: Floats, around: Floats) -> Interval:
    low, high = np.nanquantile(around, [0.025, 0.975])
    return Interval(float(at[0]), float(low), float(high))
