"""The phase transition as an aggregator meets it: slow sweeps of the quote, and rebound cycles.

The environment's own kernels move one group of all 289 consumers, longer than a day.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flexgym.envs.aggregator_market.consumers import herd_in_groups, local_fields
from flexgym.envs.aggregator_market.params import HOURS, Herding
from flexgym.envs.aggregator_market.scenario import synthetic_day
from flexgym.envs.data.case33_day import case33_day
from flexgym.envs.household.params import Floats
from flexgym.envs.ising import random_spins, random_state

TEMPERATURES = (3.2, 4.0, 4.4, 5.2)
"""The second one is critical."""
LOW, HIGH = 10.0, 46.0
"""Ends of a sweep, EUR/MWh; 1 EUR/MWh an hour."""
GROUPS = 400
MOST_LAG_H = 14
SHOWN_H = 72
"""Hours of one group that are written out; what is measured is its first day, an episode."""


def phase_rows(rng: np.random.Generator, groups: int = GROUPS) -> list[dict[str, Any]]:
    """Sweeps and cycles at every temperature, tidy.

    ``what`` tells rows apart: ``up`` and ``down`` (mean magnetisation at a quote, no rebound),
    ``autocorrelation`` (at a lag, flat quote), ``path`` (one group) and ``summary``.

    Args:
        rng: Of starts and chains.
        groups: Side by side.
    """
    rows: list[dict[str, Any]] = []
    for temperature in TEMPERATURES:
        quote, m = _sweep(temperature, groups, rng)
        turn = len(quote) // 2
        for what, part in (("up", slice(turn)), ("down", slice(turn, None))):
            rows += [
                {"what": what, "temperature": temperature, "x": float(p), "magnetisation": float(y)}
                for p, y in zip(quote[part], m[part], strict=True)
            ]
        flat = _flat(temperature, groups, rng)
        day = flat[:HOURS]
        correlation = _autocorrelation(day)
        rows += [
            {"what": "autocorrelation", "temperature": temperature, "x": lag, "magnetisation": c}
            for lag, c in enumerate(correlation.tolist())
        ]
        rows += [
            {"what": "path", "temperature": temperature, "x": hour, "magnetisation": y}
            for hour, y in enumerate(flat[:, 0].tolist())
        ]
        later = 2 + int(np.argmax(correlation[2:]))
        rows.append(
            {
                "what": "summary",
                "temperature": temperature,
                "loop_width_eur_per_mwh": _loop_width(quote, m),
                "rms_magnetisation": float(np.sqrt((day**2).mean())),
                "autocorrelation_5_h": float(correlation[5]),
                # A cycle is there where the magnetisation comes back to its own sign.
                "cycle_h": later if correlation[later] > 0.1 else None,
            }
        )
    return rows


def _sweep(temperature: float, groups: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Quotes up and down again, and the mean magnetisation after each hour."""
    herding = Herding(temperature=temperature, rebound_eur_per_mwh_h=0.0)
    quote = np.concatenate([np.arange(LOW, HIGH + 0.5), np.arange(HIGH, LOW - 0.5, -1.0)])
    spins = -np.ones((groups, _customers()), dtype=np.int8)
    owed = np.zeros((groups, 1))
    state, m = random_state(rng, groups), []
    for price in quote:
        m.append(float(_hour(herding, spins, state, float(price), owed).mean()))
    return quote, np.array(m)


def _flat(temperature: float, groups: int, rng: np.random.Generator) -> Floats:
    """Magnetisation of each hour at the shadow price, shape (hours, groups)."""
    herding, percent = Herding(temperature=temperature), synthetic_day().percent
    spins, state = random_spins(rng, groups, _customers()), random_state(rng, groups)
    owed, hours = np.zeros((groups, 1)), []
    for t in range(SHOWN_H):
        m = _hour(herding, spins, state, herding.shadow_price_eur_per_mwh, owed)
        owed += percent[t % HOURS] * m[:, None]
        hours.append(m)
    return np.stack(hours)


def _hour(
    herding: Herding, spins: np.ndarray, state: np.ndarray, quote: float, owed_percent: Floats
) -> Floats:
    """Move spins on by an hour, in place; their magnetisation, shape (groups,)."""
    groups, customers = spins.shape
    field, rule = np.empty((groups, 1)), (
        herding.incentive, herding.shadow_price_eur_per_mwh,
        herding.rebound_eur_per_mwh_h, herding.most_owed_h,
    )  # fmt: skip
    mean = float(synthetic_day().percent.mean())
    local_fields(np.zeros(groups), np.full((groups, 1), quote), owed_percent, mean, rule, field)
    members, starts = np.arange(customers), np.array([0, customers])
    chance = herding.temperature, herding.sweeps, state
    herd_in_groups(spins, members, starts, herding.coupling, field, *chance)
    return spins.mean(axis=1, dtype=np.float64)


def _customers() -> int:
    return int(case33_day().customers.sum())


def _loop_width(quote: Floats, m: Floats) -> float:
    """Distance of the quotes at which the mean magnetisation crosses zero, EUR/MWh."""
    turn = len(quote) // 2
    up = np.interp(0.0, m[:turn], quote[:turn])
    down = np.interp(0.0, m[turn:][::-1], quote[turn:][::-1])
    return float(up - down)


def _autocorrelation(m: Floats) -> Floats:
    """Of magnetisations over time, shape (hours, groups): at lags of 0 to `MOST_LAG_H` hours."""
    square = (m**2).mean()
    later = [(m[lag:] * m[: len(m) - lag]).mean() for lag in range(MOST_LAG_H + 1)]
    return np.array(later) / square
