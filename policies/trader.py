"""Policies of the trader: rules, and the exact optimum."""

from __future__ import annotations

from numbers import Real
from typing import Protocol

import numpy as np

from flexgym.baselines.trader import TraderSolution, cost_to_go
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats
from flexgym.envs.trader.dynamics import Ints, forward_room, option_room
from flexgym.envs.trader.simulation import TraderSimulation


class TraderPolicy(Protocol):
    """Maps what n traders see to n actions.

    Attributes:
        name: Short name for tables.
    """

    name: str

    def begin(self, simulation: TraderSimulation) -> None:
        """Prepare for new episodes."""
        ...

    def act(self, simulation: TraderSimulation) -> Floats:
        """Actions for this hour, shape (n, 3), in [-1, 1]."""
        ...


def worth_exercising(simulation: TraderSimulation) -> Ints:
    """Lots of options to exercise now: all if the strike is below the expected price, else none."""
    use = simulation.strike_eur_per_kwh < simulation.expected_eur_per_kwh
    return np.where(use, simulation.optioned, 0)


class _Rule:
    """Exercises what is worth exercising; what it buys, subclasses say."""

    name = ""

    def begin(self, simulation: TraderSimulation) -> None:
        """Nothing to prepare."""

    def act(self, simulation: TraderSimulation) -> Floats:
        """Actions for this hour, shape (n, 3)."""
        if not simulation.trading:
            return simulation.action(exercised=worth_exercising(simulation))
        terms, covered, optioned = simulation.terms, simulation.covered, simulation.optioned
        forward, options = self.wants(simulation)
        forward = np.where(forward, forward_room(terms, covered, optioned), 0)
        options = np.where(options, option_room(terms, covered + forward, optioned), 0)
        return simulation.action(forward, options)

    def wants(self, simulation: TraderSimulation) -> tuple[np.ndarray, np.ndarray]:
        """Whether to buy forward, and options, as many as possible now, (n,) each."""
        raise NotImplementedError


class SpotOnly(_Rule):
    """Buys no contract: everything at spot. Score 0."""

    name = "spot only"

    def wants(self, simulation: TraderSimulation) -> tuple[np.ndarray, np.ndarray]:
        """Nothing."""
        none = np.zeros(simulation.n, dtype=bool)
        return none, none


class ForwardAtOnce(_Rule):
    """Buys forward from the first hour on, as fast as the market allows, whatever the quote."""

    name = "forward at once"

    def wants(self, simulation: TraderSimulation) -> tuple[np.ndarray, np.ndarray]:
        """Forwards always."""
        every = np.ones(simulation.n, dtype=bool)
        return every, ~every


class OptionAtOnce(_Rule):
    """Buys options from the first hour on, as fast as the market allows, whatever the premium."""

    name = "options at once"

    def wants(self, simulation: TraderSimulation) -> tuple[np.ndarray, np.ndarray]:
        """Options always."""
        every = np.ones(simulation.n, dtype=bool)
        return ~every, every


class BelowValue(_Rule):
    """Buys what is quoted below its value under the price model, forwards first.

    Args:
        margin: By how much, as a share of the value.

    Raises:
        ScenarioError: The margin is not below 1, or no number.
    """

    def __init__(self, margin: float = 0.0) -> None:
        number = isinstance(margin, Real) and not isinstance(margin, bool)
        if not number or not -np.inf < margin < 1.0:
            raise ScenarioError(f"margin is {margin!r}; expected a number below 1.")
        self.margin = margin
        self.name = f"below value - {100 * margin:g} %" if margin else "below value"

    def wants(self, simulation: TraderSimulation) -> tuple[np.ndarray, np.ndarray]:
        """Those with a low quote."""
        quotes, values = simulation.quoted, simulation.fair
        forward, options = (
            quote <= value - self.margin * np.abs(value)
            for quote, value in zip(quotes, values, strict=True)
        )
        return forward, options


class OptimalTrader:
    """Plays the exact dynamic program; each day that occurs is solved once."""

    name = "optimal"

    def __init__(self) -> None:
        self._solved: dict[tuple[str, int], TraderSolution] = {}
        self._rows: list[tuple[np.ndarray, TraderSolution]] = []

    def begin(self, simulation: TraderSimulation) -> None:
        """Solve the days that are played."""
        scenario = simulation.scenario
        self._rows = []
        for row in np.unique(simulation.episodes.row).tolist():
            key = scenario.fingerprint, row
            if key not in self._solved:
                self._solved[key] = cost_to_go(scenario, row)
            self._rows.append((np.flatnonzero(simulation.episodes.row == row), self._solved[key]))

    def act(self, simulation: TraderSimulation) -> Floats:
        """Actions for this hour, shape (n, 3)."""
        lots = np.zeros((3, simulation.n), dtype=np.int64)
        t, D = simulation.t, simulation.terms.first_delivery
        for who, solved in self._rows:
            signal = simulation.signal[who]
            held = simulation.covered[who], simulation.optioned[who]
            if simulation.trading:
                at = t, signal, simulation.episodes.quote[who, t], *held
                lots[0, who], lots[1, who] = solved.forward_lots[at], solved.option_lots[at]
            else:
                lots[2, who] = solved.exercised_lots[(t - D, signal, *held)]
        return simulation.action(*lots)

    @property
    def value_eur(self) -> Floats:
        """Expected cost of each day that was begun last, in the order of its row, EUR."""
        return np.array([solved.value_eur for _, solved in self._rows])


def trader_rules() -> tuple[_Rule, ...]:
    """The rules that tables show, from the idlest to the keenest."""
    return SpotOnly(), ForwardAtOnce(), OptionAtOnce(), BelowValue(), BelowValue(0.05)
