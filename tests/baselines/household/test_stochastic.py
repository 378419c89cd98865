"""The stochastic recursion against one linear program over the whole scenario tree."""

import itertools

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import coo_matrix

from flexgym.baselines.household import cost_to_go, perfect_foresight
from flexgym.envs import Battery, House, Series, Uncertainty
from flexgym.envs.errors import ConvexityError, ScenarioError, SolverError
from flexgym.envs.household.dynamics import house_row
from flexgym.envs.uncertainty import MarkovChain

DT = 0.25


def small(rng, factors=(0.5, 1.4)):
    """Two weather states, two price states, two load factors with random probabilities."""

    def chain(values):
        stay = rng.uniform(0.2, 0.95, 2)
        rows = ((stay[0], 1 - stay[0]), (1 - stay[1], stay[1]))
        return MarkovChain(values, rows)

    p = rng.uniform(0.1, 0.9)
    return Uncertainty(chain(factors), chain((0.8, 1.3)), (0.5, 1.6), (p, 1 - p))


def stationary(matrix):
    return np.linalg.matrix_power(matrix, 4096)[0]


def extensive_form(house, series, soc, terminal, uncertainty, first=None):
    """Expected cost of the best plan that knows, in every node, only what led there.

    A node is a history of (weather, price, load factor); each has its own import, export,
    charge, discharge, PV, unserved load and stored energy. One program over all of them.
    """
    T, b = len(series), house.battery or Battery(0.0, 0.0)
    weather, price = uncertainty.weather, uncertainty.price
    outcomes = list(
        itertools.product(
            range(len(weather.factors)),
            range(len(price.factors)),
            range(len(uncertainty.load_factors)),
        )
    )
    start_w, start_p = stationary(weather.matrix), stationary(price.matrix)
    cost, upper, right, inverter = [], [], [], []
    entries, wide = [], []
    level = [(None, None, 1.0)]  # (column of stored energy, state, probability)
    for t in range(T):
        following = []
        for parent, state, chance in level:
            for w, p, k in outcomes:
                if state is not None:
                    chance_here = weather.matrix[state[0], w] * price.matrix[state[1], p]
                elif first is not None:
                    chance_here = float((w, p) == first)
                else:
                    chance_here = start_w[w] * start_p[p]
                weight = chance * chance_here * uncertainty.load_probabilities[k]
                if weight == 0.0:
                    continue
                load = series.load_kw[t] * uncertainty.load_factors[k]
                pv = series.pv_kw[t] * weather.factors[w]
                pv = min(pv, max(house.pv_kwp, series.pv_kw[t]))
                buy = series.import_eur_per_kwh[t] * price.factors[p]
                at = len(cost)
                cost += [weight * DT * buy, -weight * DT * series.export_eur_per_kwh[t]]
                cost += [weight * DT * b.wear_eur_per_kwh] * 2 + [0.0]
                cost += [weight * DT * house.unserved_eur_per_kwh]
                cost += [-weight * terminal if t == T - 1 else 0.0]
                upper += [house.import_limit_kw, house.export_limit_kw, b.power_kw, b.power_kw]
                upper += [pv, load, b.capacity_kwh]
                row = len(right)
                balance = ((0, 1), (1, -1), (2, -1), (3, 1), (4, 1), (5, 1))
                entries += [(row, at + j, v) for j, v in balance]
                energy = ((6, 1), (2, -b.efficiency_charge * DT), (3, DT / b.efficiency_discharge))
                entries += [(row + 1, at + j, v) for j, v in energy]
                if parent is not None:
                    entries.append((row + 1, parent, -b.retention))
                right += [load, b.retention * soc if parent is None else 0.0]
                side = len(inverter)
                power = ((2, 1), (3, -1), (4, -1))
                wide += [(side, at + j, v) for j, v in power]
                wide += [(side + 1, at + j, -v) for j, v in power]
                inverter += [house.inverter_kva] * 2
                following.append(
                    (at + 6, (w, p), chance * chance_here * uncertainty.load_probabilities[k])
                )
        level = following

    def matrix(triples, rows):
        i, j, v = zip(*triples, strict=True)
        return coo_matrix((v, (i, j)), shape=(rows, len(cost))).tocsr()

    finite = np.isfinite(inverter)
    answer = linprog(
        cost,
        A_eq=matrix(entries, len(right)),
        b_eq=right,
        A_ub=matrix(wide, len(inverter))[finite] if finite.any() else None,
        b_ub=np.array(inverter)[finite] if finite.any() else None,
        bounds=np.column_stack([np.zeros(len(cost)), upper]),
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    assert answer.status == 0, answer.message
    return answer.fun


def convex_day(rng, random_house_day, periods):
    """A day whose import price stays above its export price under every factor."""
    house, series, soc, terminal = random_house_day(rng, periods)
    sell = np.minimum(series.export_eur_per_kwh, 0.7 * series.import_eur_per_kwh)
    series = Series(series.load_kw, series.pv_kw, series.import_eur_per_kwh, sell)
    return house, series, soc, terminal


@pytest.mark.parametrize(("periods", "trees"), [(2, 30), (3, 25), (4, 2)])
def test_unpruned_equals_the_extensive_form(random_house_day, periods, trees):
    rng = np.random.default_rng(periods)
    worst = 0.0
    for _ in range(trees):
        house, series, soc, terminal = convex_day(rng, random_house_day, periods)
        uncertainty = small(rng)
        exact = cost_to_go(
            house, series, uncertainty=uncertainty, terminal_eur_per_kwh=terminal, tolerance_eur=0.0
        )
        assert exact.gap_eur == 0.0
        whole = extensive_form(house, series, soc, terminal, uncertainty)
        worst = max(worst, abs(whole - exact.value(0, soc)))
        if periods < 4:
            state = int(rng.integers(4))
            part = extensive_form(house, series, soc, terminal, uncertainty, divmod(state, 2))
            worst = max(worst, abs(part - exact.value(0, soc, state=state)))

    assert worst <= 1e-7


def test_pruned_lies_within_its_certificate(random_house_day):
    rng = np.random.default_rng(5)
    pruned_at_all = 0
    for k in range(25):
        house, series, _, terminal = convex_day(rng, random_house_day, 4)
        uncertainty = small(rng)
        exact = cost_to_go(
            house, series, uncertainty=uncertainty, terminal_eur_per_kwh=terminal, tolerance_eur=0.0
        )
        tolerance = (1e-2, 1e-4, 1e-6)[k % 3]
        pruned = cost_to_go(
            house,
            series,
            uncertainty=uncertainty,
            terminal_eur_per_kwh=terminal,
            tolerance_eur=tolerance,
        )
        assert 0.0 <= pruned.gap_eur <= tolerance
        pruned_at_all += pruned.gap_eur > 0
        capacity = house_row(house)[0]
        if capacity == 0.0:
            continue
        grid = pruned.tables.grid_kwh
        inside = np.sort(rng.uniform(0.0, capacity, 200))
        for state in range(4):
            for soc in (inside, grid):
                above = pruned.value(0, soc, state=state) - exact.value(0, soc, state=state)
                assert above.min() >= -1e-10
                assert above.max() <= pruned.gap_eur + 1e-10
            below = exact.value(0, grid, state=state) - pruned.tables.lower[state]
            assert below.min() >= -1e-10
    assert pruned_at_all >= 10


def test_a_whole_day_reaches_the_promised_gap(random_house_day):
    rng = np.random.default_rng(6)
    for _ in range(3):
        house, series, soc, terminal = convex_day(rng, random_house_day, 96)
        solved = cost_to_go(
            house, series, uncertainty=Uncertainty.markov(), terminal_eur_per_kwh=terminal
        )
        assert 0.0 <= solved.gap_eur <= 1e-4
        values = [solved.value(0, soc, state=s) for s in range(9)]
        mean = np.dot(Uncertainty.markov().stationary, values)
        np.testing.assert_allclose(solved.value(0, soc), mean, rtol=0, atol=1e-12)


@pytest.mark.parametrize("tolerance_eur", [0.0, 1e-6])
def test_a_certain_future_is_a_known_day(random_house_day, tolerance_eur):
    """One state and one load factor: the day scaled by them, whatever they are."""
    rng = np.random.default_rng(11)
    for weather, price, load in (
        (1.0, 1.0, 1.0),
        (0.5, 1.0, 1.0),
        (0.7, 1.2, 1.3),
        (1.0, 1.0, 0.6),
    ):
        for _ in range(6):
            house, series, soc, terminal = convex_day(rng, random_house_day, 6)
            one = Uncertainty(
                MarkovChain((weather,), ((1.0,),)),
                MarkovChain((price,), ((1.0,),)),
                (load,),
                (1.0,),
            )
            scaled = Series(
                series.load_kw * load,
                np.minimum(series.pv_kw * weather, np.maximum(series.pv_kw, house.pv_kwp)),
                series.import_eur_per_kwh * price,
                series.export_eur_per_kwh,
            )
            solved = cost_to_go(
                house,
                series,
                uncertainty=one,
                terminal_eur_per_kwh=terminal,
                tolerance_eur=tolerance_eur,
            )
            bound = perfect_foresight(house, scaled, soc_kwh=soc, terminal_eur_per_kwh=terminal)
            error = solved.value(0, soc) - bound.cost_eur
            assert -1e-9 <= error <= solved.gap_eur + 1e-9


def test_states_that_do_not_differ_change_nothing(random_house_day):
    """Chains whose states all carry the factor 1 are a known day in disguise."""
    rng = np.random.default_rng(12)
    same = Uncertainty(
        MarkovChain((1.0, 1.0), ((0.9, 0.1), (0.3, 0.7))),
        MarkovChain((1.0, 1.0), ((0.5, 0.5), (0.5, 0.5))),
        (1.0, 1.0),
        (0.25, 0.75),
    )
    for _ in range(10):
        house, series, soc, terminal = convex_day(rng, random_house_day, 24)
        known = cost_to_go(house, series, terminal_eur_per_kwh=terminal)
        solved = cost_to_go(house, series, uncertainty=same, terminal_eur_per_kwh=terminal)
        error = solved.value(0, soc) - known.value(0, soc)
        assert -1e-9 <= error <= solved.gap_eur + 1e-9


def test_knowing_less_costs_more(random_house_day):
    """The mean over all futures, had each been known, bounds the optimum from below."""
    rng = np.random.default_rng(13)
    news = 0.0
    for _ in range(6):
        house, series, soc, terminal = convex_day(rng, random_house_day, 2)
        uncertainty = small(rng)
        weather, price = uncertainty.weather, uncertainty.price
        start = np.outer(stationary(weather.matrix), stationary(price.matrix))
        foreseen = total = 0.0
        for w0, p0, k0, w1, p1, k1 in itertools.product(range(2), repeat=6):
            chance = start[w0, p0] * weather.matrix[w0, w1] * price.matrix[p0, p1]
            chance *= uncertainty.load_probabilities[k0] * uncertainty.load_probabilities[k1]
            sun = series.pv_kw * [weather.factors[w0], weather.factors[w1]]
            day = Series(
                series.load_kw * [uncertainty.load_factors[k0], uncertainty.load_factors[k1]],
                np.minimum(sun, np.maximum(house.pv_kwp, series.pv_kw)),
                series.import_eur_per_kwh * [price.factors[p0], price.factors[p1]],
                series.export_eur_per_kwh,
            )
            bound = perfect_foresight(house, day, soc_kwh=soc, terminal_eur_per_kwh=terminal)
            foreseen += chance * bound.cost_eur
            total += chance
        assert total == pytest.approx(1.0)
        solved = cost_to_go(
            house, series, uncertainty=uncertainty, terminal_eur_per_kwh=terminal, tolerance_eur=0.0
        )
        assert foreseen <= solved.value(0, soc) + 1e-9
        news += solved.value(0, soc) - foreseen
    assert news > 1e-3


def test_too_big_to_be_exact_is_said(random_house_day):
    rng = np.random.default_rng(14)
    house = House(Battery(10.0, 5.0), 8.0, 8.0, 20.0, 20.0)
    _, series, _, _ = random_house_day(rng)
    series = Series(
        series.load_kw, 4 * rng.random(96), rng.uniform(0.2, 0.4, 96), np.full(96, 0.08)
    )
    with pytest.raises(SolverError, match="Pass tolerance_eur > 0"):
        cost_to_go(house, series, uncertainty=Uncertainty.markov(), tolerance_eur=0.0)


def test_impossible_tolerances_are_refused():
    house = House(Battery(10.0, 5.0), 8.0, 8.0, 20.0, 20.0)
    series = Series([1.0], [1.0], [0.3], [0.1])
    for tolerance in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ScenarioError, match="tolerance_eur"):
            cost_to_go(house, series, tolerance_eur=tolerance)


def test_a_price_factor_that_crosses_the_export_price_is_refused():
    house = House(Battery(10.0, 5.0), 8.0, 8.0, 20.0, 20.0)
    series = Series([1.0, 1.0], [1.0, 1.0], [0.3, 0.1], [0.1, 0.09])
    assert cost_to_go(house, series).gap_eur == 0.0
    with pytest.raises(ConvexityError, match=r"in period 1 .* import >= export"):
        cost_to_go(house, series, uncertainty=Uncertainty.markov())


def test_uncertainty_may_be_named():
    house = House(Battery(5.0, 3.0), 5.0, 5.0, 30.0, 30.0)
    series = Series([1.0, 1.0], [1.0, 1.0], [0.3, 0.3], [0.1, 0.1])
    named = cost_to_go(house, series, uncertainty="markov")
    assert named.value(0, 2.0) == cost_to_go(house, series, uncertainty=Uncertainty.markov()).value(
        0, 2.0
    )
    with pytest.raises(ScenarioError, match="uncertainty is 'some'"):
        cost_to_go(house, series, uncertainty="some")
