"""Exact optimum of a bus whose customers do as they are told: equal spins, uncertain prices.

What is owed is known from X, the sum over hours of load (whole %) times customers up, so the
program runs over whole numbers and is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexgym.envs.aggregator_market.dynamics import energy_mwh, settlement_eur
from flexgym.envs.aggregator_market.params import HOURS, Day, Tariffs
from flexgym.envs.compiled import compiled
from flexgym.envs.errors import ScenarioError, StateError
from flexgym.envs.household.params import Floats

Settlement = Literal["balanced", "bought"]
"""Whether (23) must hold exactly at the end, or owed energy is bought."""


@dataclass(frozen=True, eq=False)
class BusProgram:
    """Best numbers of customers up.

    Attributes:
        customers: Customers of the bus.
        value_eur: Expected earnings of the day, settlement included, EUR; -inf where (23) cannot
            be met.
        choice: Best number up by hour, price state and X; a list of 24 arrays of shape
            (k, customers * percent so far + 1). -1 where (23) can no longer be met.
        percent: Load of each hour, shape (24,), %.
    """

    customers: int
    value_eur: float
    choice: list[NDArray[np.int16]]
    percent: NDArray[np.int64]

    def act(self, t: int, owed_percent: ArrayLike, price_state: ArrayLike) -> NDArray[np.int64]:
        """Best number of customers up; arguments broadcast against each other.

        Args:
            t: Hour, 0 to 23.
            owed_percent: Sum of earlier hours' loads times magnetisations, %.
            price_state: State of the real-time price.

        Raises:
            StateError: There is no such hour or state, or so much cannot be owed.
        """
        if not 0 <= t < HOURS:
            raise StateError(f"t is {t}; expected an hour from 0 to {HOURS - 1}.")
        past = int(self.percent[:t].sum())
        sums = 0.5 * self.customers * (np.asarray(owed_percent, dtype=np.float64) + past)
        x, state = np.rint(sums).astype(np.int64), np.asarray(price_state)
        table = self.choice[t]
        for name, got, end in (("X", x, table.shape[1]), ("price_state", state, len(table))):
            if got.size and not (got.min() >= 0 and got.max() < end):
                raise StateError(f"{name} has values up to {got.max()}; expected 0 to {end - 1}.")
        return table[state, x].astype(np.int64)


def bus_program(
    day: Day,
    tariffs: Tariffs,
    customers: int,
    share: float,
    settlement: Settlement = "bought",
    price_eur_per_mwh: Floats | None = None,
) -> BusProgram:
    """Solve a bus's day.

    Args:
        day: Loads and prices; a chain with a single factor is a known day.
        tariffs: For the price of owed energy.
        customers: Customers of the bus, each up or down.
        share: The bus's share of the network's load.
        settlement: How the day ends.
        price_eur_per_mwh: What the bus is paid, shape (24,) or (24, k), EUR/MWh: the real-time
            price if None, which is social; an aggregator's quotes for a selfish bus.

    Raises:
        ScenarioError: Unknown settlement, no customers, or prices of another shape.
    """
    if settlement not in get_args(Settlement):
        raise ScenarioError(
            f"settlement is {settlement!r}; expected one of {get_args(Settlement)}."
        )
    if not 1 <= customers < 2**15:
        raise ScenarioError(f"customers is {customers}; expected 1 to 32767.")
    price = _prices(day, price_eur_per_mwh)
    percent, N = day.percent, customers
    total = int(percent.sum())
    owed = (2.0 * np.arange(N * total + 1) - N * total) / N
    if settlement == "bought":
        rule = (float(share), day.load_kw, tariffs.shortage_eur_per_mwh)
        end = np.array([-settlement_eur(x, *rule) for x in owed.tolist()])
    else:
        end = np.where(2 * np.arange(N * total + 1) == N * total, 0.0, -np.inf)
    value = np.tile(end, (price.shape[1], 1))
    choice: list[NDArray[np.int16]] = []
    magnetisation = (2.0 * np.arange(N + 1) - N) / N
    for t in reversed(range(HOURS)):
        energy = energy_mwh(float(share), int(percent[t]), day.load_kw)
        gain = energy * price[t][:, None] * magnetisation
        # Row by row: a matrix product would make 0 times -inf of what cannot be reached.
        ahead = _expected(day.price.matrix, value)
        states = N * int(percent[:t].sum()) + 1
        value, best = np.empty((len(gain), states)), np.empty((len(gain), states), np.int16)
        _best_up(ahead, gain, int(percent[t]), value, best)
        choice.append(best)
    return BusProgram(N, float(value[day.first_state, 0]), choice[::-1], percent)


def open_loop_value(day: Day, tariffs: Tariffs, customers: int, share: float) -> float:
    """The best schedule that is fixed before the day begins, expected EUR.

    Args:
        day: Loads and prices.
        tariffs: For the price of owed energy.
        customers: Customers of the bus.
        share: The bus's share of the network's load.
    """
    chance = np.zeros(len(day.price.factors))
    chance[day.first_state] = 1.0
    mean = np.empty((HOURS, len(chance)))
    for t in range(HOURS):
        mean[t] = day.rtem[t] @ chance
        chance = chance @ day.price.matrix
    return bus_program(day, tariffs, customers, share, price_eur_per_mwh=mean).value_eur


def _prices(day: Day, given: Floats | None) -> Floats:
    states = len(day.price.factors)
    if given is None:
        return day.rtem
    price = np.asarray(given, dtype=np.float64)
    if price.shape == (HOURS,):
        price = np.repeat(price[:, None], states, axis=1)
    if price.shape != (HOURS, states) or not np.isfinite(price).all():
        raise ScenarioError(
            f"price_eur_per_mwh has shape {price.shape}; expected finite numbers, ({HOURS},) or "
            f"({HOURS}, {states})."
        )
    return price


def _expected(chain: Floats, value: Floats) -> Floats:
    """Mean over the next price state; -inf stays where all chances lead to it."""
    ahead = np.zeros_like(value)
    for s, row in enumerate(chain):
        for later in np.flatnonzero(row):
            ahead[s] += row[later] * value[later]
    return ahead


@compiled
def _best_up(ahead, gain, percent, value, best):
    """Best number of customers up for every price state and X, in place."""
    for s in range(value.shape[0]):
        for x in range(value.shape[1]):
            most, up = -np.inf, -1
            for n in range(gain.shape[1]):
                worth = gain[s, n] + ahead[s, x + percent * n]
                if worth > most:
                    most, up = worth, n
            value[s, x] = most
            best[s, x] = up
