"""``flexgym bench clearing``, menus in active and reactive power."""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np

from flexgym.envs.errors import SolverError
from flexgym.evaluate.bench.figures import figure, seconds

RATIO = "43 P-Q menus, dispatch times faster than warm HiGHS"
PERIOD = "43 P-Q menus: clearing, AC check and settlement of a period, ms"
CEILINGS = {PERIOD: 20.0}
PERIODS = 48
BIASES = (-0.1, 0.0, 0.1)
"""Costs on top of the menus' own, EUR/kW: everybody would draw, is content, or would feed in."""
SIDES = 16
"""Of the polygon that stands for a branch's apparent power in the program with fixed rows."""


def _row(what: str, value: float) -> dict[str, Any]:
    return figure(what, value, {}, CEILINGS)


def house_menus(rng: np.random.Generator, houses: Any) -> list[Any]:
    """Charts in active and reactive power of houses at some moment of a day.

    Sun, price and about how full the batteries are, are those of one hour for all. Stored energy
    is worth less the more there is; every other house has a battery inverter of its own.
    """
    from flexgym.envs.charts.capability import capability
    from flexgym.envs.charts.chains import CarLevels
    from flexgym.envs.charts.construction import house_chart
    from flexgym.envs.charts.piecewise import ConvexPiecewiseLinear
    from flexgym.envs.household.dynamics import house_row

    sun, buy, full = (
        rng.choice([0.0, 0.4, 0.8, 1.0]),
        rng.uniform(0.15, 0.4),
        rng.choice([0.1, 0.9]),
    )
    menus = []
    for k, each in enumerate(houses):
        house = each
        if k % 2 and house.battery is not None:
            house = replace(house, inverter="separate", inverter_kva=max(house.pv_kwp, 1.0))
        capacity = 0.0 if house.battery is None else house.battery.capacity_kwh
        energy = np.linspace(0.0, capacity, 6) if capacity > 0.0 else np.zeros(1)
        worth = np.sort(rng.uniform(0.05, 0.4, len(energy) - 1))[::-1]
        stored = np.append(0.0, np.cumsum(-worth * np.diff(energy)))
        car = house.car if rng.random() < 0.7 else None
        powers, charged = np.zeros(1), np.zeros(1)
        if car is not None:
            powers = np.linspace(0.0, car.power_kw, 4)
            worth = np.sort(rng.uniform(0.05, 0.5, 3))[::-1]
            charged = np.append(0.0, np.cumsum(-0.25 * worth * np.diff(powers)))
        levels = [
            (float(power), ConvexPiecewiseLinear(energy, stored + gain))
            for power, gain in zip(powers, charged, strict=True)
        ]
        menus.append(
            house_chart(
                house_row(house),
                capacity * min(max(rng.normal(full, 0.05), 0.0), 1.0),
                rng.gamma(2.0, 0.4),
                house.pv_kwp * sun * rng.uniform(0.85, 1.0),
                buy,
                0.08,
                CarLevels.of(levels),
                capability(house),
            )
        )
    return menus


