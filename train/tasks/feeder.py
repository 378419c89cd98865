"""Houses of a feeder: parameter sharing, networks of their own, or a central critic."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexgym.envs.household.params import STEPS_PER_DAY
from flexgym.envs.kept import sources_digest
from flexgym.train.task import (
    VALIDATION_SEED,
    Judgement,
    add_scenario_argument,
    scenario_option,
    world_options,
)

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from flexgym.evaluate.feeder_sample import Days, FeederDays
    from flexgym.policies.learned import Predictor

SCENARIOS = ("calm", "summer_midday", "winter_evening", "stress")
TERMS = (
    *("import_eur", "export_eur", "wear_eur", "terminal_eur", "unserved_eur", "missed_eur"),
    *("loss_eur", "voltage_eur", "overload_eur"),
)


TOLERATED = 0.08
"""Share of the unmanaged houses' violated hours up to which a policy is said to keep limits."""


class FeederTask:
    """``flexgym/Feeder-v0`` with each house a row; see `Task`.

    Score 0 is unmanaged, 100 the centralised optimum of the same feeder-days with every day
    known in advance. Validation feeder-days are solved once and kept in the cache. The best network
    is the one with the best score of those which keep limits (`TOLERATED`), if any does.
    """

    env_id = "flexgym/Feeder-v0"
    algorithms = ("ppo", "ippo", "mappo", "sac")
    env_kwargs = (
        *("scenario", "observation", "action_map", "curtailment", "reactive", "uncertainty"),
        "share",
    )
    frame = "house-quarter-hour"
    episode_steps = STEPS_PER_DAY
    episodes = 8

    def __init__(
        self, algorithm: str, parameters: Mapping[str, Any], options: Mapping[str, Any]
    ) -> None:
        from flexgym.policies.learned_feeder import VIEWS

        self._n, self._view = int(parameters["n_envs"]), VIEWS.get(algorithm, "own")
        self._kwargs = {"scenario": "stress", "share": "marginal"}
        self._kwargs |= world_options(parameters, options)

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """See `Task`."""
        add_scenario_argument(parser, ", ".join(SCENARIOS))

    options = staticmethod(scenario_option)

    def vec_env(self, seed: int) -> VecEnv:
        """See `Task`."""
        from flexgym.train.vec_env import sb3_house_rows
        from flexgym.train.wrappers import HouseView

        options: dict[str, Any] = dict(self._kwargs)
        rows = sb3_house_rows(self._n, seed=seed, **options)
        self._own = len(rows.batch.observation_names)  # type: ignore[attr-defined]
        self._houses = rows.num_envs // self._n
        return rows if self._view == "own" else HouseView(rows, self._view)

    def policy_kwargs(self, env: VecEnv) -> dict[str, Any]:
        """See `Task`."""
        if self._view == "numbered":
            return {"houses": self._houses}
        return {"own": self._own} if self._view == "feeder" else {}

    def prepare(self, episodes: int, cache: Path | None, workers: int) -> None:
        """See `Task`."""
        from tempfile import TemporaryDirectory

        from tqdm import tqdm

        from flexgym.evaluate.feeder_play import play_days

        scenario, chance = self._kwargs["scenario"], self._kwargs.get("uncertainty", "markov")
        make = partial(validation_days, scenario, chance, episodes)
        self._days = make()
        names = ("unmanaged", "centralised")
        with TemporaryDirectory() as nowhere:
            made_by = sources_digest("envs", "baselines", "policies", "evaluate/feeder_sample.py")
            name = f"{scenario}-validation-{chance}-{made_by[:12]}"
            kept = (cache or Path(nowhere)) / "feeder" / name
            with tqdm(
                total=2 * episodes, desc="validation", leave=False, disable=None
            ) as bar:  # fmt: skip
                played = play_days(
                    names, self._days, make, kept, workers=workers, progress=bar.update
                )
        self._zero, self._best = played

    def judge(self, model: Predictor) -> Judgement:
        """See `Task`."""
        from flexgym.evaluate.score import score

        played = self._play(model)
        cost, best = played.cost_eur, self._best.cost_eur
        violated = float(played.total("violation_h").mean())
        unmanaged = float(self._zero.total("violation_h").mean())
        return Judgement(
            score(cost, self._zero.cost_eur, best),
            float(cost.mean()),
            float((cost - best).mean()),
            violated,
            {name: float(played.total(name).mean()) for name in TERMS}
            | {"violation_h_unmanaged": unmanaged},
            keeps_limits=violated <= TOLERATED * unmanaged,
        )

    def _play(self, model: Predictor) -> Days:
        from flexgym.evaluate.feeder_play import play_together
        from flexgym.policies.learned_feeder import LearnedHouses

        return play_together(LearnedHouses(model, self._view, self._kwargs, "learning"), self._days)

    def picture(self, model: Predictor, path: Path) -> None:
        """See `Task`."""
        from flexgym.evaluate.feeder_pictures import power_picture

        power_picture(path, self._days, [self._zero, self._play(model), self._best])


def validation_days(scenario: str, uncertainty: str, n: int) -> FeederDays:
    """Feeder-days to validate on, the same in any process."""
    from flexgym.envs.feeder.scenario import FeederScenario
    from flexgym.evaluate.feeder_sample import FeederDays

    world = FeederScenario.create(scenario, "validation", uncertainty=uncertainty)
    return FeederDays.sample(world, n, VALIDATION_SEED)
