"""The run of ``flexgym train menus``: lessons, steps, validation, curves, checkpoints."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from flexgym.baselines.household import SolutionCache
from flexgym.envs.kept import replace_file
from flexgym.evaluate.day_picture import dispatch_picture
from flexgym.evaluate.household_pictures import telling_day
from flexgym.evaluate.rollout import HouseDays, rollout, trace
from flexgym.policies.household import Optimal
from flexgym.policies.learned_menus import LearnedMenus
from flexgym.train.menu_learner import Learner
from flexgym.train.menu_lessons import Memory, experience, solutions
from flexgym.train.menu_settings import MenuSettings
from flexgym.train.run_folder import RunFolder
from flexgym.train.settings import Budget
from flexgym.train.task import VALIDATION_SEED
from flexgym.train.validation import Validation

_VALIDATIONS = 20
_PICTURES = 5
_CHECKPOINT_S = 30.0
_LEAST_RATE = 0.02
"""Of the learning rate, at the end."""
_SMOOTH = 0.98


class MenuRun:
    """One training run of learned menus, from where its folder stands.

    Args:
        run: Where to write, and what is there already.
        settings: Hyper-parameters.
        config: The run's configuration: seed, time limit and house-days to validate on are read.
        cache: Folder of solved house-days, or None.
        workers: House-days to solve side by side.
        device: Where networks learn, ``"cpu"`` or ``"cuda"``.
        label: What lines of progress begin with.
    """

    def __init__(
        self,
        run: RunFolder,
        settings: MenuSettings,
        config: dict[str, Any],
        cache: Path | None,
        workers: int,
        device: str = "cpu",
        label: str = "",
    ) -> None:
        self.run, self.settings, self.seed, self.label = run, settings, int(config["seed"]), label
        self.learner = Learner(settings.hidden, self.seed, settings.average, device)
        self.memory = Memory(settings.memory)
        started = run.last.exists()
        if started:
            self.learner.restore(run.last)
        self.worlds = [world.homes("train") for world in settings.worlds]
        self.validations = {
            world.name: Validation.prepare(
                HouseDays.sample(
                    world.homes("validation"), int(config["validation"]), VALIDATION_SEED
                ),
                cache,
                workers,
            )
            for world in settings.worlds
        }
        self._solver = Optimal(cache=SolutionCache(cache) if cache else None)
        self._used_before_s = run.state.used_s
        self.budget = Budget(config["minutes"], self._used_before_s)
        # A resumed run must not meet the same house-days again.
        self.rng = np.random.default_rng([self.seed, self.learner.updates])
        self._losses, self._draws, self._lessons = np.zeros(2), 0, 0
        for _ in range(4 if started else 1):
            for _ in self.worlds:
                self._draw()
        if not started:
            self.learner.standardise(self.memory)

    @property
    def progress(self) -> float:
        """Share of the training done, by updates or by time, whichever is ahead."""
        return 1.0 - self.budget.remaining(1.0 - self.learner.updates / self.settings.updates)

    def learn(self) -> None:
        """Train to the end of the budget."""
        from tqdm import tqdm

        every = max(self.settings.updates // _VALIDATIONS, 1)
        # Time runs from here: solving validation days and compiling are no training.
        self.budget.pause(self.budget.used_s - self.run.state.used_s)
        saved = self.budget.used_s
        self.writer = SummaryWriter(str(self.run.path / "tb"))
        total = self.settings.updates
        with tqdm(total=total, initial=self.learner.updates, leave=False, disable=None) as bar:
            while self.progress < 1.0:
                if self.learner.updates >= self.run.state.next_evaluation:
                    self.run.state.next_evaluation = self.learner.updates + every
                    self._validate()
                if self.budget.used_s - saved > _CHECKPOINT_S:
                    self._checkpoint()
                    saved = self.budget.used_s
                bar.update(self._turn())
        self._validate()
        self._checkpoint()
        self.writer.close()

    def _draw(self) -> None:
        """Lessons of the next world's house-days by the teacher whose turn it is."""
        phase = self.settings.phase(self.progress)
        scenario = self.worlds[self._draws % len(self.worlds)]
        if phase.teacher == "solutions":
            lessons = solutions(scenario, phase.house_days, self.rng)
        else:
            lessons = experience(
                scenario, phase.house_days, self.rng, self.learner.network(), phase.horizon
            )
        self.memory.add(lessons)
        self._draws += 1
        self._lessons += len(lessons.inputs) + len(lessons.both_inputs)

    def _turn(self) -> int:
        """One draw and the updates after it; how many there were."""
        self._draw()
        progress = self.progress
        rate = self.settings.learning_rate * max(1.0 - progress, _LEAST_RATE)
        for _ in range(self.settings.updates_per_draw):
            losses = self.learner.update(self.memory, self.settings.batch, rate, self.rng)
            self._losses = _SMOOTH * self._losses + (1.0 - _SMOOTH) * np.array(losses)
        self.writer.add_scalar("flexgym/learning_rate", rate, self.learner.updates)
        return self.settings.updates_per_draw

    def _checkpoint(self) -> None:
        state = self.run.state
        state.used_s, state.frames = self.budget.used_s, self.learner.updates
        network = self.learner.network()
        replace_file(self.run.path / "last.safetensors", network.save)
        replace_file(self.run.last, self.learner.save)
        self.run.write_state()

    def _validate(self) -> None:
        """Score the network on every world; keep it if it is the best so far."""
        started, step, note = time.monotonic(), self.learner.updates, self.writer.add_scalar
        policy = LearnedMenus(self.learner.network(), "learning")
        scores, cost = [], 0.0
        for name, validation in self.validations.items():
            costs = rollout(policy, validation.house_days)
            best = validation.optimal.cost_eur
            scores.append(validation.score(costs))
            cost = float(costs.cost_eur.mean())
            note(f"flexgym/score/{name}", scores[-1], step)
            note(f"flexgym/cost_eur/{name}", cost, step)
            note(f"flexgym/gap_eur/{name}", float((costs.cost_eur - best).mean()), step)
            for term, values in costs.terms.items():
                note(f"flexgym/{term}/{name}", float(values.mean()), step)
        reached = float(np.mean(scores))
        note("flexgym/score", reached, step)
        for name, loss in zip(("battery", "both"), self._losses, strict=True):
            note(f"train/loss_{name}", float(loss), step)
        seconds = self.budget.used_s - self._used_before_s
        note("train/lessons_per_s", self._lessons / max(seconds, 1e-9), step)
        note("train/updates_per_s", step / max(self.budget.used_s, 1e-9), step)
        if step % max(self.settings.updates // _PICTURES, 1) < self.settings.updates_per_draw:
            self._picture(policy)
        # Validating is no training.
        self.budget.pause(time.monotonic() - started)
        if reached > self.run.state.best_score:
            self.run.state.best_score = reached
            replace_file(self.run.path / "best.safetensors", policy.network.save)
            self._checkpoint()  # at once, or a run that goes on would not know of it
        each = ", ".join(f"{x:.2f}" for x in scores)
        print(f"{self.label}{step:>8,} updates  score {reached:6.2f}  ({each})", flush=True)
        self._append(step, reached, scores)

    def _append(self, step: int, reached: float, scores: list[float]) -> None:
        file = self.run.path / "validation.csv"
        fresh = not file.exists()
        with file.open("a", newline="") as stream:
            writer = csv.writer(stream)
            if fresh:
                writer.writerow(["updates", "seconds", "score", *self.validations])
            row = [step, round(self.budget.used_s, 1), round(reached, 3)]
            writer.writerow([*row, *(round(x, 3) for x in scores)])

    def _picture(self, policy: LearnedMenus) -> None:
        """A telling validation day of the first world."""
        from matplotlib.image import imread

        played = next(iter(self.validations.values())).house_days
        index = telling_day(played)
        self._solver.begin(played.begin(slice(index, index + 1)))
        simulation, outcomes = trace(policy, played, index)
        path = self.run.path / "day.png"
        dispatch_picture(path, simulation, outcomes, self._solver.solved[0], "learned menus")
        seen, step = imread(path)[..., :3], self.learner.updates
        self.writer.add_image("flexgym/day", seen, step, dataformats="HWC")
