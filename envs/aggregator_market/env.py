"""`flexgym/Aggregator-v0` and `flexgym/Directive-v0`: one learner in the 33-bus market."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from flexgym.envs.aggregator_market.play import MarketPlay, alone, check_action
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats
from flexgym.envs.lockstep import generators_of


class _SingleLearner(gym.Env[np.ndarray, np.ndarray]):
    """One agent in one market; see the subclasses."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 2}
    _learner: ClassVar[str]

    def __init__(
        self, scenario: Any = "ordered", render_mode: str | None = None, **options: Any
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ScenarioError(f"render_mode is {render_mode!r}; expected None or 'rgb_array'.")
        if "learners" in options:
            raise ScenarioError("got learners; expected none, since this environment has one.")
        play = MarketPlay(1, (self._learner,), scenario, **options)
        self.play = alone(play, agents=1)
        self.observation_names = self.play.observation_names
        self.observation_space, self.action_space = self.play.spaces(self.play.role)
        self.render_mode = render_mode
        self._hours: list[tuple[float, ...]] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw a new day; no options are known."""
        super().reset(seed=seed)
        self.play.begin([self.np_random], options)
        self._hours = []
        return self.play.observe()[0, 0], {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Play an hour.

        Raises:
            ActionError: Wrong shape, not a number, or outside [-1, 1]; or the day is over.
        """
        play = self.play
        play.step(check_action(play, action)[None])
        market = play.market
        if self.render_mode is not None:
            self._hours.append(
                (
                    float(market.directive[0]),
                    float(market.quote[0, 0]),
                    float(market.group_magnetisation[0, 0]),
                    float(market.owed_percent[0, 0]),
                )
            )
        info: dict[str, Any] = play.hour_info()
        if market.done:
            info["totals"] = play.day_info()
        reward = float(play.rewards(play.role)[0, 0])
        return play.observe()[0, 0], reward, market.done, False, info

    def save_state(self) -> dict[str, Any]:
        """Everything needed to go on from here."""
        return {**self.play.market.save(), "rng": [self.np_random.bit_generator.state]}

    def restore_state(self, saved: dict[str, Any]) -> None:
        """Go on from what `save_state` returned, identically.

        Raises:
            StateError: It is of an environment with other options.
        """
        (rng,) = generators_of(saved, 1)
        self.play.market.restore(saved)
        self.np_random = rng

    def render(self) -> np.ndarray | None:
        """Picture of the day so far, shape (height, width, 3), uint8."""
        if self.render_mode is None:
            return None
        from flexgym.envs.aggregator_market.render import render_day

        played: Floats = np.array(self._hours).reshape(-1, 4)
        market = self.play.market
        return render_day(market.scenario, market.price_state[0], played)


class AggregatorEnv(_SingleLearner):
    """An aggregator quotes prices to consumers who herd, for the 24 hours of a day.

    **Action** (1,) in [-1, 1]: the quote, as a share of what may be quoted now, from the lowest
    price to the real-time price over the profit factor, rounded to the tariff's step.

    **Observation** float32, entries in ``observation_names``: hour, real-time price and its state,
    next forecast, scheduled load, what the plan (31) owes by now, directive, magnetisation of the
    aggregator's consumers, what they owe, their share.

    **Reward** in EUR: (real-time price - quote) times the energy that its consumers drop, negative
    where they take more; in the last hour minus the settlement of what they still owe. Consumers
    get the quote. ``info`` holds the hour by `HOUR_NAMES`, after the last one ``totals``.

    **Episode**: 24 hours, ends with ``terminated``. Chance: the price's Markov chain, and which
    consumers try what.

    Exact reference: `flexgym.baselines.aggregator_market.group_program`.

    Args:
        scenario: A `MarketScenario` with one aggregator, or the name of one: ``"ordered"``,
            ``"loose"``, ``"free"`` or ``"lattice"``.
        render_mode: ``"rgb_array"`` or None.
        **options: Of `MarketScenario.create`; ``others``, ``reward``, ``power_flow``.

    Raises:
        ScenarioError: An option is unknown or out of range, or there are several aggregators.

    Version History:
        v0: first version.
    """

    _learner = "aggregators"


class DirectiveEnv(_SingleLearner):
    """A DSO directs consumers who herd, for the 24 hours of a day; aggregators are silent.

    **Action** (1,) in [-1, 1]: the field of the directive as a share of the largest, rounded to
    the step.

    **Observation** float32, entries in ``observation_names``: as in `AggregatorEnv`, with the
    magnetisation and what is owed of each aggregator's consumers.

    **Reward** in EUR: the welfare, real-time price times energy dropped, minus what the directive
    costs, and in the last hour minus the settlement of what is still owed.

    **Episode**: as in `AggregatorEnv`.

    Exact reference: `flexgym.baselines.aggregator_market.group_program` with role "directive".

    Args:
        scenario: A `MarketScenario`, or the name of one.
        render_mode: ``"rgb_array"`` or None.
        **options: As `AggregatorEnv`.

    Raises:
        ScenarioError: An option is unknown or out of range.

    Version History:
        v0: first version.
    """

    _learner = "dso"
