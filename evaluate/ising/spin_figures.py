"""Figures 2, 4 and 8: spins that lose their memory, follow a field, or are cut into groups."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexgym.baselines.aggregator_market.assignment import aggregator_worth_eur, best_assignment
from flexgym.baselines.aggregator_market.shiftable import shiftable_day
from flexgym.envs.data.case33_day import case33_day
from flexgym.envs.household.params import Floats
from flexgym.envs.ising import Couplings, autocorrelation, evolve, random_spins, random_state
from flexgym.evaluate.ising.figure import (
    CRITICAL,
    ITERATIONS,
    Claim,
    Effort,
    FigureData,
    Verdict,
    Watch,
    bus_of_customer,
    lattice,
    mean_and_error,
    with_critical,
)

SHOWN = (1.0, CRITICAL, 3.0)
"""Temperatures at which figure 2 follows the memory."""
STOPS = (
    0, 100, 200, 300, 500, 700, 1000, 1500, 2000, 3000, 4000, 5000, 7000, 10_000, 15_000, 20_000,
)  # fmt: skip
"""Attempts after which it is looked at."""
PLAIN = ("contiguous", "assigned")
"""Couplings of figure 8 that are what the paper's words say."""
GRAPHS = 10
"""Draws of what is rewired."""


def forgetting(effort: Effort, rng: np.random.Generator, watch: Watch) -> FigureData:
    """Figure 2: autocorrelation of a random start, and magnetisation against temperature."""
    world, rows = lattice(), []
    for temperature in watch(SHOWN, desc="figure 2, memory"):
        first = random_spins(rng, effort.runs, world.n)
        spins, state = first.copy(), random_state(rng, effort.runs)
        for before, now in zip((0, *STOPS), STOPS, strict=False):
            evolve(world, spins, state, temperature=temperature, attempts=now - before)
            rows.append(_row("autocorrelation", temperature, autocorrelation(first, spins), now))
    for temperature in watch(with_critical(effort.temperatures), desc="figure 2, order"):
        m = _final(world, temperature, effort.settle, effort.runs, rng)
        rows.append(_row("magnetisation", temperature, np.abs(m), effort.settle))
    data = FigureData(2, "Memory and order of 289 customers", rows, [])
    memory = {
        t: float(data.column("mean", what="autocorrelation", temperature=t, iterations=10_000)[0])
        for t in SHOWN
    }
    hot, order = (data.column(name, what="magnetisation") for name in ("temperature", "mean"))
    at_critical = float(order[hot == CRITICAL][0])
    data.claims.extend([
        Claim(
            2,
            "After enough iterations (the number is lost; 10k are used later) spins have "
            "forgotten where they started.",
            f"Autocorrelation after 10k: {memory[CRITICAL]:.3f} at Tc, {memory[3.0]:.3f} at T = 3, "
            f"but {memory[1.0]:.3f} at T = 1, where domains grow slowly.",
            "yes" if abs(memory[CRITICAL]) < 0.05 else "no",
        ),
        Claim(
            2,
            "Magnetisation falls beyond the critical temperature, smoothed and rounded.",
            f"Mean |M| is {order[0]:.3f} at T = {hot[0]:g}, {at_critical:.3f} at Tc (an endless "
            f"lattice has 0) and {order[-1]:.3f} at T = {hot[-1]:g}.",
            "yes" if order[0] > 0.9 and 0.15 < at_critical < 0.75 and order[-1] < 0.15 else "no",
        ),
    ])  # fmt: skip
    return data


