"""Figures 3, 5 and 7: the paper's programs on shiftable, self-sufficient and assigned loads."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from flexgym.baselines.aggregator_market.assignment import (
    aggregator_worth_eur,
    best_assignment,
    even_worth_eur,
    greedy_assignment,
    random_worth_eur,
    smallest_slack,
)
from flexgym.baselines.aggregator_market.self_sufficiency import balanced_buses
from flexgym.baselines.aggregator_market.shiftable import (
    least_multiple,
    shiftable_day,
    shiftable_spins,
    spins_up,
)
from flexgym.envs.data.case33_day import case33_day
from flexgym.envs.errors import InfeasibleError
from flexgym.envs.household.params import Floats
from flexgym.evaluate.ising.figure import Claim, Effort, FigureData, Watch

PEAKS = (10, 11, 12, 13, 18, 19, 20, 21)
"""Peak hours that the text names."""
SLACKS = (0.0, 0.7, 1.0, 2.0, 4.0, 8.0)
FIRST_BUS = 2
"""Number of the first load bus in the source."""


def shifting(effort: Effort, rng: np.random.Generator, watch: Watch) -> FigureData:
    """Figure 3: the program (31) beside the scaled price; nothing is random in it."""
    day = case33_day()
    best, whole = shiftable_day(day), shiftable_spins(day)
    m = np.array([float(x) for x in best.magnetisation])
    scaled = rescaled(day.rtem_eur_per_mwh)
    spins = 2.0 * whole.up / day.customers - 1.0
    mean = spins @ (day.load_kw / day.load_kw.sum())
    rows = [
        {
            "hour": t + 1,
            "source_percent": int(day.source_percent[t]),
            "rtem_eur_per_mwh": float(day.rtem_eur_per_mwh[t]),
            "scaled_price": float(scaled[t]),
            "magnetisation": float(m[t]),
            "magnetisation_whole_spins": float(mean[t]),
        }
        for t in range(len(m))
    ]
    fraction = best.fractional
    up, down = day.rtem_eur_per_mwh[m == 1.0], day.rtem_eur_per_mwh[m == -1.0]
    able = [n for n in set(day.customers.tolist()) if _able(fraction, n)]
    hours = ", ".join(f"{x} in hour {t}" for t, x in fraction.items())
    claims = [
        Claim(
            3,
            "All hours are at -1 or 1 but one (hour and value are lost).",
            f"On our synthetic day all but {hours}; worth {-best.welfare_eur:.3f} EUR/day.",
            "yes" if len(fraction) == 1 else "no",
        ),
        Claim(
            3,
            "Flexibility follows the real-time price.",
            f"Every hour at 1 costs at least {up.min():.1f} EUR/MWh, every one at -1 at most "
            f"{down.max():.1f}.",
            "yes" if up.min() >= down.max() else "no",
        ),
        Claim(
            3,
            "Customers must be most flexible in the peaks, hours 10-13 and 18-21.",
            f"Hours at 1: {', '.join(str(t + 1) for t in np.nonzero(m == 1.0)[0])}. Our prices "
            "were made to peak there.",
            "yes" if all(m[t - 1] == 1.0 for t in PEAKS) else "no",
        ),
        Claim(
            3,
            "No bus has a number of homes that can realise the fractional hour.",
            f"Of multiples of {', '.join(str(least_multiple(x)) for x in fraction.values())} "
            f"there are {len(able)} among the buses. Mixing hours, whole spins still reach "
            f"{100 * whole.welfare_eur / best.welfare_eur:.1f} % of the optimum.",
            "yes" if not able else "no",
        ),
    ]
    return FigureData(3, "Shiftable loads (synthetic prices)", rows, claims)


def balancing(effort: Effort, rng: np.random.Generator, watch: Watch) -> FigureData:
    """Figure 5: the program (34), greatest and least, and its spins (35)."""
    day, rows, found = case33_day(), [], {}
    for name, largest in watch((("max", True), ("min", False)), desc="figure 5, balance"):
        optima = balanced_buses(day.load_kw, day.customers, largest=largest, most=9)
        found[name] = optima
        for index, each in enumerate(optima):
            rows += [
                {
                    "sense": name,
                    "optimum": index,
                    "bus": bus + FIRST_BUS,
                    "load_kw": int(day.load_kw[bus]),
                    "customers": int(n),
                    "magnetisation": int(m),
                    "solvable": bus not in each.unsolvable,
                }
                for bus, (n, m) in enumerate(zip(day.customers, each.magnetisation, strict=True))
            ]
    top, bottom = found["max"][0], found["min"][0]
    at_odds = sorted({int(bus) + FIRST_BUS for each in found["max"] for bus in each.unsolvable})
    whole = all(
        not (set(each.unsolvable) - set(np.nonzero(each.magnetisation == 0)[0]))
        for each in (top, bottom)
    )
    claims = [
        Claim(
            5,
            "The maximum has 125, 132 and 32 locations (which is which is lost).",
            f"{top.split[0]} at 1, {top.split[1]} at -1, {top.split[2]} at 0; sum over buses "
            f"{top.bus_sum}.",
            "yes" if sorted(top.split) == [32, 125, 132] else "no",
        ),
        Claim(
            5,
            "The minimum has 132, 125 and 32.",
            f"{bottom.split[0]} at 1, {bottom.split[1]} at -1, {bottom.split[2]} at 0.",
            "yes" if bottom.split == (top.split[1], top.split[0], top.split[2]) else "no",
        ),
        Claim(
            5,
            "The total magnetisation is 7 and -7.",
            f"{top.customer_sum} and {bottom.customer_sum}.",
            "yes" if (top.customer_sum, bottom.customer_sum) == (7, -7) else "no",
        ),
        Claim(
            5,
            "Some buses at 0 lack a solution, those with odd numbers of customers (which buses "
            "is lost); the others are solved.",
            f"There are {len(found['max'])} optima; over them buses "
            f"{', '.join(map(str, at_odds))} can be at 0 and odd, two at a time.",
            "yes" if len(top.unsolvable) and len(bottom.unsolvable) and whole else "no",
        ),
    ]
    return FigureData(5, "Self-sufficiency", rows, claims)


def assigning(effort: Effort, rng: np.random.Generator, watch: Watch) -> FigureData:
    """Figure 7: the program (38) for 1 to 32 aggregators and several slacks."""
    day = case33_day()
    known = aggregator_worth_eur(day)
    scale, buses, rows = abs(known.mean()), len(day.load_kw), []
    for count in watch(range(1, buses + 1), desc="figure 7, aggregators"):
        drawn = [random_worth_eur(known, count, rng) for _ in range(effort.draws)]
        for slack in SLACKS:
            row: dict[str, Any] = {
                "aggregators": count,
                "aggregators_percent": 100.0 * count / buses,
                "slack": slack,
                "feasible": slack >= float(smallest_slack(buses, count)) - 1e-9,
                "even": None,
                "random": None,
                "random_standard_error": None,
            }
            if row["feasible"]:
                # The greedy map is an optimum too, and takes no solver.
                values = [
                    greedy_assignment(day.load_kw, worth, slack).objective_eur / scale
                    for worth in drawn
                ]
                even = best_assignment(day.load_kw, even_worth_eur(known, count), slack)
                row["even"] = even.objective_eur / scale
                row["random"] = float(np.mean(values))
                row["random_standard_error"] = float(np.std(values) / np.sqrt(len(values)))
            rows.append(row)
    data = FigureData(7, "Buses assigned to aggregators (synthetic prices)", rows, [])
    data.claims.extend(_assigning_claims(data, known, buses))
    return data


def _assigning_claims(data: FigureData, known: Floats, buses: int) -> list[Claim]:
    day = case33_day()
    curves = {s: np.array(data.column("even", slack=s), dtype=float) for s in SLACKS}
    whole = {s: c for s, c in curves.items() if np.isfinite(c).all()}
    falls = all(_slope(curve) < 0.0 and curve[-1] < curve[0] for curve in whole.values())
    wide = [curve for _, curve in sorted(whole.items())]
    lower = all((b <= a + 1e-9).all() for a, b in pairwise(wide))
    rough = [float(np.maximum(np.diff(curve[2:]), 0.0).sum()) for curve in wide]
    feasible = [n for n in range(1, buses + 1) if smallest_slack(buses, n) == 0]
    paper = best_assignment(day.load_kw, known, Fraction(2, 3))
    alone = best_assignment(day.load_kw, known)
    first, last = wide[0], wide[-1]
    return [
        Claim(
            7,
            "The objective falls (profit rises) with the number of aggregators.",
            f"From {first[0]:.2f} to {first[-1]:.2f} with slack {min(whole):g}, to {last[-1]:.2f} "
            f"with {max(whole):g}; not at every step. Prices by our own rule.",
            "yes" if falls else "no",
        ),
        Claim(
            7,
            "A larger slack pulls the objective down and smooths the peaks.",
            f"It never rises with the slack; sum of all upward steps beyond 3 aggregators "
            f"{rough[0]:.3f} with slack {min(whole):g}, {rough[-1]:.3f} with {max(whole):g}.",
            "yes" if lower and rough[-1] < rough[0] else "no",
        ),
        Claim(
            7,
            "At the smallest slack there is no solution for some numbers of aggregators, 5 among "
            "them.",
            f"Without slack only {', '.join(map(str, feasible))} aggregators; 5 need a slack of "
            f"{float(smallest_slack(buses, 5)):g}.",
            "yes" if 5 not in feasible and len(feasible) < buses else "no",
        ),
        Claim(
            7,
            "The cheapest of three aggregators would get every bus without the slack constraint.",
            f"Buses {' / '.join(map(str, alone.sizes))}, {alone.objective_eur:.2f} EUR/day.",
            "yes" if alone.sizes.max() == buses else "no",
        ),
        Claim(
            7,
            "The sizes (39) of three aggregators are those of the reference mapping (all lost).",
            f"Slack 2/3 gives {' / '.join(map(str, paper.sizes))} buses, "
            f"{paper.objective_eur:.2f} EUR/day; less is infeasible.",
            "cannot be compared",
        ),
    ]


def rescaled(values: Floats) -> Floats:
    """Values brought to [-1, 1], as the paper scales its prices [I]."""
    low, high = values.min(), values.max()
    return 2.0 * (values - low) / (high - low) - 1.0


def _able(fraction: dict[int, Fraction], customers: int) -> bool:
    try:
        for m in fraction.values():
            spins_up(m, customers)
    except InfeasibleError:
        return False
    return True


def _slope(curve: Floats) -> float:
    return float(np.polyfit(np.arange(len(curve)), curve, 1)[0])
