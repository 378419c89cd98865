"""A house with battery and car over a tree of periods, as matrices of its own.

The oracle of the tests beside: it shares no code with the solvers. A known day is a tree
with one branch.
"""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import coo_matrix, vstack

from flexgym.envs import Battery, Car, Uncertainty
from flexgym.envs.household import dynamics as d
from flexgym.envs.household.batch import actions_from_powers
from flexgym.envs.uncertainty import MarkovChain

DT = 0.25
WIDE = 11
(IMPORT, EXPORT, CHARGE, DISCHARGE, PV, UNSERVED, SOC, TAKE, GIVE, CAR, MISSED) = range(WIDE)
EXACT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


class Program:
    """Least cost over a tree; a node is (parent, period, chance, load, PV, import price).

    Columns of a node: powers in kW, energies at its end in kWh, energy missed at a departure.
    Columns may be added behind; rows are ``low <= row <= high``.
    """

    def __init__(self, house, series, nodes, soc_kwh, terminal, car_kwh=None):
        self.house, self.series = house, series
        self.battery = house.battery or Battery(0.0, 0.0)
        self.car = house.car or Car(1.0, 1.0)
        self.entries, self.low, self.high = [], [], []
        self.cost = [0.0] * (WIDE * len(nodes))
        self.lower, self.upper = [0.0] * len(self.cost), [0.0] * len(self.cost)
        self.start = nodes[0][1]
        for k, node in enumerate(nodes):
            self._node(WIDE * k, node, soc_kwh, terminal, car_kwh)

    def row(self, entries, low, high):
        self.entries += [(len(self.low), column, value) for column, value in entries.items()]
        self.low.append(low)
        self.high.append(high)

    def column(self, low, high):
        self.cost.append(0.0)
        self.lower.append(low)
        self.upper.append(high)
        return len(self.cost) - 1

    def _node(self, k, node, soc_kwh, terminal, car_kwh):
        parent, t, chance, load, pv, buy = node
        house, b, last = self.house, self.battery, t == len(self.series) - 1
        power = b.power_kw
        if house.inverter == "separate" and house.battery_inverter_kva is not None:
            power = min(power, house.battery_inverter_kva)
        most = [house.import_limit_kw, house.export_limit_kw, power, power, pv, load]
        self.upper[k : k + SOC + 1] = [*most, b.capacity_kwh]
        wear, sell = b.wear_eur_per_kwh, self.series.export_eur_per_kwh[t]
        price = [buy, -sell, wear, wear, 0.0, house.unserved_eur_per_kwh]
        self.cost[k : k + UNSERVED + 1] = [chance * DT * x for x in price]
        self.cost[k + SOC] = -chance * terminal * last
        balance = {IMPORT: 1, EXPORT: -1, CHARGE: -1, DISCHARGE: 1, PV: 1, UNSERVED: 1}
        balance |= {TAKE: -1, GIVE: 1}
        self.row({k + c: v for c, v in balance.items()}, load, load)
        if house.inverter == "hybrid" and math.isfinite(house.inverter_kva):
            shared = {k + CHARGE: 1, k + DISCHARGE: -1, k + PV: -1}
            self.row(shared, -house.inverter_kva, house.inverter_kva)
        energy = {k + SOC: 1, k + CHARGE: -b.efficiency_charge * DT}
        energy[k + DISCHARGE] = DT / b.efficiency_discharge
        known = b.retention * soc_kwh if parent is None else 0.0
        if parent is not None:
            energy[WIDE * parent + SOC] = -b.retention
        self.row(energy, known, known)
        for session in self.series.sessions:
            if session.arrival <= t < session.departure:
                self._visit(k, node, session, car_kwh)

    def _visit(self, k, node, session, car_kwh):
        parent, t, chance, *_ = node
        car = self.car
        first = t == session.arrival or parent is None
        within = self.start > session.arrival
        stored = car_kwh if within else session.arrival_kwh
        top = car.capacity_kwh
        if car.discharge_kw == 0.0:
            top = min(max(session.needed_kwh, session.arrival_kwh), top)
            top = max(top, stored)
        self.upper[k + TAKE : k + CAR + 1] = [car.power_kw, car.discharge_kw, top]
        self.cost[k + GIVE] = chance * DT * car.wear_eur_per_kwh
        energy = {k + CAR: 1, k + TAKE: -car.efficiency_charge * DT}
        energy[k + GIVE] = DT / car.efficiency_discharge
        if not first:
            energy[WIDE * parent + CAR] = -1
        self.row(energy, stored if first else 0.0, stored if first else 0.0)
        if t + 1 == session.departure:
            self.upper[k + MISSED] = math.inf
            self.cost[k + MISSED] = chance * car.missed_eur_per_kwh
            self.row({k + MISSED: 1, k + CAR: 1}, session.needed_kwh, math.inf)

    def solve(self, objective=None, fixed=(), most=None, exclusive=False):
        """Least of the objective (the cost), inf where nothing is feasible.

        Args:
            objective: Shape (columns,).
            fixed: Rows of entries and the number each must equal.
            most: Other upper bounds by column.
            exclusive: Whether the root's stores may not charge and discharge at once.
        """
        n, rows = len(self.cost), len(self.low) + len(fixed)
        entries = list(self.entries)
        for i, (row, _) in enumerate(fixed, len(self.low)):
            entries += [(i, column, value) for column, value in row.items()]
        i, j, v = zip(*entries, strict=True)
        matrix = coo_matrix((v, (i, j)), shape=(rows, n)).tocsr()
        ends = [value for _, value in fixed]
        low, high = np.array(self.low + ends), np.array(self.high + ends)
        equal = low == high
        above, below = ~equal & np.isfinite(high), ~equal & np.isfinite(low)
        sides = vstack([matrix[above], -matrix[below]]).tocsr()
        bounds = np.concatenate([high[above], -low[below]])
        upper = np.array(self.upper)
        for column, value in (most or {}).items():
            upper[column] = value
        answer = linprog(
            self.cost if objective is None else objective,
            A_ub=sides,
            b_ub=bounds,
            A_eq=matrix[equal],
            b_eq=high[equal],
            bounds=np.column_stack([self.lower, upper]),
            method="highs-ds",
            options=EXACT,
        )
        assert answer.status in (0, 2), answer.message
        self.x = answer.x
        if answer.status == 2:
            return math.inf
        if exclusive:
            at_once = [
                pair
                for pair in ((CHARGE, DISCHARGE), (TAKE, GIVE))
                if min(answer.x[list(pair)]) > 1e-9 and not set(pair) & set(most or {})
            ]
            if at_once:
                return min(
                    self.solve(objective, fixed, (most or {}) | {off: 0.0}, True)
                    for off in at_once[0]
                )
        return answer.fun