class FixedRows:
    """The same limits for every period: voltages, and a polygon for each branch.

    Args:
        scenario: A feeder's scenario.
    """

    def __init__(self, scenario: Any) -> None:
        from flexgym.envs.grid.linear import LinDistFlow

        network, bus = scenario.network, scenario.house_bus
        model = LinDistFlow(network)
        counted = np.flatnonzero(network.bus_node > 0)
        falls = [2.0 * m[np.ix_(counted, bus)] for m in (model.resistance, model.reactance)]
        through = model.subtree[:, bus]
        angles = np.linspace(0.0, 2.0 * np.pi, SIDES, endpoint=False)
        a = np.vstack([-falls[0], falls[0], *(np.cos(t) * through for t in angles)])
        b = np.vstack([-falls[1], falls[1], *(np.sin(t) * through for t in angles)])
        size = np.maximum(np.abs(a).max(axis=1), np.abs(b).max(axis=1))
        size = np.where(size > 0.0, size, 1.0)
        low, high = scenario.band_pu
        w = model.w_pu[counted]
        caps = [
            model.rating_kva - np.cos(t) * model.flow_kw - np.sin(t) * model.flow_kvar
            for t in angles
        ]
        self.columns = [np.ascontiguousarray((m / size[:, None]).T) for m in (a, b)]
        self.limit = np.concatenate([high**2 - w, w - low**2, *caps]) / size
        n, branches = 2 * len(counted), len(through)
        self.owner = np.concatenate([np.arange(n), n + np.tile(np.arange(branches), SIDES)])
        self.unit = np.where(self.owner < n, 1.0, 1.0 / size)
        self.price = np.full(n + branches, 1e3)

    def problem(self, menus: list[Any], bias: float) -> tuple[Any, ...]:
        """Arguments of `dispatch_vertices` but ``warm``; ``bias`` EUR/kW on top of the costs."""
        parts = [menu.vertices for menu in menus]
        start = np.append(0, np.cumsum([len(part) for part in parts]))
        p, q, cost = np.ascontiguousarray(np.concatenate(parts).T)
        return (
            start,
            p,
            q,
            cost + bias * p,
            *self.columns,
            self.limit,
            self.owner,
            self.unit,
            self.price,
        )


class WarmHighs:
    """HiGHS with the rows that ever bind and no others, from the last period's basis.

    That is less than it would need, for nobody knows them in advance. The menus change in number
    and place of their vertices, so that the columns are passed anew; a vertex inherits the status
    of the one at its place.

    Args:
        rows: Limits the model holds, shape (n,).
    """

    def __init__(self, rows: Any) -> None:
        import highspy

        self._rows, self._basis, self.clock_s = rows, None, 0.0
        self._highs = highspy.Highs()
        self._highs.setOptionValue("output_flag", False)
        self._highs.setOptionValue("threads", 1)

    def solve(self, problem: tuple[Any, ...]) -> float:
        """Least cost of a period, EUR.

        Raises:
            SolverError: HiGHS found no optimum.
        """
        import highspy

        start, p, q, cost, columns_p, columns_q, limit, owner, unit, price = problem
        rows, count = self._rows, np.diff(start)
        H, V, R = len(count), len(cost), len(rows)
        of = np.repeat(np.arange(H), count)
        groups, group = np.unique(owner[rows], return_inverse=True)
        G = len(groups)
        wide = np.zeros((V + G, R + 1))
        wide[:V, :R] = columns_p[:, rows][of] * p[:, None] + columns_q[:, rows][of] * q[:, None]
        wide[V + group, np.arange(R)] = -unit[rows]
        wide[:V, R] = 1.0
        index = np.tile(np.arange(R + 1), (V + G, 1))
        index[:V, R] = R + of
        used = wide != 0.0
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = V + G, R + H
        lp.col_cost_ = np.concatenate([cost, price[groups]])
        lp.col_lower_, lp.col_upper_ = np.zeros(V + G), np.full(V + G, highspy.kHighsInf)
        lp.row_lower_ = np.concatenate([np.full(R, -highspy.kHighsInf), np.ones(H)])
        lp.row_upper_ = np.concatenate([limit[rows], np.ones(H)])
        lp.a_matrix_.start_ = np.append(0, np.cumsum(used.sum(axis=1))).astype(np.int32)
        lp.a_matrix_.index_ = index[used].astype(np.int32)
        lp.a_matrix_.value_ = wide[used]
        highs = self._highs
        highs.passModel(lp)
        if self._basis is not None:
            highs.setBasis(self._inherited(start))
        before = highs.getRunTime()
        highs.run()
        self.clock_s += highs.getRunTime() - before
        if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise SolverError(f"HiGHS ended with {highs.getModelStatus()}; expected an optimum.")
        found = highs.getBasis()
        self._basis = start, list(found.col_status), list(found.row_status)
        return highs.getInfo().objective_function_value

    def _inherited(self, start: Any) -> Any:
        import highspy

        assert self._basis is not None
        old, columns, rows = self._basis
        nonbasic = highspy.HighsBasisStatus.kLower
        status = []
        for h in range(len(start) - 1):
            kept = columns[old[h] : old[h + 1]][: start[h + 1] - start[h]]
            status += kept + [nonbasic] * (start[h + 1] - start[h] - len(kept))
        basis = highspy.HighsBasis()
        basis.col_status = status + columns[old[-1] :]
        basis.row_status = rows
        basis.valid = True
        return basis


