"""Exact dynamic program of the trader: hour, signal, quotes, lots covered and optioned.

V(t, s, q, c, o) is the least expected cost from hour t on. The lots are the environment's own, so
nothing is interpolated; costs are those of `flexgym.envs.trader.dynamics`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.data.calendar import as_index
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats
from flexgym.envs.trader.dynamics import (
    contract_eur,
    delivery_eur,
    forward_room,
    option_room,
)
from flexgym.envs.trader.observation import quoted
from flexgym.envs.trader.params import TraderTerms
from flexgym.envs.trader.scenario import Episodes, TraderScenario

_TIE = 1e-12
Lots = NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class TraderSolution:
    """The optimum of one day.

    Attributes:
        value_eur: Least expected cost, before the first signal is seen, EUR.
        trading_eur: Cost-to-go while contracts trade, shape (D, n, quotes, N + 1, N + 1), EUR, by
            lots covered and optioned; 0 where these are more than the need.
        delivery_eur: Likewise in the hours of delivery, shape (H, n, N + 1, N + 1).
        forward_lots: What to buy forward, shape of ``trading_eur``; the fewest if several.
        option_lots: Whose options to buy beside them.
        exercised_lots: What to exercise, shape of ``delivery_eur``.
    """

    value_eur: float
    trading_eur: Floats
    delivery_eur: Floats
    forward_lots: Lots
    option_lots: Lots
    exercised_lots: Lots


def cost_to_go(scenario: TraderScenario, row: int = 0) -> TraderSolution:
    """Solve one day of a scenario.

    Args:
        scenario: Days and terms.
        row: Position of the day in ``scenario.days``.

    Raises:
        ScenarioError: There is no such position.
    """
    at = as_index(row)
    if at is None or not 0 <= at < len(scenario.processes):
        raise ScenarioError(
            f"row is {row!r}; expected a position in scenario.days, 0 to "
            f"{len(scenario.processes) - 1}."
        )
    terms, quotes, process = scenario.terms, scenario.quotes, scenario.processes[row]
    D, hours = terms.first_delivery, terms.hours
    n, k, size = process.signals, terms.quotes, terms.need_lots + 1
    delivery = np.zeros((terms.delivery_hours, n, size, size))
    exercised = np.zeros(delivery.shape, dtype=np.int16)
    later = np.zeros((n, size, size))
    for t in reversed(range(D, hours)):
        if t + 1 < hours:
            later = np.tensordot(process.transition[t], delivery[t + 1 - D], 1)
        price = quotes.price[row, t]
        best = best_delivery(terms, later, price, quotes.strike[row])
        delivery[t - D], exercised[t - D] = best
    trading = np.zeros((D, n, k, size, size))
    forward = np.zeros(trading.shape, dtype=np.int16)
    options = np.zeros_like(forward)
    step = scenario.quote_process.transition
    for t in reversed(range(D)):
        if t + 1 < D:
            # The quotes go their own way, whatever the signals do.
            after = np.moveaxis(np.tensordot(step[t], trading[t + 1], (1, 1)), 0, 1)
            later = np.tensordot(process.transition[t], after, 1)
        else:
            later = np.tensordot(process.transition[t], delivery[0], 1)[:, None]
            later = np.broadcast_to(later, (n, k, size, size))
        quote = quotes.forward[row, t], quotes.premium[row, t]
        trading[t], forward[t], options[t] = best_trade(terms, later, *quote)
    first = scenario.quote_process.initial
    value = float(process.initial @ trading[0, :, :, 0, 0] @ first)
    return TraderSolution(value, trading, delivery, forward, options, exercised)


def best_trade(
    terms: TraderTerms, later: Floats, forward: Floats, premium: Floats
) -> tuple[Floats, Lots, Lots]:
    """Best purchase in an hour of trading.

    Args:
        terms: The need.
        later: Cost from the next hour on, by lots covered and optioned then, shape
            (..., N + 1, N + 1), EUR.
        forward: Quote of a forward, shape (...), EUR/kWh.
        premium: Quote of an option, likewise.

    Returns:
        Cost from this hour on by lots now, and lots to buy forward and to option, each of shape
        (..., N + 1, N + 1); 0 where the lots are more than the need.
    """
    size = terms.need_lots + 1
    covered, optioned = np.indices((size, size))
    forward, premium = forward[..., None, None], premium[..., None, None]
    best = np.full(later.shape, np.inf)
    chosen = np.zeros(later.shape, dtype=np.int16)
    options = np.zeros_like(chosen)
    for f in range(min(terms.forward_depth, terms.need_lots) + 1):
        for o in range(min(terms.option_depth, terms.need_lots) + 1):
            possible = f <= forward_room(terms, covered, optioned)
            possible &= o <= option_room(terms, covered + f, optioned)
            to = np.minimum(covered + f, size - 1), np.minimum(optioned + o, size - 1)
            cost = contract_eur(terms, f, forward) + contract_eur(terms, o, premium)
            candidate = np.where(possible, later[..., to[0], to[1]] + cost, np.inf)
            better = candidate < best - _TIE
            best = np.where(better, candidate, best)
            chosen[better], options[better] = f, o
    return np.where(covered + optioned < size, best, 0.0), chosen, options


def best_delivery(
    terms: TraderTerms, later: Floats, price: Floats, strike: Floats | float
) -> tuple[Floats, Lots]:
    """Best exercise in an hour of delivery.

    Args:
        terms: The need.
        later: Cost from the next hour on, by lots covered and optioned, (..., N + 1, N + 1), EUR.
        price: Expected spot price, shape (...), EUR/kWh.
        strike: Strike, shape (...) or a number, EUR/kWh.

    Returns:
        Cost from this hour on, and lots to exercise, each of shape (..., N + 1, N + 1).
    """
    size = terms.need_lots + 1
    covered, optioned = np.indices((size, size))
    spot, strikes = price[..., None, None], np.asarray(strike)[..., None, None]
    best = np.full(later.shape, np.inf)
    chosen = np.zeros(later.shape, dtype=np.int16)
    for used in range(size):
        paid = delivery_eur(terms, covered, used, spot, strikes)
        candidate = np.where(used <= optioned, paid[0] + paid[1] + later, np.inf)
        better = candidate < best - _TIE
        best = np.where(better, candidate, best)
        chosen[better] = used
    return np.where(covered + optioned < size, best, 0.0), chosen


def foresight_eur(scenario: TraderScenario, episodes: Episodes) -> Floats:
    """Least cost of episodes whose prices and quotes are all known in advance, shape (n,), EUR.

    A bound for every policy: no one can know that.

    Args:
        scenario: Where they are from.
        episodes: n of them.
    """
    terms, quotes = scenario.terms, scenario.quotes
    size = terms.need_lots + 1
    strike = quotes.strike[episodes.row]
    later = np.zeros((len(episodes.row), size, size))
    for t in reversed(range(terms.hours)):
        if t >= terms.first_delivery:
            price = episodes.price_eur_per_kwh[:, t]
            later = best_delivery(terms, later, price, strike)[0]
        else:
            later = best_trade(terms, later, *quoted(quotes, episodes, t))[0]
    return later[:, 0, 0]
