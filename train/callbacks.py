"""What happens during training: checkpoints, validation scores, TensorBoard."""

from __future__ import annotations

import csv
import sys

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from flexgym.evaluate.rollout import rollout
from flexgym.policies.learned import Learned
from flexgym.train.run_folder import RunFolder
from flexgym.train.settings import Budget
from flexgym.train.validation import Validation


class Supervisor(BaseCallback):
    """Checkpoints after every rollout, validates from time to time, stops when time is up.

    For off-policy algorithms a rollout is one day of the batch.

    Args:
        run: Where to write.
        validation: What to validate on.
        settings: Options of the environment the policy is trained in.
        budget: Time left.
        every: Frames between validations.
        rollout_frames: Frames of a rollout.
    """

    def __init__(
        self,
        run: RunFolder,
        validation: Validation,
        settings: dict[str, str],
        budget: Budget,
        every: int,
        rollout_frames: int,
    ) -> None:
        super().__init__()
        self.run, self.validation, self.settings = run, validation, settings
        self.budget, self.every, self.rollout_frames = budget, every, rollout_frames

    def _on_step(self) -> bool:
        return not self.budget.over

    def _on_rollout_start(self) -> None:
        state = self.run.state
        if self.num_timesteps == 0 or self.num_timesteps - state.frames >= self.rollout_frames:
            if self.num_timesteps >= state.next_evaluation:
                self._validate()
                state.next_evaluation = self.num_timesteps + self.every
            self._checkpoint()

    def _on_training_end(self) -> None:
        self._validate()
        self._checkpoint()

    def _checkpoint(self) -> None:
        self.run.state.used_s = self.budget.used_s
        self.run.checkpoint(self.model)

    def _validate(self) -> None:
        costs = rollout(Learned(self.model, "learning", self.settings), self.validation.house_days)
        reached = self.validation.score(costs)
        self.logger.record("flexgym/score", reached)
        self.logger.record("flexgym/cost_eur", float(costs.cost_eur.mean()))
        for name, values in costs.terms.items():
            self.logger.record(f"flexgym/{name}", float(np.mean(values)))
        self.logger.record("time/used_s", self.budget.used_s)
        self.logger.dump(self.num_timesteps)
        if not sys.stderr.isatty():
            # With a terminal there is a progress bar instead.
            cost = costs.cost_eur.mean()
            print(
                f"{self.num_timesteps:>10,} frames  {cost:7.3f} EUR/day  score {reached:5.1f}",
                flush=True,
            )
        if reached > self.run.state.best_score:
            self.run.state.best_score = reached
            self.run.save(self.model, "best")
        file = self.run.path / "validation.csv"
        fresh = not file.exists()
        with file.open("a", newline="") as stream:
            writer = csv.writer(stream)
            if fresh:
                writer.writerow(["frames", "seconds", "score", "cost_eur"])
            writer.writerow(
                [
                    self.num_timesteps,
                    round(self.budget.used_s, 1),
                    round(reached, 3),
                    round(float(costs.cost_eur.mean()), 6),
                ]
            )