def dispatch_rows(repeats: int, seed: int) -> list[dict[str, Any]]:
    """Exact dispatch of P-Q menus against HiGHS."""
    from flexgym.envs.charts.vertex_dispatch import COLD, dispatch_vertices
    from flexgym.envs.feeder.scenario import FeederScenario

    scenario = FeederScenario.create("stress")
    rng, fixed = np.random.default_rng(seed), FixedRows(scenario)
    menus = [house_menus(rng, scenario.houses()) for _ in range(PERIODS)]
    problems = [fixed.problem(each, rng.choice(BIASES)) for each in menus]
    found = [dispatch_vertices(*problem, warm=COLD) for problem in problems]  # also compiles
    binding = np.array([dual > 1e-9 for _, dual, *_ in found])
    rival = WarmHighs(np.flatnonzero(binding.any(axis=0)))
    worst = 0.0
    for problem, (share, _, broken, *_) in zip(problems, found, strict=True):
        cost = float(share @ problem[3] + problem[-1] @ broken)
        worst = max(worst, abs(rival.solve(problem) - cost))
    ours, theirs, clock = [], [], []
    for _ in range(repeats):
        ours.append(
            seconds(lambda: [dispatch_vertices(*problem, warm=COLD) for problem in problems])
        )
        rival.clock_s = 0.0
        theirs.append(seconds(lambda: [rival.solve(problem) for problem in problems]))
        clock.append(rival.clock_s)
    vertices = [len(menu.vertices) for each in menus for menu in each]
    return [
        _row(RATIO, median(b / a for a, b in zip(ours, theirs, strict=True))),
        _row(
            "the same against HiGHS's own clock, without passing the model",
            median(b / a for a, b in zip(ours, clock, strict=True)),
        ),
        _row("dispatch of 43 P-Q menus, us", 1e6 * median(ours) / PERIODS),
        _row("the same by warm HiGHS, us", 1e6 * median(theirs) / PERIODS),
        _row("vertices of a P-Q menu, mean", float(np.mean(vertices))),
        _row("limits that bind on P-Q menus, mean of the periods", float(binding.sum(1).mean())),
        _row("limits that bind on P-Q menus, most in a period", float(binding.sum(1).max())),
        _row("largest difference of the two costs of P-Q menus, EUR", worst),
    ]


def period_rows(repeats: int, seed: int) -> list[dict[str, Any]]:
    """A whole period at the operator: programs, AC checks, payments; then with the charts."""
    from flexgym.envs.charts.settlement import pay_as_bid, pay_marginal
    from flexgym.envs.feeder.scenario import FeederScenario
    from flexgym.evaluate.bench.clearing import operator_of

    scenario = FeederScenario.create("stress")
    operator = operator_of(scenario)
    rng = np.random.default_rng(seed)
    days = [house_menus(rng, scenario.houses()) for _ in range(20)]

    def work() -> None:
        for menus in days:
            answer = operator.clear(menus, reactive="menu")
            pay_as_bid(menus, answer)
            pay_marginal(menus, answer)

    work()
    took = median(seconds(work) for _ in range(repeats)) / len(days)
    return [_row(PERIOD, 1e3 * took)]
