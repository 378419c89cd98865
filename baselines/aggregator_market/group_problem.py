"""The decisions of one group's day as arrays: what may be done, what it earns, how consumers move.

All consumers of a group are coupled to each other, so how many are up is all that counts: a
birth-death chain whose steps are known exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.aggregator_market.accounts import trade
from flexgym.envs.aggregator_market.dynamics import (
    energy_mwh,
    highest_quote,
    local_field,
    owed_h,
    settlement_eur,
)
from flexgym.envs.aggregator_market.params import HOURS, Day, Group, Herding, Tariffs
from flexgym.envs.compiled import compiled
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats

Role = Literal["aggregator", "directive"]
"""Who acts: an aggregator that quotes a price, or the DSO that sets a directive."""


@dataclass(frozen=True, eq=False)
class GroupProblem:
    """What every program and rule of a group's day shares.

    Attributes:
        day: Loads and prices.
        herding: How consumers move.
        tariffs: What may be quoted, and what is paid.
        group: The consumers.
        role: Who acts. The other level does nothing: an aggregator acts without a directive,
            the DSO while the quote is the consumers' shadow price.
    """

    day: Day
    herding: Herding
    tariffs: Tariffs
    group: Group
    role: Role = "aggregator"

    def __post_init__(self) -> None:
        if self.role not in get_args(Role):
            raise ScenarioError(f"role is {self.role!r}; expected one of {get_args(Role)}.")

    @cached_property
    def options(self) -> Floats:
        """Every quote (EUR/MWh) or directive, ascending, shape (a,)."""
        if self.role == "directive":
            return self.tariffs.directives
        return self.tariffs.quotes_eur_per_mwh

    @cached_property
    def allowed(self) -> NDArray[np.int64]:
        """How many options, from the first, may be taken in an hour and state, shape (24, k)."""
        rtem = self.day.rtem
        if self.role == "directive":
            return np.full(rtem.shape, len(self.options))
        c = self.tariffs
        low, step = c.lowest_quote_eur_per_mwh, c.quote_step_eur_per_mwh
        count = np.empty(rtem.shape, dtype=np.int64)
        for at, price in np.ndenumerate(rtem):
            top = highest_quote(price, low, c.highest_quote_eur_per_mwh, step, c.profit_factor)
            count[at] = round((top - low) / step) + 1
        return count

    @cached_property
    def margin_eur(self) -> Floats:
        """What an hour earns per unit of magnetisation, shape (24, k, a), EUR."""
        margin = np.empty((*self.day.rtem.shape, len(self.options)))
        retail, load = self.tariffs.shortage_eur_per_mwh, self.day.load_kw
        all_of_them = np.full((len(self.options), 1), float(self.group.share))
        one, nothing = np.zeros(1, dtype=np.int64), np.zeros_like(all_of_them)
        for (t, k), price in np.ndenumerate(self.day.rtem):
            energy = energy_mwh(1.0, float(self.day.percent[t]), load)
            rtem, quote = np.full(len(self.options), price), self.options[:, None]
            hour = trade(energy, rtem, retail, quote, one, all_of_them, nothing)
            margin[t, k] = hour.aggregators[:, 0] if self.role == "aggregator" else hour.welfare
        return margin

    @cached_property
    def charge_eur(self) -> Floats:
        """What an hour costs whatever consumers do, shape (24, a), EUR."""
        if self.role == "aggregator":
            return np.zeros((HOURS, len(self.options)))
        rate = self.tariffs.directive_eur_per_mwh * np.abs(self.options)
        return self.energy_mwh[:, None] * rate

    @cached_property
    def energy_mwh(self) -> Floats:
        """Scheduled energy of each hour, shape (24,), MWh."""
        share, load = float(self.group.share), self.day.load_kw
        return np.array([energy_mwh(share, p, load) for p in self.day.percent.tolist()])

    @cached_property
    def magnetisation(self) -> Floats:
        """Magnetisation of 0, 1, ... consumers up, shape (customers + 1,)."""
        N = self.group.customers
        return (2.0 * np.arange(N + 1) - N) / N

    @cached_property
    def levels_h(self) -> Floats:
        """Every value of what consumers feel they owe, ascending, hours."""
        most = self.herding.most_owed_h
        tenths = np.arange(-math.ceil(10 * most), math.ceil(10 * most) + 1) / 10.0
        return np.unique(np.clip(tenths, -most, most))

    @cached_property
    def start(self) -> Floats:
        """Chance of 0, 1, ... consumers up before the first hour, shape (customers + 1,)."""
        N = self.group.customers
        logs = [
            math.lgamma(N + 1) - math.lgamma(n + 1) - math.lgamma(N - n + 1) for n in range(N + 1)
        ]
        chance = np.exp(np.array(logs) - N * math.log(2.0))
        return chance / chance.sum()

    def level(self, owed_percent: Floats) -> NDArray[np.int64]:
        """Position in `levels_h` of each sum of loads times magnetisations (%)."""
        flat = np.ascontiguousarray(owed_percent, dtype=np.float64).ravel()
        mean = float(self.day.percent.mean())
        felt = _felt_h(flat, mean, float(self.herding.most_owed_h))
        return np.searchsorted(self.levels_h, felt - 1e-9).reshape(np.shape(owed_percent))

    def settlement_eur(self, owed_percent: Floats) -> Floats:
        """What is paid at the end of the day, EUR, same shape."""
        flat = np.ascontiguousarray(owed_percent, dtype=np.float64).ravel()
        rule = (float(self.group.share), self.day.load_kw, self.tariffs.shortage_eur_per_mwh)
        return _settled_eur(flat, *rule).reshape(np.shape(owed_percent))

    def moves(self, levels: NDArray[np.int64]) -> Moves:
        """What an hour of sweeps does under every option at some of the levels.

        Args:
            levels: Positions in `levels_h` that are needed, any order.
        """
        used = np.unique(levels)
        c, wishes = self.herding, self.options
        calm = c.shadow_price_eur_per_mwh
        fields = np.empty((len(used), len(wishes)))
        for (i, a), _ in np.ndenumerate(fields):
            wish = float(wishes[a])
            pair = (0.0, wish) if self.role == "aggregator" else (wish, calm)
            owed = float(self.levels_h[used[i]])
            fields[i, a] = local_field(*pair, owed, c.incentive, calm, c.rebound_eur_per_mwh_h)
        distinct, where = np.unique(np.round(fields, 10), return_inverse=True)
        position = np.full((len(self.levels_h), len(wishes)), -1, dtype=np.int64)
        position[used] = where.reshape(fields.shape)
        return Moves(position, hour_matrices(distinct, self.group.customers, c))


@dataclass(frozen=True, eq=False)
class Moves:
    """Chances of an hour, one matrix for each distinct field.

    Attributes:
        position: Which matrix, by level of what is owed and option, shape (levels, a); -1 where
            it was not asked for.
        matrices: Chance to go from row to column, shape (fields, customers + 1, customers + 1).
    """

    position: NDArray[np.int64]
    matrices: Floats


def hour_matrices(fields: Floats, customers: int, herding: Herding) -> Floats:
    """Chances that an hour of Metropolis sweeps takes n consumers up to n', exactly.

    Each of ``sweeps * customers`` attempts picks a consumer at random.

    Args:
        fields: Local field of each matrix, shape (f,).
        customers: Consumers of the group, all coupled to each other.
        herding: Temperature, coupling and sweeps.

    Returns:
        Shape (f, customers + 1, customers + 1).
    """
    N = customers
    pair = herding.coupling / (N - 1) if N > 1 else 0.0
    result = np.empty((len(fields), N + 1, N + 1))
    size = max(1, 2_000_000 // (N + 1) ** 2)
    for first in range(0, len(fields), size):
        part = fields[first : first + size]
        base = np.zeros((len(part), N + 1, N + 1))
        _attempts(np.ascontiguousarray(part), N, pair, float(herding.temperature), base)
        left, power = herding.sweeps * N, None
        while left:
            if left & 1:
                power = base if power is None else power @ base
            left >>= 1
            if left:
                base = base @ base
        result[first : first + size] = power
    return result


@compiled
def _attempts(fields, customers, pair, temperature, chance):
    """One attempt to flip a consumer picked at random, for each field."""
    for f in range(len(fields)):
        for n in range(customers + 1):
            total = 2 * n - customers
            if n > 0:
                cost = 2.0 * (pair * (total - 1) + fields[f])
                accepted = 1.0 if cost <= 0.0 else np.exp(-cost / temperature)
                chance[f, n, n - 1] = n / customers * accepted
            if n < customers:
                cost = -2.0 * (pair * (total + 1) + fields[f])
                accepted = 1.0 if cost <= 0.0 else np.exp(-cost / temperature)
                chance[f, n, n + 1] = (customers - n) / customers * accepted
            moved = 0.0
            if n > 0:
                moved += chance[f, n, n - 1]
            if n < customers:
                moved += chance[f, n, n + 1]
            chance[f, n, n] = 1.0 - moved


@compiled
def _felt_h(owed_percent, mean_percent, most_h):
    felt = np.empty(len(owed_percent))
    for i in range(len(owed_percent)):
        felt[i] = owed_h(owed_percent[i], mean_percent, most_h)
    return felt


@compiled
def _settled_eur(owed_percent, share, load_kw, shortage):
    paid = np.empty(len(owed_percent))
    for i in range(len(owed_percent)):
        paid[i] = settlement_eur(owed_percent[i], share, load_kw, shortage)
    return paid
