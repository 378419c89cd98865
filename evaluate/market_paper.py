"""The paper's two days: shiftable loads, and a self-sufficient network, policy by policy."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexgym.baselines.aggregator_market.self_sufficiency import balanced_buses
from flexgym.baselines.aggregator_market.shiftable import (
    selfish_day,
    shiftable_day,
    shiftable_spins,
)
from flexgym.baselines.aggregator_market.simple_days import random_days
from flexgym.envs.aggregator_market.objectives import objectives
from flexgym.envs.aggregator_market.projection import (
    balance_by_chain,
    nearest_spins,
    project_balanced,
    project_shiftable_spins,
)
from flexgym.envs.aggregator_market.scenario import CRITICAL, THREE
from flexgym.envs.aggregator_market.static_market import StaticMarket
from flexgym.envs.data.case33_day import MarketDay, case33_day
from flexgym.envs.household.params import Floats
from flexgym.envs.ising import Couplings, evolve, random_spins, random_state, snake
from flexgym.evaluate.score import normal_interval

PAPER = "Days of the paper"
SHIFTABLE, BALANCED = "shiftable loads, (23)", "self-sufficiency, (22)"
ATTEMPTS = 10_000
"""Of each hour's chain, as in the paper's figure 4; at the critical temperature."""
FIELD = 0.5
"""Directive of the self-sufficient network; our choice, the paper's value is lost."""
INCENTIVE = 0.3
"""Field of one EUR/MWh above the price of the hour that program (31) splits."""
KEPT = 0.01
"""Share of the load up to which a constraint counts as kept; only then is there a score."""