def herding(effort: Effort, rng: np.random.Generator, watch: Watch) -> FigureData:
    """Figure 4: customers that all refuse, under a field from above."""
    world, rows = lattice(), []
    pairs = [(t, h) for t in with_critical(effort.herd_temperatures) for h in effort.herd_fields]
    for temperature, field in watch(pairs, desc="figure 4, field"):
        m = _final(world, temperature, ITERATIONS, effort.herd_runs, rng, start=-1, field=field)
        rows.append({**_row("magnetisation", temperature, m, ITERATIONS), "field": field})
    wanted = float(next(iter(shiftable_day(case33_day()).fractional.values())))
    data = FigureData(4, "Herding: a field from above against noise", rows, [])
    fields, at_critical, error = (
        data.column(name, temperature=CRITICAL) for name in ("field", "mean", "standard_error")
    )
    low, high = _bracket(fields, at_critical, wanted)
    for _ in watch(range(12), desc="figure 4, field wanted"):
        middle = 0.5 * (low + high)
        m = _final(world, CRITICAL, ITERATIONS, effort.herd_runs, rng, start=-1, field=middle)
        low, high = (middle, high) if m.mean() < wanted else (low, middle)
    found = 0.5 * (low + high)
    hottest = max(effort.herd_temperatures)
    noisy = data.column("mean", temperature=hottest)
    rises = np.diff(at_critical) > -3.0 * np.hypot(error[1:], error[:-1])
    reached = bool(at_critical[0] < wanted <= at_critical[-1])
    data.marks.update(wanted=wanted, field=found if reached else None)
    data.claims.extend([
        Claim(
            4,
            "The external action ramps up customers' flexibility.",
            f"At Tc, M after 10k iterations from all at -1 goes from {at_critical[0]:.2f} without "
            f"field to {at_critical[-1]:.2f} at H = {fields[-1]:g}.",
            "yes" if rises.all() and at_critical[-1] > 0.5 else "no",
        ),
        Claim(
            4,
            "A field makes the system reach the magnetisation of the fractional hour at Tc "
            "(both numbers are lost).",
            f"H = {found:.3f} gives M = {wanted:.3f}, the fraction of our synthetic day."
            if reached
            else f"No field up to {fields[-1]:g} gives M = {wanted:.3f}.",
            "yes" if reached else "no",
        ),
        Claim(
            4,
            "At high temperature noise destroys this and the constraint cannot be reached.",
            f"At T = {hottest:g}, M is {noisy.max():.2f} at most up to H = {fields[-1]:g}; "
            f"{wanted:.3f} is wanted.",
            "yes" if noisy.max() < wanted else "no",
        ),
    ])  # fmt: skip
    return data


