"""Neighbourhoods clear first; what is left meets one level up, and so on to the wholesale price.

A tree of any depth. Each order enters at the participant's node and, unmatched, goes up. A kWh
that crosses from a node to the one above pays that node's fee to the network, on the buyer's and
on the seller's way alike; so at each level bids count less and asks more by what was crossed.
Above the root a wholesaler may stand, who trades any volume at its posted prices. What is left
then is not traded here: the utility's tariff is for it.

Clearing level by level is simple and local, and not always the best: `clear_tree` can fall short
of `flexgym.baselines.local_market.welfare.tree_welfare`, and never exceeds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexgym.envs.data.calendar import as_index
from flexgym.envs.errors import OrderError, ScenarioError
from flexgym.envs.household.params import Floats
from flexgym.envs.local_market.clearing import MIDDLE, clear_books, rule_number
from flexgym.envs.local_market.orders import checked_orders
from flexgym.envs.local_market.params import LARGEST

_NEGLIGIBLE = 1e-12


@dataclass(frozen=True)
class Hierarchy:
    """A tree of markets.

    Attributes:
        parent: Node above each node; -1 is the root's, of which there is one.
        fee_eur_per_kwh: What a kWh pays that crosses from a node to the one above, EUR/kWh, >= 0;
            from the root to the wholesaler.
        member: Node at which each participant's orders enter.

    Raises:
        ScenarioError: That is no tree, a fee is negative, or a participant has no node.
    """

    parent: tuple[int, ...]
    fee_eur_per_kwh: tuple[float, ...]
    member: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("parent", "member"):
            given = getattr(self, name)
            whole = [as_index(k) for k in given] if isinstance(given, Sequence) else [None]
            if isinstance(given, str) or None in whole:
                raise ScenarioError(f"{name} is {given!r}; expected whole numbers, nodes.")
            object.__setattr__(self, name, tuple(whole))
        nodes = len(self.parent)
        roots = [k for k, above in enumerate(self.parent) if above == -1]
        good = len(roots) == 1 and all(-1 <= above < nodes for above in self.parent)
        if not good or any(len(self._path(k)) > nodes for k in range(nodes)):
            raise ScenarioError(
                f"parent is {self.parent}; expected a tree: one -1, else the node above."
            )
        try:
            fees = np.asarray(self.fee_eur_per_kwh)
            good = fees.dtype.kind in "fiu" and fees.shape == (nodes,)
        except ValueError:
            good, fees = False, np.empty(0)
        if not good or not ((fees >= 0.0) & (fees <= LARGEST)).all():
            raise ScenarioError(
                f"fee_eur_per_kwh is {self.fee_eur_per_kwh}; expected {nodes} numbers >= 0."
            )
        object.__setattr__(self, "fee_eur_per_kwh", tuple(fees.astype(np.float64).tolist()))
        if not self.member or not all(0 <= k < nodes for k in self.member):
            raise ScenarioError(
                f"member is {self.member}; expected a node, 0 to {nodes - 1}, of each participant."
            )

    @classmethod
    def flat(cls, participants: int) -> Hierarchy:
        """One market for all, without fees."""
        return cls((-1,), (0.0,), (0,) * participants)

    @classmethod
    def neighbourhoods(
        cls, participants: int, count: int, fee_eur_per_kwh: float = 0.0
    ) -> Hierarchy:
        """Neighbourhoods of equal size, give or take one, below one root.

        Args:
            participants: How many, dealt out in turn.
            count: Of neighbourhoods; 1 has no level above it.
            fee_eur_per_kwh: Of crossing from one to the root, and from the root.
        """
        if as_index(count) is None or not 1 <= count <= participants:
            raise ScenarioError(
                f"neighbourhoods is {count!r}; expected a whole number from 1 to {participants}, "
                "the participants."
            )
        if count == 1:
            return cls((-1,), (fee_eur_per_kwh,), (0,) * participants)
        member = tuple(1 + i % count for i in range(participants))
        return cls((-1, *(0,) * count), (fee_eur_per_kwh,) * (1 + count), member)

    def _path(self, node: int) -> list[int]:
        """Nodes from one to the root; longer than the tree if there is a circle."""
        path = [node]
        while self.parent[path[-1]] >= 0 and len(path) <= len(self.parent):
            path.append(self.parent[path[-1]])
        return path

    @property
    def participants(self) -> int:
        """Number of participants, n."""
        return len(self.member)

    @cached_property
    def levels(self) -> tuple[tuple[int, NDArray[np.int64]], ...]:
        """Nodes in the order in which they clear, each with the participants below it."""
        paths = [self._path(k) for k in range(len(self.parent))]
        deepest_first = sorted(range(len(paths)), key=lambda k: -len(paths[k]))
        return tuple(
            (k, np.array([i for i, at in enumerate(self.member) if k in paths[at]], dtype=np.int64))
            for k in deepest_first
        )


@dataclass(frozen=True, eq=False)
class TreeClearing:
    """What happened in m trees of n participants.

    Attributes:
        traded_kwh: Bought above 0, sold below, wholesale included, shape (m, n), kWh.
        paid_eur: Paid above 0, received below, without fees, shape (m, n), EUR.
        fee_eur: Paid to the network, shape (m, n), EUR, >= 0.
        wholesale_kwh: What of it was traded with the wholesaler, shape (m, n), kWh.
        wholesale_eur: And paid to it, shape (m, n), EUR.
        node_kwh: Volume matched at each node, shape (m, nodes), kWh.
        interval: Equilibrium interval of each node, shape (m, nodes, 2), EUR/kWh.
        books: Each node's orders in the order of clearing: who they are of, prices less or plus
            what was crossed, and volumes, each (m, members).
    """

    traded_kwh: Floats
    paid_eur: Floats
    fee_eur: Floats
    wholesale_kwh: Floats
    wholesale_eur: Floats
    node_kwh: Floats
    interval: Floats
    books: tuple[tuple[NDArray[np.int64], Floats, Floats], ...]


def clear_tree(
    hierarchy: Hierarchy,
    price: ArrayLike,
    volume: ArrayLike,
    rule: str,
    position: float = MIDDLE,
    wholesale: tuple[ArrayLike, ArrayLike] | None = None,
) -> TreeClearing:
    """Clear m trees, level by level.

    Args:
        hierarchy: The tree.
        price: Limits, fees included, shape (m, n) or (n,), EUR/kWh.
        volume: Signed volumes, same shape, kWh.
        rule: One of `flexgym.envs.local_market.params.RULES`, at every node.
        position: Where in the equilibrium interval the uniform price lies.
        wholesale: Prices at which the wholesaler buys and sells, each a number or shape (m,),
            EUR/kWh, buys <= sells; None is no wholesaler.

    Raises:
        OrderError: Orders or wholesale prices are no finite numbers, are not of these
            participants, or the rule is unknown.
    """
    number = rule_number(rule, position)
    prices, volumes = checked_orders(price, volume)
    m, n = prices.shape
    if n != hierarchy.participants:
        raise OrderError(
            f"got {n} orders a book; expected {hierarchy.participants}, one of each participant."
        )
    nodes = len(hierarchy.parent)
    sign = np.sign(volumes)
    traded, paid, fee = np.zeros((3, m, n))
    node_kwh, interval = np.empty((m, nodes)), np.empty((m, nodes, 2))
    rest, crossed = volumes, np.zeros(n)
    alone, books = nodes == 1, []
    for node, who in hierarchy.levels:
        if alone:
            at, left = prices, rest
        else:
            at = np.ascontiguousarray(prices[:, who] - sign[:, who] * crossed[who])
            left = np.ascontiguousarray(rest[:, who])
        books.append((who, at, left))
        kwh, eur, ends = np.empty(at.shape), np.empty(at.shape), np.empty((m, 2))
        clear_books(number, position, at, left, kwh, eur, ends)
        interval[:, node] = ends
        node_kwh[:, node] = 0.5 * np.abs(kwh).sum(axis=1)
        if alone:
            traded, paid = kwh, eur
        else:
            traded[:, who] += kwh
            paid[:, who] += eur
            fee[:, who] += crossed[who] * np.abs(kwh)
            rest = _left(volumes, traded)
        crossed[who] += hierarchy.fee_eur_per_kwh[node]
    outside, outside_eur = np.zeros((2, m, n))
    if wholesale is not None:
        buys, sells = _posted(wholesale, m)
        rest = _left(volumes, traded)
        at = prices - sign * crossed
        unit = np.where(sign > 0.0, sells, buys)
        outside = np.where(sign * (at - unit) >= 0.0, rest, 0.0)
        outside_eur = unit * outside
        traded, paid = traded + outside, paid + outside_eur
        fee = fee + crossed * np.abs(outside)
    return TreeClearing(traded, paid, fee, outside, outside_eur, node_kwh, interval, tuple(books))


def _left(volume: Floats, traded: Floats) -> Floats:
    """What of the orders is not traded; nothing where only rounding is left."""
    rest = volume - traded
    return np.where(np.abs(rest) <= _NEGLIGIBLE * np.abs(volume), 0.0, rest)


def _posted(wholesale: Sequence[ArrayLike], m: int) -> tuple[Floats, Floats]:
    buys, sells = posted_prices(wholesale)
    if not {len(buys), len(sells)} <= {1, m}:
        raise OrderError(f"wholesale is {wholesale!r}; expected one pair of prices, or {m}.")
    return buys, sells


def posted_prices(wholesale: Any) -> tuple[Floats, Floats]:
    """Prices at which a wholesaler buys and sells, each shape (k, 1), EUR/kWh.

    Raises:
        OrderError: They are none, not finite, or cross.
    """
    try:
        buys, sells = (np.asarray(x, dtype=np.float64).reshape(-1, 1) for x in wholesale)
        good = bool(
            (buys <= sells).all() and (np.abs(np.concatenate([buys, sells])) <= LARGEST).all()
        )
    except (TypeError, ValueError):
        good, buys, sells = False, np.empty(0), np.empty(0)
    if not good:
        raise OrderError(
            f"wholesale is {wholesale!r}; expected the finite prices at which it buys and sells, "
            "the first not above the second."
        )
    return buys, sells
