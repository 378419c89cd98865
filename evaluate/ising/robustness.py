"""Figure 6: a self-sufficient crowd is disturbed, and evolves with and without its constraint."""

from __future__ import annotations

from typing import Any

import numpy as np

from flexgym.baselines.aggregator_market.self_sufficiency import (
    balanced_buses,
    balanced_spins,
    regularise,
)
from flexgym.envs.data.case33_day import case33_day
from flexgym.envs.household.params import Floats
from flexgym.envs.ising import balance_weights, constraint, evolve, random_state
from flexgym.evaluate.ising.figure import (
    ITERATIONS,
    Claim,
    Effort,
    FigureData,
    Verdict,
    Watch,
    bus_of_customer,
    lattice,
    mean_and_error,
)

FIELDS = (0.0, 0.5)
RULES = ("MH", "CMH gate", "CMH or")
TREND_TO = 20
"""Flipped spins up to which a trend of the constrained chain is looked for beside the whole."""


def robustness(effort: Effort, rng: np.random.Generator, watch: Watch) -> FigureData:
    """Figure 6: |g| after 10k iterations against the number of spins flipped at the start."""
    cases = [(d, replica) for d in effort.flipped for replica in range(effort.replicas)]
    shape = len(effort.flipped), effort.replicas, len(effort.hot)
    left = {(rule, field): np.empty(shape) for rule in RULES for field in FIELDS}
    for d, replica in watch(cases, desc="figure 6, constraint"):
        found = disturbed(d, effort.hot, rng)
        for key, values in found.items():
            left[key][effort.flipped.index(d), replica] = values
    rows = [
        row
        for (rule, field), values in left.items()
        for d, of in zip(effort.flipped, values, strict=True)
        for row in _rows(rule, field, d, of, effort.hot)
    ]
    data = FigureData(6, "Robustness of a self-sufficient crowd", rows, [])
    data.claims.extend(_claims(effort, left))
    return data


def disturbed(
    d: int, temperatures: tuple[float, ...], rng: np.random.Generator
) -> dict[tuple[str, float], Floats]:
    """|g| of one feasible crowd after ``d`` spins were flipped, by rule and field.

    Args:
        d: Spins flipped at random.
        temperatures: Of the chains, all from the same start.
        rng: Of the wiring, the flips and the chains.

    Returns:
        Each shape (temperatures,), as a share of the load.
    """
    day, world = case33_day(), lattice()
    m = balanced_buses_once()
    bus = regularise(bus_of_customer(), m, rng)
    spins = balanced_spins(bus, m, rng).astype(np.int8)
    weights, unit = balance_weights(day.load_kw, bus)
    spins[rng.choice(world.n, d, replace=False)] *= -1
    found = {}
    for rule in RULES:
        for field in FIELDS:
            rows = np.tile(spins, (len(temperatures), 1))
            state = random_state(rng, len(rows))
            held = {} if rule == "MH" else {"weights": weights, "rule": rule.split()[1]}
            evolve(
                world, rows, state,
                temperature=temperatures, attempts=ITERATIONS, field=field, **held,
            )  # fmt: skip
            found[rule, field] = np.abs(constraint(weights, rows)) * unit
    return found


def balanced_buses_once() -> np.ndarray:
    """Magnetisations of the first maximum of (34)."""
    if not _FOUND:
        day = case33_day()
        _FOUND.append(balanced_buses(day.load_kw, day.customers)[0].magnetisation)
    return _FOUND[0]


_FOUND: list[np.ndarray] = []


def _rows(
    rule: str, field: float, d: int, values: Floats, hot: tuple[float, ...]
) -> list[dict[str, Any]]:
    """Means over replicas, of the mean and of the least over temperatures."""
    same = {"rule": rule, "field": field, "flipped": d}
    by_temperature = values.mean(axis=0)
    coolest = hot[int(by_temperature.argmin())]
    return [
        {**same, "over_temperatures": "mean", **mean_and_error(values.mean(axis=1))},
        {
            **same,
            "over_temperatures": "least",
            **mean_and_error(values.min(axis=1)),
            "temperature_of_least": coolest,
        },
    ]