def boundaries(effort: Effort, rng: np.random.Generator, watch: Watch) -> FigureData:
    """Figure 8: noise wears down a fully flexible crowd, whole or split among aggregators."""
    crowds, names = split_crowds(rng)
    pairs = [(name, t) for name in crowds for t in with_critical(effort.temperatures)]
    rows = []
    for name, temperature in watch(pairs, desc="figure 8, boundaries"):
        each = -(-effort.runs // len(crowds[name]))
        m = [_final(world, temperature, ITERATIONS, each, rng) for world in crowds[name]]
        row = _row("magnetisation", temperature, np.concatenate(m), ITERATIONS)
        rows.append({**row, "coupling": name, "bonds": len(crowds[name][0].bonds)})
    data = FigureData(8, "Aggregator boundaries and noise", rows, [], {"names": names})
    free = data.column("mean", coupling="free")
    hot = data.column("temperature", coupling="free")
    after = float(np.interp(3.0, hot, free))
    data.claims.append(
        Claim(
            8,
            "Without boundaries flexibility drops fast to zero beyond Tc.",
            f"M is {_at(hot, free, CRITICAL):.2f} at Tc, {after:.2f} at T = 3.",
            "yes" if after < 0.15 else "no",
        )
    )
    data.claims.extend(_bounded(data, name) for name in crowds if name != "free")
    last = max(abs(float(data.column("mean", coupling=name)[-1])) for name in crowds)
    data.claims.append(
        Claim(
            8,
            "At very high temperature noise dominates either way.",
            f"At T = {hot[-1]:g} the largest |M| is {last:.3f}.",
            "yes" if last < 0.1 else "no",
        )
    )
    return data


def _bounded(data: FigureData, name: str) -> Claim:
    """Whether boundaries slow the worsening down, near the critical temperature."""
    hot, free, noise = (
        data.column(key, coupling="free") for key in ("temperature", "mean", "standard_error")
    )
    own, error = (data.column(key, coupling=name) for key in ("mean", "standard_error"))
    near, error = (hot >= 1.5) & (hot <= 1.6 * CRITICAL), 3.0 * np.hypot(error, noise)
    above, below = ((sign * (own - free) > error)[near].any() for sign in (1.0, -1.0))
    verdict: Verdict = "no" if not above else ("partly" if below else "yes")
    steep, free_steep = (float(np.max(-np.diff(m) / np.diff(hot))) for m in (own, free))
    claim = "Neighbours of the same aggregator only: the worsening is slowed down"
    return Claim(
        8,
        f"{claim}." if name in PLAIN else f"{claim} (read otherwise: not the paper's words).",
        f"{data.marks['names'][name]}: M is {_at(hot, own, CRITICAL):.2f} at Tc against "
        f"{_at(hot, free, CRITICAL):.2f} without boundaries; steepest fall per unit of T "
        f"{steep:.2f} against {free_steep:.2f}.",
        verdict,
    )


def split_crowds(
    rng: np.random.Generator,
) -> tuple[dict[str, list[Couplings]], dict[str, str]]:
    """Couplings of figure 8 by name, several where they are drawn, and what each is.

    Boundaries of the paper's Figure 1(d) are lost. We take three runs of buses along the snake,
    and the map of (38) with slack 2/3, each cut out of the lattice; the latter rewired at its
    boundaries; and every spin coupled to all others of its aggregator, 4 J in sum.
    """
    day, free = case33_day(), lattice()
    split = best_assignment(day.load_kw, aggregator_worth_eur(day), Fraction(2, 3))
    runs = np.repeat(np.arange(3), split.sizes)[bus_of_customer()]
    assigned = split.aggregator_of[bus_of_customer()]
    crowds = {
        "free": [free],
        "contiguous": [free.inside(runs)],
        "assigned": [free.inside(assigned)],
        "rewired": [free.rewired(assigned, rng) for _ in range(GRAPHS)],
        "all to all": [Couplings.all_to_all(assigned, 4.0)],
    }
    bonds = {name: len(each[0].bonds) for name, each in crowds.items()}
    names = {
        "free": f"no boundaries, {bonds['free']} bonds",
        "contiguous": f"cut, three runs of buses, {bonds['contiguous']} bonds",
        "assigned": f"cut, map of (38), {bonds['assigned']} bonds",
        "rewired": f"map of (38), cut bonds rewired inside, {bonds['rewired']} bonds",
        "all to all": "map of (38), each feels all of its aggregator",
    }
    return crowds, names


def _final(
    world: Couplings,
    temperature: float,
    attempts: int,
    runs: int,
    rng: np.random.Generator,
    *,
    start: int = 1,
    field: float = 0.0,
) -> Floats:
    """Magnetisation of runs that start with all spins alike, shape (runs,)."""
    spins = np.full((runs, world.n), start, dtype=np.int8)
    state = random_state(rng, runs)
    evolve(world, spins, state, temperature=temperature, attempts=attempts, field=field)
    return spins.mean(axis=1)


def _row(what: str, temperature: float, values: Floats, iterations: int) -> dict[str, Any]:
    measured = mean_and_error(values)
    return {"what": what, "temperature": temperature, "iterations": iterations, **measured}


def _bracket(fields: Floats, m: Floats, wanted: float) -> tuple[float, float]:
    """Fields of the grid between which the magnetisation passes what is wanted."""
    above = np.nonzero(m >= wanted)[0]
    first = int(above[0]) if len(above) else len(fields) - 1
    return float(fields[max(first - 1, 0)]), float(fields[first])


def _at(hot: NDArray[Any], m: Floats, temperature: float) -> float:
    return float(m[hot == temperature][0])
