"""What happens during training: checkpoints, validation scores, TensorBoard."""

from __future__ import annotations

import csv
import sys
from time import perf_counter
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Image

from flexgym.envs.errors import RunError
from flexgym.train.run_folder import RunFolder
from flexgym.train.settings import Budget
from flexgym.train.task import Judgement, Task
from flexgym.train.wrappers import Stopwatch

_PICTURE_EVERY = 5
"""Validations from one picture of a day to the next."""
_QUIET = ("stdout", "log", "json", "csv")


class NoiseCeiling(BaseCallback):
    """Lets PPO explore less and less, down to almost what is played without exploration.

    Many agents that explore add up to something that does not explore: houses whose noise keeps
    them from feeding in all they could never learn what it costs the grid when all of them do.
    The standard deviation of actions may be ``first`` at the start, ``last`` at the end, linear
    between in what is left of frames or time.

    Args:
        first: Largest at the start.
        last: Largest at the end.
        budget: What is left.
    """

    def __init__(self, first: float, last: float, budget: Budget) -> None:
        super().__init__()
        self.first, self.last, self.budget = first, last, budget

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        left = self.budget.remaining(self.model._current_progress_remaining)
        most = self.last + (self.first - self.last) * left
        policy: Any = self.model.policy
        policy.log_std.data.clamp_(max=float(np.log(most)))


class Supervisor(BaseCallback):
    """Checkpoints after every rollout, validates from time to time, stops when time is up.

    For off-policy algorithms a rollout is one episode of the batch.

    Args:
        run: Where to write.
        task: Whose validation episodes are played; prepared.
        stopwatch: Around the batch.
        budget: Time left.
        every: Frames between validations.
        rollout_frames: Frames of a rollout.
        label: What lines of progress begin with.
    """

    def __init__(
        self,
        run: RunFolder,
        task: Task,
        stopwatch: Stopwatch,
        budget: Budget,
        every: int,
        rollout_frames: int,
        label: str = "",
    ) -> None:
        super().__init__()
        self.run, self.task, self.stopwatch, self.budget = run, task, stopwatch, budget
        self.every, self.rollout_frames, self.label = every, rollout_frames, label
        self._judged, self._judging_s = 0, 0.0
        self._since = 0.0, 0.0, 0, 0.0

    def _on_training_start(self) -> None:
        # Time runs from here: solving validation days and compiling are no training.
        self.budget.pause(self.budget.used_s - self.run.state.used_s)
        self._mark()

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
        self._validate(last=True)
        self._checkpoint()

    def _checkpoint(self) -> None:
        if not all(bool(weights.isfinite().all()) for weights in self.model.policy.parameters()):
            raise RunError(f"training in {self.run.path} diverged; expected finite weights.")
        self.run.state.used_s = self.budget.used_s
        self.run.checkpoint(self.model)

    def _mark(self) -> None:
        """Where speed is measured from."""
        self._since = (
            perf_counter(), self.stopwatch.seconds, self.num_timesteps, self._judging_s
        )  # fmt: skip

    def _record_speed(self) -> None:
        """Frames a second and the environment's share of the time, without validating."""
        began, env_s, frames, judging_s = self._since
        took = perf_counter() - began - (self._judging_s - judging_s)
        if self.num_timesteps > frames and took > 0.0:
            share = (self.stopwatch.seconds - env_s) / took
            self.logger.record("time/frames_per_s", (self.num_timesteps - frames) / took)
            self.logger.record("time/environment_percent", 100.0 * share)

    def _validate(self, last: bool = False) -> None:
        self._record_speed()
        started, used_s = perf_counter(), self.budget.used_s
        found = self.task.judge(self.model)
        self._record(found, used_s)
        if last or self._judged % _PICTURE_EVERY == 0:
            self._draw()
        self._judged += 1
        self.logger.dump(self.num_timesteps)
        self._say(found)
        state = self.run.state
        rank = found.keeps_limits, found.score
        if rank > (state.best_keeps_limits, state.best_score):
            state.best_keeps_limits, state.best_score = rank
            self.run.save_best(self.model)
        self._note(found, used_s)
        took = perf_counter() - started
        self.budget.pause(took)  # nor is validating
        self._judging_s += took
        self._mark()

    def _record(self, found: Judgement, used_s: float) -> None:
        self.logger.record("flexgym/score", found.score)
        self.logger.record("flexgym/cost_eur", found.cost_eur)
        self.logger.record("flexgym/gap_eur", found.gap_eur)
        self.logger.record("flexgym/violation_h", found.violation_h)
        for name, value in found.terms.items():
            self.logger.record(f"flexgym/{name}", value)
        rate = self.model.lr_schedule(self.model._current_progress_remaining)
        self.logger.record("flexgym/learning_rate", float(rate))
        self.logger.record("time/used_s", used_s)

    def _draw(self) -> None:
        from matplotlib.image import imread

        path = self.run.path / "day.png"
        self.task.picture(self.model, path)
        seen = np.asarray(imread(path))[:, :, :3]
        self.logger.record("flexgym/day", Image(seen, "HWC"), exclude=_QUIET)

    def _say(self, found: Judgement) -> None:
        if self.label or not sys.stderr.isatty():
            # With a terminal of its own a run has a progress bar instead.
            broken = f"  violations {found.violation_h:5.2f} h" if found.violation_h else ""
            print(
                f"{self.label}{self.num_timesteps:>10,} frames  {found.cost_eur:8.3f} EUR  "
                f"score {found.score:6.1f}{broken}",
                flush=True,
            )

    def _note(self, found: Judgement, used_s: float) -> None:
        file = self.run.path / "validation.csv"
        fresh = not file.exists()
        with file.open("a", newline="") as stream:
            writer = csv.writer(stream)
            if fresh:
                names = ("frames", "seconds", "score", "cost_eur", "gap_eur", "violation_h")
                writer.writerow(names)
            numbers = (found.cost_eur, found.gap_eur, found.violation_h)
            writer.writerow(
                [
                    *(self.num_timesteps, round(used_s, 1), round(found.score, 3)),
                    *(round(x, 6) for x in numbers),
                ]
            )