def _claims(effort: Effort, left: dict[tuple[str, float], Floats]) -> list[Claim]:
    """What the source says of the figure."""
    mean = {key: values.mean(axis=(1, 2)) for key, values in left.items()}
    ratio = {
        (rule, field): mean["MH", field] / np.maximum(mean[rule, field], 1e-12)
        for rule in RULES[1:]
        for field in FIELDS
    }
    gate = np.concatenate([ratio["CMH gate", field] for field in FIELDS])
    loose = np.concatenate([ratio["CMH or", field] for field in FIELDS])
    d = np.array(effort.flipped)
    few, later = d <= TREND_TO, d >= d[d <= TREND_TO].max()
    grown = {f: _grows(left["CMH gate", f]) for f in FIELDS}
    grown_on = {f: _grows(left["CMH gate", f][later]) for f in FIELDS}
    grown_few = {f: _grows(left["CMH gate", f][few]) for f in FIELDS}
    spread = {f: float(left["MH", f].mean(axis=2).std(axis=1).mean()) for f in FIELDS}
    best = {f: _coolest(left["CMH gate", f], effort.hot) for f in FIELDS}
    straight = {f: _straight(d, mean["CMH gate", f]) for f in FIELDS}
    trend: Verdict = "partly" if all(grown_few.values()) else "no"
    if all(grown.values()) and all(grown_on.values()):
        trend = "yes"
    size: Verdict = "yes" if gate.min() >= 300 else ("partly" if gate.max() >= 300 else "no")
    middle = float(np.mean(effort.hot))
    many = d > 100 if (d > 100).any() else d == d.max()
    few_best, many_best = (np.concatenate([best[f][some] for f in FIELDS]) for some in (few, many))
    return [
        Claim(
            6,
            "The constraint is 3 orders of magnitude larger without CMH.",
            f"Mean |g| of MH over that of CMH (gate): {_span(ratio['CMH gate', 0.0])} at H = 0, "
            f"{_span(ratio['CMH gate', 0.5])} at H = 0.5; read as 'or': {_span(loose)}.",
            size,
        ),
        Claim(
            6,
            "The constrained |g| grows monotonically with the perturbation.",
            f"CMH (gate), H = 0: {mean['CMH gate', 0.0][0]:.1e} at d = {d[0]}, "
            f"{mean['CMH gate', 0.0][few][-1]:.1e} at d = {d[few][-1]}, "
            f"{mean['CMH gate', 0.0][-1]:.1e} at d = {d[-1]}.",
            trend,
        ),
        Claim(
            6,
            "Under large perturbations the minimum is found at high temperature only.",
            f"Least mean |g| of CMH (gate) at T = {_span(many_best)} for d > 100, "
            f"T = {_span(few_best)} for d <= {TREND_TO}.",
            "yes" if many_best.min() > max(middle, few_best.max()) else "no",
        ),
        Claim(
            6,
            "Without the constraint a field tilts the values up and reduces the noise.",
            f"Mean |g| of MH {mean['MH', 0.0].mean():.2f} at H = 0, {mean['MH', 0.5].mean():.2f} "
            f"at H = 0.5; spread of replicas {spread[0.0]:.3f} and {spread[0.5]:.3f}.",
            "yes"
            if mean["MH", 0.5].min() > mean["MH", 0.0].max() and spread[0.5] < spread[0.0]
            else "no",
        ),
        Claim(
            6,
            "In the constrained case the field makes the points lie on a line.",
            f"Share of variance that a line in d explains: {100 * straight[0.0]:.0f} % at H = 0, "
            f"{100 * straight[0.5]:.0f} % at H = 0.5.",
            "yes" if straight[0.5] > max(0.9, straight[0.0]) else "no",
        ),
    ]  # fmt: skip


def _grows(values: Floats) -> bool:
    """Whether |g| rises from each number of flips to the next, up to two standard errors."""
    per_run = values.mean(axis=2)
    mean, error = per_run.mean(axis=1), per_run.std(axis=1) / np.sqrt(per_run.shape[1])
    rises = np.diff(mean) > -2.0 * np.hypot(error[1:], error[:-1])
    return bool(rises.all() and mean[-1] - mean[0] > 2.0 * np.hypot(error[0], error[-1]))


def _coolest(values: Floats, hot: tuple[float, ...]) -> Floats:
    """Temperature of the least mean |g| at each number of flips."""
    return np.array(hot)[values.mean(axis=1).argmin(axis=1)]


def _straight(d: Floats, g: Floats) -> float:
    """Share of the variance of |g| that a line explains; 0 where there is none."""
    if len(d) < 3 or np.ptp(g) == 0.0:
        return 0.0
    return float(np.corrcoef(d, g)[0, 1] ** 2)


def _span(values: Floats) -> str:
    low, high = float(np.min(values)), float(np.max(values))
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