def chain(series, start=0):
    """Nodes of a known day from a period on."""
    return [
        (t - start - 1 if t > start else None, t, 1.0, series.load_kw[t], series.pv_kw[t],
         series.import_eur_per_kwh[t])
        for t in range(start, len(series))
    ]  # fmt: skip


def tree(house, series, uncertainty, first):
    """Nodes of an uncertain day whose Markov state in period 0 is ``first``."""
    u, nodes, level = uncertainty, [], [(None, first, 1.0)]
    price = len(u.price.factors)
    move = np.kron(u.weather.matrix, u.price.matrix)
    for t in range(len(series)):
        following = []
        for parent, before, chance in level:
            states = [(first, 1.0)] if t == 0 else list(enumerate(move[before]))
            noise = zip(u.load_factors, u.load_probabilities, strict=True)
            for (s, moves), (factor, drawn) in itertools.product(states, list(noise)):
                weight = chance * moves * drawn
                if weight == 0.0:
                    continue
                w, p = divmod(s, price)
                rating = max(house.pv_kwp, series.pv_kw[t])
                pv = min(series.pv_kw[t] * u.weather.factors[w], rating)
                buy = series.import_eur_per_kwh[t] * u.price.factors[p]
                following.append((len(nodes), s, weight))
                nodes.append((parent, t, weight, series.load_kw[t] * factor, pv, buy))
        level = following
    return nodes


@pytest.fixture(scope="session")
def day_program():
    """``(house, series, soc_kwh, terminal, start=0, car_kwh=None) -> Program`` of a known day."""

    def build(house, series, soc_kwh, terminal, start=0, car_kwh=None):
        return Program(house, series, chain(series, start), soc_kwh, terminal, car_kwh)

    return build


@pytest.fixture(scope="session")
def tree_program():
    """``(house, series, soc_kwh, terminal, uncertainty, first) -> Program`` of a small tree."""

    def build(house, series, soc_kwh, terminal, uncertainty, first):
        nodes = tree(house, series, uncertainty, first)
        return Program(house, series, nodes, soc_kwh, terminal)

    return build


def play(house, series, soc_kwh, terminal, battery_kw, car_kw):
    """Play powers through the physics; outcomes (T, 17)."""
    row = d.house_row(house)[None]
    visits = d.visits(house.car, series.sessions, len(series))
    soc, car, action = np.array([soc_kwh]), np.zeros(1), np.empty((1, 2))
    values = (series.load_kw, series.pv_kw, series.import_eur_per_kwh, series.export_eur_per_kwh)
    outcomes = np.empty((len(series), 1, len(d.OUTCOME_NAMES)))
    for t in range(len(series)):
        now, visit = np.stack([v[t : t + 1] for v in values]), visits[t][:, None].copy()
        d.plug_in(t, visit, car)
        powers = battery_kw[t : t + 1], car_kw[t : t + 1]
        assert actions_from_powers(0, *powers, row, t, soc, car, now, visit, action) == -1, t
        last = t == len(series) - 1
        d.step(0, t, last, action, row, now, visit, np.array([terminal]), soc, car, outcomes[t])
    return outcomes[:, 0]


@pytest.fixture(scope="session")
def play_powers():
    """``(house, series, soc_kwh, terminal, battery_kw, car_kw) -> outcomes (T, 17)``."""
    return play


@pytest.fixture(scope="session")
def certain():
    """``(weather, price, load) -> Uncertainty`` of one state with these factors."""

    def build(weather, price, load):
        one = (((1.0,),),)
        return Uncertainty(
            MarkovChain((weather,), *one), MarkovChain((price,), *one), (load,), (1.0,)
        )

    return build
