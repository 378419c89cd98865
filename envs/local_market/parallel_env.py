"""The local market as a PettingZoo environment: prosumers and consumers post price and volume."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from gymnasium.utils import seeding
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.conversions import parallel_to_aec

from flexgym.envs.errors import ActionError, ScenarioError
from flexgym.envs.household.action_map import as_numbers
from flexgym.envs.local_market.play import LocalMarketPlay
from flexgym.envs.lockstep import generators_of


class LocalMarketParallelEnv(ParallelEnv[str, np.ndarray, np.ndarray]):
    """A neighbourhood trades what its roofs have left, hour by hour; the utility has the rest.

    **Agents** ``participant_1`` ...: those that learn, all with the same spaces. Who has a roof
    sells in sunny hours and buys in others.

    **Action** (2,) in [-1, 1]: the price it posts, from its own feed-in price (-1) to its own
    retail price (1); and how much of what it needs or has left it posts, none (-1) to all (1).
    Whether it buys or sells, its meter says. With contracts more entries, see
    `flexgym.envs.local_market.contract_trade`.

    **Observation** float32, see `flexgym.envs.local_market.observation.NAMES`: its own energy,
    tariffs, value, cost and forecasts; what the market published of the last hour; forecasts of the
    sun; the time. Nothing of anybody else.

    **Reward** in EUR: what the energy that it got is worth to it, less what the energy that it gave
    cost it, less what it paid to the market, to the network, for contracts and to the utility. What
    all pay adds up to what utility, network and wholesaler get.

    **Info** of an agent: the items of its reward (`ITEMS`) and its energy (`AMOUNTS`); after the
    last hour ``totals``, their sums over the day.

    **Episode**: 24 hours from 06:00; all agents end together, ``terminated``.

    **Reference**: `flexgym.baselines.local_market.welfare`; 0 is everything at the utility.

    Args:
        render_mode: None, or ``"rgb_array"`` for a picture of the last hour's order book.
        **options: Of `LocalMarketPlay`: ``scenario``, ``rule``, ``learners``, ``others``,
            ``contracts``, and those of `LocalMarketScenario.create`.

    Raises:
        ScenarioError: An option is unknown or out of range.
        OrderError: The rule is unknown.

    Version History:
        v0: first version.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "name": "local_market_v0",
        "render_modes": ["rgb_array"],
        "render_fps": 2,
        "is_parallelizable": True,
    }

    def __init__(self, render_mode: str | None = None, **options: Any) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ScenarioError(f"render_mode is {render_mode!r}; expected None or 'rgb_array'.")
        self.play = LocalMarketPlay(1, **options)
        self.possible_agents = list(self.play.agents)
        self.agents: list[str] = []
        self.render_mode = render_mode
        seen, played = self.play.spaces()
        self.observation_spaces = dict.fromkeys(self.possible_agents, seen)
        self.action_spaces = dict.fromkeys(self.possible_agents, played)
        self.np_random: np.random.Generator | None = None

    def observation_names(self, agent: str) -> tuple[str, ...]:
        """Entries of an agent's observation in their order; alike for all."""
        return self.play.observation_names

    def observation_space(self, agent: str) -> Any:
        """Space of an agent's observations, the same object each time."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Any:
        """Space of an agent's actions, the same object each time."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Draw a new day; the option ``day`` chooses it, other options are left to others.

        Raises:
            ScenarioError: There is no such day.
        """
        if options is not None and not isinstance(options, Mapping):
            raise ScenarioError(f"options is {options!r}; expected a mapping such as {{'day': 3}}.")
        ours = {key: value for key, value in (options or {}).items() if key == "day"}
        if seed is not None or self.np_random is None:
            self.np_random = seeding.np_random(seed)[0]
        self.play.begin([self.np_random], ours)
        self.agents = self.possible_agents[:]
        return self._observations(), {agent: {} for agent in self.agents}

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[
        dict[str, np.ndarray],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """Play an hour.

        Raises:
            ActionError: An agent is missing or unknown, an action has the wrong shape or lies
                outside [-1, 1], or the day is over.
        """
        if not self.agents:
            raise ActionError("step was called before a day or after its end; call reset first.")
        if not isinstance(actions, Mapping):
            raise ActionError(f"actions are {type(actions).__name__}; expected a dict by agent.")
        if set(actions) != set(self.agents):
            missing = sorted(set(self.agents) - set(actions))
            unknown = sorted(set(actions) - set(self.agents), key=str)
            raise ActionError(
                f"actions miss {missing[:3]} and have unknown {unknown[:3]}; expected one for each "
                f"of {len(self.agents)} agents."
            )
        play, agents = self.play, self.agents
        parts = [as_numbers(actions[agent]) for agent in agents]
        wide = (play.market.actions,)
        strange = [part.shape for part in parts if part.shape != wide]
        if strange:
            raise ActionError(f"an action has shape {strange[0]}; expected {wide}.")
        play.step(np.stack(parts)[None])
        done, rewards = play.done, play.rewards()[0].tolist()
        answer = (
            self._observations(),
            dict(zip(agents, rewards, strict=True)),
            dict.fromkeys(agents, done),
            dict.fromkeys(agents, False),
            self._infos(),
        )
        if done:
            self.agents = []
        return answer

    def _observations(self) -> dict[str, np.ndarray]:
        return dict(zip(self.possible_agents, self.play.observe()[0], strict=True))

    def _infos(self) -> dict[str, dict[str, Any]]:
        market = self.play.market
        infos: dict[str, dict[str, Any]] = {}
        for agent, k in zip(self.possible_agents, self.play.seats, strict=True):
            infos[agent] = {name: float(values[0, k]) for name, values in market.accounts.items()}
            if market.done:
                totals = zip(market.accounts, market.totals[:, 0, k].tolist(), strict=True)
                infos[agent]["totals"] = dict(totals)
        return infos

    def save_state(self) -> dict[str, Any]:
        """Everything needed to go on from here, between two hours."""
        if self.np_random is None:
            raise ActionError("save_state was called before a day; call reset first.")
        return {**self.play.save(), "rng": [self.np_random.bit_generator.state]}

    def restore_state(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `save_state` returned, identically.

        Raises:
            StateError: It is of an environment with other options.
        """
        (rng,) = generators_of(saved, 1)
        self.play.restore(saved)
        self.np_random = rng
        self.agents = [] if self.play.done else self.possible_agents[:]

    def state(self) -> np.ndarray:
        """All agents' observations in a row, for critics that may see everything."""
        return self.play.observe()[0].ravel()

    def render(self) -> np.ndarray | None:
        """Picture of the last hour's order book, (height, width, 3); None without render mode."""
        if self.render_mode is None:
            return None
        from flexgym.envs.local_market.render import render_book

        return render_book(self.play.market)

    def close(self) -> None:
        """Nothing to close."""


def parallel_env(**options: Any) -> LocalMarketParallelEnv:
    """The market with everybody posting at once; see `LocalMarketParallelEnv`."""
    return LocalMarketParallelEnv(**options)


def raw_env(**options: Any) -> AECEnv:
    """The market with one agent after the other; it clears when the last has posted."""
    return parallel_to_aec(parallel_env(**options))  # type: ignore[arg-type]


def env(**options: Any) -> AECEnv:
    """The same: PettingZoo's conversion already guards against calls in a wrong order."""
    return raw_env(**options)
