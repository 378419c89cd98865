"""Who may act in the market: what each role's actions in [-1, 1] stand for, and its reward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from flexgym.envs.aggregator_market.accounts import HOUR_NAMES
from flexgym.envs.aggregator_market.dynamics import directed, quoted
from flexgym.envs.aggregator_market.scenario import MarketScenario
from flexgym.envs.aggregator_market.simulation import MarketSimulation
from flexgym.envs.compiled import compiled
from flexgym.envs.errors import ActionError, PriceBoundError, ScenarioError
from flexgym.envs.household.action_map import as_numbers
from flexgym.envs.household.params import Floats

Role = Literal["dso", "aggregators", "buses", "consumers"]
ROLES: tuple[Role, ...] = ("dso", "aggregators", "buses", "consumers")
"""In the order in which they move."""
REWARDS = ("own", "welfare")
"""Own money; or what the whole market gains from the part of it that an agent moves."""
Behaviour = Callable[[MarketSimulation], Floats]
"""What a role does when it does not learn: directives (n,), quotes (n, K) in EUR/MWh within (10),
or magnetisations (n, B). It is asked once an hour, when the levels above have announced theirs."""


class Seats:
    """The roles that learn in a market, their agents, actions and rewards.

    Attributes:
        roles: Those that learn, in the order in which they move.
        agents: Names of the agents of each.

    Args:
        scenario: The market.
        learners: Roles that learn.
        others: What the other roles do; by default the DSO is silent, aggregators are silent,
            which is a quote of the shadow price, at which consumers do not care, whatever (10)
            allows, and consumers herd.
        reward: One of `REWARDS` for all; None is own money where there is some to earn: welfare
            for a DSO without purchases, and for buses and consumers of silent aggregators.
        purchases: Whether buses also choose what they buy from the DSO and sell on.

    Raises:
        ScenarioError: Unknown, missing or contradictory roles.
    """

    def __init__(
        self,
        scenario: MarketScenario,
        learners: Sequence[str],
        others: Mapping[str, Behaviour] | None = None,
        reward: str | None = None,
        purchases: bool = False,
    ) -> None:
        listed = isinstance(learners, Sequence) and all(isinstance(r, str) for r in learners)
        if not listed:
            raise ScenarioError(f"learners is {learners!r}; expected names of {', '.join(ROLES)}.")
        named = (learners,) if isinstance(learners, str) else tuple(learners)
        unknown = sorted(set(named) - set(ROLES))
        if unknown or not named or len(set(named)) < len(named):
            raise ScenarioError(
                f"learners is {named}; expected one or more of {', '.join(ROLES)}, each once."
            )
        if {"buses", "consumers"} <= set(named):
            raise ScenarioError("learners has buses and consumers; expected one of them.")
        self.roles: tuple[Role, ...] = tuple(role for role in ROLES if role in named)
        if not isinstance(others, Mapping | None) or not all(
            map(callable, (others or {}).values())
        ):
            raise ScenarioError(f"others is {others!r}; expected a mapping of roles to functions.")
        self.others = dict(others or {})
        strange = sorted(set(self.others) - set(ROLES[:3])) or sorted(
            set(self.others) & set(self.roles)
        )
        if strange:
            raise ScenarioError(
                f"others has {', '.join(strange)}; expected roles of {', '.join(ROLES[:3])} that "
                "do not learn."
            )
        if "buses" in self.others and "consumers" in self.roles:
            raise ScenarioError("others has buses, but consumers learn; expected one of them.")
        if reward not in (None, *REWARDS):
            raise ScenarioError(f"reward is {reward!r}; expected one of {', '.join(REWARDS)}.")
        if not isinstance(purchases, bool):
            raise ScenarioError(f"purchases is {purchases!r}; expected True or False.")
        self._reward = reward
        if purchases and "buses" not in self.roles:
            raise ScenarioError("purchases is set, but no buses learn; expected learners of them.")
        self.scenario, self.purchases = scenario, purchases
        held = scenario.households.buses if scenario.households is not None else ()
        self.active = np.setdiff1d(np.flatnonzero(scenario.flexible > 0), held)
        """Load buses that take part, but for those with real houses, which hear prices only."""
        names = {
            "dso": ("dso_1",),
            "aggregators": tuple(f"aggregator_{k + 1}" for k in range(scenario.n_aggregators)),
            # The source counts buses from 1, the slack.
            "buses": tuple(f"bus_{i + 2}" for i in self.active),
            "consumers": tuple(f"consumer_{c + 1}" for c in range(len(scenario.bus_of))),
        }
        self.agents: dict[Role, tuple[str, ...]] = {role: names[role] for role in self.roles}

    @property
    def payer(self) -> str:
        """Who settles what is owed: the lowest level that learns."""
        return self.roles[-1]

    def reward(self, role: Role) -> str:
        """Which of `REWARDS` a role gets."""
        if self._reward is not None:
            return self._reward
        if role == "dso":
            return "own" if self.purchases else "welfare"
        paid = role == "aggregators" or "aggregators" in (*self.roles, *self.others)
        return "own" if paid else "welfare"

    def n_actions(self, role: Role) -> int:
        """Entries of an agent's action."""
        return 2 if role == "buses" and self.purchases else 1

    def directive(self, market: MarketSimulation, action: Floats | None) -> Floats:
        """Directives, shape (n,): of the learner's actions (n, 1, 1) or of who acts instead.

        They are announced in the market. Who does not learn is asked once an hour.
        """
        rules = self.scenario.tariffs
        if action is not None:
            told = _directives(action[:, 0, 0], rules.most_directive, rules.directive_step)
        elif "directive" in market.announced:
            return market.announced["directive"]
        else:
            told = self._other("dso", market, np.zeros(market.n))
        market.announce(directive=told)
        return told

    def quote(self, market: MarketSimulation, action: Floats | None) -> Floats:
        """Quotes, shape (n, K), EUR/MWh; see `directive`.

        Raises:
            PriceBoundError: Aggregators that do not learn quote outside of (10).
        """
        rules, silent = self.scenario.tariffs, self.scenario.herding.shadow_price_eur_per_mwh
        if action is not None:
            told = _quotes(
                action[:, :, 0], market.rtem, rules.lowest_quote_eur_per_mwh,
                rules.highest_quote_eur_per_mwh, rules.quote_step_eur_per_mwh, rules.profit_factor,
            )  # fmt: skip
        elif "quote" in market.announced:
            return market.announced["quote"]
        else:
            shape = (market.n, self.scenario.n_aggregators)
            told = self._other("aggregators", market, np.full(shape, silent))
            top = market.rtem[:, None] / rules.profit_factor
            if "aggregators" in self.others and not ((told >= 0.0) & (told <= top + 1e-9)).all():
                raise PriceBoundError(
                    f"aggregators quote {told.min():g} to {told.max():g} EUR/MWh; expected 0 to "
                    f"the real-time price over {rules.profit_factor:g}, now {top.min():g} or more."
                )
        market.announce(quote=told)
        return told

    def _other(self, role: str, market: MarketSimulation, usual: Floats) -> Floats:
        if role not in self.others:
            return usual
        found = self.others[role](market)
        try:
            return np.array(np.broadcast_to(np.asarray(found, dtype=np.float64), usual.shape))
        except (TypeError, ValueError) as error:
            raise ActionError(
                f"what {role} do cannot be read ({error}); expected numbers of shape {usual.shape}."
            ) from error

    def play(self, market: MarketSimulation, actions: Mapping[Role, Floats]) -> Floats:
        """Play an hour.

        Args:
            market: The market.
            actions: Of each learning role, shape (n, agents, entries), in [-1, 1].

        Returns:
            Of `MarketSimulation.step`.

        Raises:
            ActionError: Something is no number in [-1, 1], or has the wrong shape.
        """
        played = {role: self._checked(market, role, actions[role]) for role in self.roles}
        directive = self.directive(market, played.get("dso"))
        quote = self.quote(market, played.get("aggregators"))
        buses, consumers = played.get("buses"), played.get("consumers")
        if buses is not None:
            chosen, bought = self.chosen(buses), np.zeros((market.n, len(self.scenario.bus)))
            if self.purchases:
                share = self.scenario.flexible / self.scenario.customers.sum()
                bought[:, self.active] = 0.5 * (buses[:, :, 1] + 1.0) * share[self.active]
            return market.step(directive, quote, magnetisation=chosen, bought=bought)
        if consumers is not None:
            spins = np.where(consumers[:, :, 0] >= 0.0, 1, -1)
            return market.step(directive, quote, spins=spins)
        if "buses" in self.others:
            return market.step(directive, quote, magnetisation=self.others["buses"](market))
        return market.step(directive, quote)

    def chosen(self, buses: Floats) -> Floats:
        """Magnetisations that the buses' actions (n, agents, entries) stand for, shape (n, B)."""
        flexible = self.scenario.flexible[self.active]
        found = np.zeros((len(buses), len(self.scenario.bus)))
        up = np.rint(0.5 * (buses[:, :, 0] + 1.0) * flexible)
        found[:, self.active] = (2.0 * up - flexible) / flexible
        return found

    def _checked(self, market: MarketSimulation, role: Role, action: Floats) -> Floats:
        array = as_numbers(action)
        shape = (market.n, len(self.agents[role]), self.n_actions(role))
        if array.shape != shape:
            raise ActionError(f"actions of {role} have shape {array.shape}; expected {shape}.")
        if not (np.abs(array) <= 1.0).all():  # also where it is no number
            worst = array.ravel()[np.argmin(np.abs(array.ravel()) <= 1.0)]
            raise ActionError(
                f"an action of {role} is {worst}; expected numbers in [-1, 1]. Clip or squash the "
                "policy's output."
            )
        return np.ascontiguousarray(array, dtype=np.float64)

    def rewards(self, market: MarketSimulation, role: Role) -> Floats:
        """Rewards of the last hour, shape (n, agents), EUR.

        With own money, the rewards of all roles, of those that do not learn too, add up to the
        welfare minus directive, voltages and settlement.
        """
        found = self._gained(market, role)
        if role == "dso":
            directive, voltage = market.hour[:, _PAID].T
            found = found - (directive + voltage)[:, None]
        if role == self.payer:
            found = found - market.settled
        return found[:, self.active] if role == "buses" else found

    def _gained(self, market: MarketSimulation, role: Role) -> Floats:
        scenario, money = self.scenario, market.money
        share = scenario.flexible / scenario.customers.sum()
        if role == "consumers":
            moved = market.spins / scenario.customers.sum()
            if self.reward(role) == "welfare":
                return money.worth(moved)
            of = scenario.aggregator[scenario.bus_of]
            return money.energy_mwh * market.quote[:, of] * moved
        if self.reward(role) == "welfare":
            if role == "buses":
                return money.worth(share * market.magnetisation)
            each = np.array([group.share for group in scenario.groups])
            of_group = money.worth(each * market.group_magnetisation)
            return of_group.sum(axis=1, keepdims=True) if role == "dso" else of_group
        own = {"dso": money.dso[:, None], "aggregators": money.aggregators, "buses": money.buses}
        return own[role]


_PAID = [HOUR_NAMES.index("directive_eur"), HOUR_NAMES.index("voltage_eur")]


@compiled
def _directives(action, most, step):
    out = np.empty_like(action)
    for i in range(len(action)):
        out[i] = directed(action[i], most, step)
    return out


@compiled
def _quotes(action, rtem, lowest, highest, step, profit_factor):
    out = np.empty_like(action)
    for i in range(action.shape[0]):
        for k in range(action.shape[1]):
            out[i, k] = quoted(action[i, k], rtem[i], lowest, highest, step, profit_factor)
    return out
