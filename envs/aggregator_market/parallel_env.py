"""The 33-bus market as a PettingZoo environment: any of its levels learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from gymnasium.utils import seeding
from pettingzoo import AECEnv, ParallelEnv

from flexgym.envs.aggregator_market.play import MarketPlay
from flexgym.envs.aggregator_market.roles import Behaviour, Role
from flexgym.envs.errors import ActionError, ScenarioError
from flexgym.envs.household.action_map import as_numbers
from flexgym.envs.household.params import Floats
from flexgym.envs.lockstep import generators_of


class _Agents:
    """What both forms share: agents by role, spaces, seeds, saved states."""

    metadata: ClassVar[dict[str, Any]] = {
        "name": "aggregator_market_v0",
        "render_modes": [],
        "is_parallelizable": True,
    }

    def __init__(
        self,
        scenario: Any = "three",
        learners: Sequence[str] = ("dso", "aggregators"),
        others: Mapping[str, Behaviour] | None = None,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if render_mode is not None:
            raise ScenarioError(f"render_mode is {render_mode!r}; expected None.")
        self.play = MarketPlay(1, learners, scenario, others, **options)
        seats = self.play.seats
        self._role: dict[str, tuple[Role, int]] = {
            agent: (role, k) for role in seats.roles for k, agent in enumerate(seats.agents[role])
        }
        self.possible_agents = list(self._role)
        self.agents: list[str] = []
        self.render_mode = render_mode
        self._spaces = {role: self.play.spaces(role) for role in seats.roles}
        self.observation_spaces = {a: self._spaces[r][0] for a, (r, _) in self._role.items()}
        self.action_spaces = {a: self._spaces[r][1] for a, (r, _) in self._role.items()}
        self.np_random: np.random.Generator | None = None

    def observation_names(self, agent: str) -> tuple[str, ...]:
        """Entries of an agent's observation in their order."""
        return self.play.observer.names(self._role[agent][0])

    def observation_space(self, agent: str) -> Any:
        """Space of an agent's observations, the same object each time."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Any:
        """Space of an agent's actions, the same object each time."""
        return self.action_spaces[agent]

    def _begin(self, seed: int | None) -> None:
        if seed is not None or self.np_random is None:
            self.np_random = seeding.np_random(seed)[0]
        self.play.begin([self.np_random])
        self.agents = self.possible_agents[:]

    def _actions(self, given: Mapping[str, Any]) -> dict[Role, Floats]:
        seats = self.play.seats
        found: dict[Role, Floats] = {}
        for role in seats.roles:
            parts = [as_numbers(given[agent]) for agent in seats.agents[role]]
            wide = seats.n_actions(role)
            strange = [part.shape for part in parts if part.shape != (wide,)]
            if strange:
                raise ActionError(
                    f"an action of {role} has shape {strange[0]}; expected ({wide},)."
                )
            found[role] = np.stack(parts)[None]
        return found

    def _rewards(self) -> dict[str, float]:
        of = {role: self.play.rewards(role)[0].tolist() for role in self.play.seats.roles}
        return {agent: of[role][k] for agent, (role, k) in self._role.items()}

    def save_state(self) -> dict[str, Any]:
        """Everything needed to go on from here, between two hours."""
        if self.np_random is None:
            raise ActionError("save_state was called before a day; call reset first.")
        if getattr(self, "_given", None):
            raise ActionError("save_state was called within an hour; expected none has acted yet.")
        return {**self.play.market.save(), "rng": [self.np_random.bit_generator.state]}

    def restore_state(self, saved: dict[str, Any]) -> None:
        """Go on from what `save_state` returned, identically.

        Raises:
            StateError: It is of an environment with other options.
        """
        if self.np_random is None:
            self.np_random = seeding.np_random(0)[0]
        (rng,) = generators_of(saved, 1)
        self.play.market.restore(saved)
        self.np_random = rng
        self.agents = [] if self.play.done else self.possible_agents[:]

    def state(self) -> np.ndarray:
        """All agents' observations in a row, for critics that may see everything."""
        parts = [self.play.observe_role(role).ravel() for role in self.play.seats.roles]
        return np.concatenate(parts)

    def render(self) -> None:
        """No pictures; `flexgym/Aggregator-v0` has them."""

    def close(self) -> None:
        """Nothing to close."""