def paper_rows(days: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Play both days.

    Args:
        days: Draws of each policy that has chance in it, at least 2.
        rng: Of all draws.

    Returns:
        Rows with ``day``, ``unit``, ``policy``, ``value`` (an interval), ``score`` (None where the
        constraint is not kept) and ``missed``, the share of the load by which it is missed.
    """
    return [*_shiftable(days, rng), *_balanced(days, rng)]


def _shiftable(days: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    day = case33_day()
    market = StaticMarket.of(day, np.array(THREE))
    linear, whole = shiftable_day(day), shiftable_spins(day)
    (split,) = linear.fractional
    price = day.rtem_eur_per_mwh - day.rtem_eur_per_mwh[split - 1]
    share = market.load_share
    best = np.array([float(x) for x in linear.magnetisation])[:, None] * np.ones(len(share))
    coins = random_days(market, days, rng)
    alone, led = (_chains(day, days, field, rng) for field in (np.zeros(24), INCENTIVE * price))
    gated = _gated_days(day, days, INCENTIVE * price, rng)
    selfish = np.stack(
        [
            np.array([float(x) for x in selfish_day(day, k).magnetisation])
            for k in market.aggregator_of.tolist()
        ],
        axis=1,
    )
    played = {
        "uncontrolled": np.zeros_like(best)[None],
        "random": coins,
        "random, projected": _projected(day, coins),
        "MH": alone,
        "MH, projected": _projected(day, alone),
        "MH led by the price": led,
        "MH led by the price, projected": _projected(day, led),
        "CMH (gate), all buses together": gated,
        "CMH (gate), projected": _projected(day, gated),
        "selfish": selfish[None],
        "exact, whole spins (MILP)": (2.0 * whole.up / day.customers - 1.0)[None],
        "exact (LP 31)": best[None],
    }
    rows = []
    optimum = -linear.welfare_eur
    for name, m in played.items():
        gain = -np.asarray(objectives(market, m).welfare_eur)
        owed = np.abs(np.einsum("t,dtb->db", day.source_kw, m)) / day.source_kw.sum()
        rows.append(_row(SHIFTABLE, "EUR/day", name, gain, (owed @ share).mean(), optimum))
    return rows


def _balanced(days: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    day, lattice = case33_day(), _lattice()
    bus = _bus_of(day)
    optimum = balanced_buses(day.load_kw, day.customers)[0]
    start = random_spins(rng, days, lattice.n)
    free = start.copy()
    evolve(
        lattice, free, random_state(rng, days),
        temperature=CRITICAL, attempts=ATTEMPTS, field=FIELD,
    )  # fmt: skip
    held, _ = balance_by_chain(
        lattice, start, bus, day.load_kw, random_state(rng, days),
        temperature=CRITICAL, sweeps=ATTEMPTS // lattice.n, field=FIELD,
    )  # fmt: skip
    crowd = _of_buses(free, bus, day)
    nearest = nearest_spins(project_balanced(crowd, day.load_kw), day.customers)
    played = {
        "uncontrolled": np.zeros((1, len(day.load_kw))),
        "random": _of_buses(start, bus, day),
        "MH": crowd,
        "MH, projected and rounded": 2.0 * nearest / day.customers - 1.0,
        "CMH (gate)": _of_buses(held, bus, day),
        "selfish": np.ones((1, len(day.load_kw))),
        "exact (ILP 34)": optimum.magnetisation[None].astype(np.float64),
    }
    share = day.load_kw / day.load_kw.sum()
    return [
        _row(BALANCED, "sum of m", name, m.sum(axis=1), np.abs(m @ share).mean(), optimum.bus_sum)
        for name, m in played.items()
    ]


def _row(
    day: str, unit: str, policy: str, values: Floats, missed: float, optimum: float
) -> dict[str, Any]:
    mean = float(np.mean(values))
    several = len(values) > 1
    return {
        "day": day,
        "unit": unit,
        "policy": policy,
        "value": asdict(normal_interval(values)) if several else dict.fromkeys(_ENDS, mean),
        "score": 100.0 * mean / optimum if missed <= KEPT else None,
        # Rounding of whole spins that keep (23) exactly.
        "missed": float(missed) if missed > 1e-12 else 0.0,
    }


_ENDS = ("mean", "low", "high")


def _lattice() -> Couplings:
    customers = int(case33_day().customers.sum())
    side = int(np.ceil(np.sqrt(customers)))
    return Couplings.lattice(side, site=snake(side, customers))


def _bus_of(day: MarketDay) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(day.customers)), day.customers)


def _of_buses(spins: NDArray[np.int8], bus: NDArray[np.int64], day: MarketDay) -> Floats:
    """Magnetisation of each bus, shape (..., B)."""
    return spins.astype(np.float64) @ np.eye(len(day.customers))[bus] / day.customers


def _chains(day: MarketDay, days: int, field: Floats, rng: np.random.Generator) -> Floats:
    """Days of spins that go on from hour to hour, as magnetisations, shape (days, 24, B)."""
    lattice, bus = _lattice(), _bus_of(day)
    spins, state = random_spins(rng, days, lattice.n), random_state(rng, days)
    hours = []
    for h in field.tolist():
        evolve(lattice, spins, state, temperature=CRITICAL, attempts=ATTEMPTS, field=h)
        hours.append(_of_buses(spins, bus, day))
    return np.stack(hours, axis=1)


def _gated_days(day: MarketDay, days: int, field: Floats, rng: np.random.Generator) -> Floats:
    """Days as one chain of 24 lattices, held to (23) of all buses together, (days, 24, B)."""
    lattice, bus = _lattice(), _bus_of(day)
    hours = len(field)
    bonds = np.concatenate([lattice.bonds + t * lattice.n for t in range(hours)])
    whole = Couplings.of_bonds(hours * lattice.n, bonds, np.tile(lattice.bond_strength, hours))
    spins = random_spins(rng, days, whole.n)
    evolve(
        whole, spins, random_state(rng, days),
        temperature=CRITICAL, attempts=hours * ATTEMPTS, field=np.repeat(field, lattice.n),
        weights=np.repeat(day.source_percent, lattice.n),
    )  # fmt: skip
    return _of_buses(spins.reshape(days, hours, lattice.n), bus, day)


def _projected(day: MarketDay, m: Floats) -> Floats:
    """The nearest whole spins that meet (23) exactly, day by day."""
    up = [project_shiftable_spins(each, day.customers, day.source_percent) for each in m]
    return 2.0 * np.stack(up) / day.customers - 1.0
