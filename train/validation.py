"""House-days that checkpoints are chosen by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flexgym.baselines.household import SolutionCache
from flexgym.evaluate.rollout import Costs, HouseDays, rollout
from flexgym.evaluate.score import score
from flexgym.policies.household import Optimal, Uncontrolled


@dataclass(frozen=True)
class Validation:
    """House-days to validate on, with the costs scores are made of.

    Attributes:
        house_days: What is played.
        uncontrolled: Costs with nothing controlled.
        optimal: Costs under the exact optimum.
    """

    house_days: HouseDays
    uncontrolled: Costs
    optimal: Costs

    @classmethod
    def prepare(
        cls, house_days: HouseDays, cache: Path | None = None, workers: int = 1
    ) -> Validation:
        """Solve every house-day, or find it in the cache."""
        from tqdm import tqdm

        with tqdm(total=len(house_days), desc="validation", leave=False, disable=None) as bar:
            optimal = Optimal(
                lambda done, total: bar.update(1),
                SolutionCache(cache) if cache else None,
                workers,
            )
            best = rollout(optimal, house_days)
        return cls(house_days, rollout(Uncontrolled(), house_days), best)

    def score(self, costs: Costs) -> float:
        """Score of a policy that was rolled out on these house-days."""
        return score(costs.cost_eur, self.uncontrolled.cost_eur, self.optimal.cost_eur)