class MarketParallelEnv(_Agents, ParallelEnv[str, np.ndarray, np.ndarray]):
    """Consumers, aggregators and a DSO on the 33-bus network; everybody moves at once.

    **Agents**: ``dso_1``; ``aggregator_1`` ...; ``bus_2`` ... ``bus_33`` (numbers of the source) or
    ``consumer_1`` ..., those of the levels that learn. The other levels follow ``others``: by
    default the DSO is silent, aggregators quote the shadow price, consumers herd.

    **Action** in [-1, 1]: dso (1,) its directive, aggregator (1,) its quote, see `DirectiveEnv` and
    `AggregatorEnv`; bus (1,) how many of its customers drop their load, with ``purchases`` (2,)
    also what it buys from the DSO and sells on; consumer (1,) drop its load from 0 on, double it
    below.

    **Observation** float32: see `Observer`; entries by ``observation_names(agent)``. Directive and
    quote are those of the last hour where their level learns: `env` lets each level see what those
    before it have announced.

    **Reward** in EUR. ``"own"``: own money by equations (24) to (26); a learning bus or consumer,
    or else a learning aggregator, or else the DSO also settles what is owed at the end. All levels
    together get the welfare, less directive, voltages and settlement. ``"welfare"``: what is gained
    at the real-time price by the consumers that an agent moves, so that levels do not add up. By
    default own money where there is some to earn: the DSO has none without purchases, nor have
    buses and consumers of silent aggregators.

    **Info** of every agent: the hour by `HOUR_NAMES`, after the last hour ``totals``.

    **Episode**: 24 hours; all agents end together, ``terminated``.

    Args:
        scenario: A `MarketScenario`, or the name of one.
        learners: Levels that learn: any of ``"dso"``, ``"aggregators"``, and ``"buses"`` or
            ``"consumers"``.
        others: Functions of the market by level: directives (n,), quotes (n, K) in EUR/MWh within
            (10), magnetisations (n, 32). Each is asked once an hour, after the levels above.
        render_mode: Must be None.
        **options: ``reward``, ``purchases``, ``power_flow``, and those of `MarketScenario.create`.

    Raises:
        ScenarioError: An option is unknown or out of range.

    Version History:
        v0: first version.
    """

    def reset(
        self, seed: int | None = None, options: dict | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict]]:
        """Draw a new day; options are left to others."""
        self._begin(seed)
        return self._observations(), {agent: {} for agent in self.agents}

    def step(
        self, actions: dict[str, np.ndarray]
    ) -> tuple[
        dict[str, np.ndarray], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict]
    ]:
        """Play an hour.

        Raises:
            ActionError: An agent is missing or unknown, an action has the wrong shape or lies
                outside [-1, 1], or the day is over.
        """
        if not self.agents:
            raise ActionError("step was called before a day or after its end; call reset first.")
        if set(actions) != set(self.agents):
            missing = sorted(set(self.agents) - set(actions))
            unknown = sorted(set(actions) - set(self.agents))
            raise ActionError(
                f"actions miss {missing[:3]} and have unknown {unknown[:3]}; expected one for each "
                f"of {len(self.agents)} agents."
            )
        play = self.play
        play.seats.play(play.market, self._actions(actions))
        done, info = play.done, dict[str, Any](play.hour_info())
        if done:
            info["totals"] = play.day_info()
        agents = self.agents
        answer = (
            self._observations(),
            self._rewards(),
            dict.fromkeys(agents, done),
            dict.fromkeys(agents, False),
            {agent: dict(info) for agent in agents},
        )
        if done:
            self.agents = []
        return answer

    def _observations(self) -> dict[str, np.ndarray]:
        of = {role: self.play.observe_role(role)[0] for role in self.play.seats.roles}
        return {agent: of[role][k] for agent, (role, k) in self._role.items()}


class MarketAECEnv(_Agents, AECEnv[str, np.ndarray, np.ndarray]):
    """The same market in its order of moves: DSO, aggregators, then buses or consumers.

    Each level sees what those before it have announced for this hour; the hour is played when the
    last agent has acted. See `MarketParallelEnv` for everything else.
    """

    metadata: ClassVar[dict[str, Any]] = {**_Agents.metadata, "is_parallelizable": False}

    def reset(self, seed: int | None = None, options: dict | None = None) -> None:
        """Draw a new day; options are left to others."""
        self._begin(seed)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {agent: {} for agent in self.agents}
        self._given: dict[str, np.ndarray] = {}
        self._seen: tuple[tuple, np.ndarray] = (), np.empty(0)
        self.agent_selection = self.agents[0]

    def observe(self, agent: str) -> np.ndarray:
        """What an agent sees, with what has been announced for this hour so far."""
        role, k = self._role[agent]
        seats, market = self.play.seats, self.play.market
        told: dict[str, Floats] = {}
        for before, key in (("dso", "directive"), ("aggregators", "quote")):
            if before in seats.roles and before != role and not market.done:
                names = seats.agents[before]
                if all(name in self._given for name in names):
                    action = np.stack([as_numbers(self._given[name]) for name in names])[None]
                    told[key] = getattr(seats, key)(market, action.astype(np.float64))
        now = (role, market.t, *told)
        if self._seen[0] != now:  # the agents of a level see alike what has been announced
            self._seen = now, self.play.observe_role(role, **told)[0]
        return self._seen[1][k].copy()

    def step(self, action: np.ndarray | None) -> None:
        """Act for the agent whose turn it is.

        Raises:
            ActionError: The action has the wrong shape or lies outside [-1, 1], or the day is over.
        """
        if not self.agents:
            raise ActionError("step was called before a day or after its end; call reset first.")
        agent = self.agent_selection
        if self.terminations[agent]:
            self._was_dead_step(action)  # type: ignore[arg-type]
            return
        self._given[agent] = self._readable(agent, action)
        self._cumulative_rewards[agent] = 0.0
        self._clear_rewards()
        turn = self.agents.index(agent) + 1
        if turn < len(self.agents):
            self.agent_selection = self.agents[turn]
            return
        play = self.play
        actions = self._actions(self._given)
        self._given = {}
        play.seats.play(play.market, actions)
        self._seen = (), np.empty(0)
        self.rewards = self._rewards()
        info: dict[str, Any] = dict(play.hour_info())
        if play.done:
            self.terminations = dict.fromkeys(self.agents, True)
            info["totals"] = play.day_info()
        self.infos = {name: dict(info) for name in self.agents}
        self.agent_selection = self.agents[0]
        self._accumulate_rewards()

    def restore_state(self, saved: dict[str, Any]) -> None:
        """Go on from what `save_state` returned, at the beginning of an hour.

        Raises:
            StateError: It is of an environment with other options.
        """
        self.reset()
        super().restore_state(saved)
        self._seen = (), np.empty(0)

    def _readable(self, agent: str, action: Any) -> np.ndarray:
        """The action, refused at once where it cannot be played."""
        played, space = as_numbers(action), self.action_spaces[agent]
        if played.shape != space.shape or not (np.abs(played) <= 1.0).all():
            raise ActionError(
                f"action of {agent} is {action!r}; expected shape {space.shape}, numbers in "
                "[-1, 1]."
            )
        return played


def parallel_env(**options: Any) -> MarketParallelEnv:
    """The market with everybody moving at once; see `MarketParallelEnv`."""
    return MarketParallelEnv(**options)


def raw_env(**options: Any) -> MarketAECEnv:
    """The market in its order of moves, unguarded; see `MarketAECEnv`."""
    return MarketAECEnv(**options)


def env(**options: Any) -> AECEnv:
    """The same, guarded against calls in a wrong order."""
    from pettingzoo.utils.wrappers import OrderEnforcingWrapper

    return OrderEnforcingWrapper(raw_env(**options))
