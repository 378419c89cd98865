"""Even activation among answers of the same cost."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.charts.active import Offers
from flexgym.envs.charts.clearing import Operator
from flexgym.envs.charts.fairness import REACTIVE, Face, even_out
from flexgym.envs.charts.reactive import VertexOffers
from flexgym.envs.charts.settlement import jain
from flexgym.envs.charts.vertex_dispatch import COLD, OPTIMAL, dispatch_vertices
from flexgym.envs.data import load_grid
from flexgym.envs.grid import LinDistFlow, Network
from flexgym.envs.grid.tolerance import CLEAN_PERCENT, CLEAN_PU


@pytest.fixture(scope="module")
def network():
    net = load_grid()
    net.ext_grid["vm_pu"] = 1.025
    return Network.from_pandapower(net)


def roof(kw, reactive=0.0):
    """A house that would feed in ``kw`` and loses 8 ct for every kWh it does not."""
    cost = 0.02 * kw
    return FlexibilityChart.hull(
        [
            [-kw, 0.0, 0.0],
            [0.0, 0.0, cost],
            *([p, q, cost * (p / kw + 1)] for p in (-0.8 * kw, 0.0) for q in (-reactive, reactive)),
        ]
    )


def activation(menus, answer):
    own = np.array([menu.best_power_kw for menu in menus])
    return np.abs(answer.power_kw - own)


def assert_kept(answer):
    assert answer.clean
    assert answer.v_pu.max() <= 1.05 + CLEAN_PU
    assert answer.loading_percent.max() <= 100.0 + CLEAN_PERCENT


def linear_cost(operator, menus, reactive, fair):
    """Least cost by the uncorrected model, in which nothing but the costs and limits counts."""
    grid = operator._grid
    none = np.zeros(operator.network.n_bus)
    if reactive == "given":
        found = operator._active.solve(Offers(menus), grid.plain, np.zeros(len(menus)), fair)
    else:
        found = operator._reactive.solve(VertexOffers(menus), grid.plain, none, none, fair)
    assert found.violation_pu == found.violation_kva == 0.0
    return found.cost_eur.sum()


@pytest.mark.parametrize("reactive", ["given", "menu"])
@pytest.mark.parametrize("where", ["one bus", "one feeder"])
def test_alike_houses_are_asked_for_the_same(network, reactive, where):
    """One limit binds for all: the voltage of their bus, or the first line of their feeder."""
    low = np.flatnonzero(network.vn_kv < 1.0)
    if where == "one bus":
        operator = Operator(network, np.repeat(low[-1], 12))
        menus = [roof(20.0, 5.0) for _ in range(12)]
    else:
        # The band is wide and losses are free, so that all are in one tie.
        subtree = LinDistFlow(network).subtree[: len(network.line_element), low]
        bus = low[subtree[subtree.sum(axis=1).argmax()] > 0.0]
        operator = Operator(network, bus, band_pu=(0.8, 1.2), loss_eur_per_kwh=0.0)
        menus = [roof(8.0, 2.0) for _ in bus]
    cost = [linear_cost(operator, menus, reactive, fair) for fair in (False, True)]
    assert cost[1] == pytest.approx(cost[0], rel=1e-7)
    plain = operator.clear(menus, reactive=reactive)
    even = operator.clear(menus, reactive=reactive, fair=True)
    assert even.clean
    assert even.v_pu.max() <= operator.band_pu[1] + CLEAN_PU
    assert even.loading_percent.max() <= 100.0 + CLEAN_PERCENT
    # The grid at the two answers is not quite the same, and with it what it can carry.
    assert even.menu_eur == pytest.approx(plain.menu_eur, rel=0.02)
    before, after = activation(menus, plain), activation(menus, even)
    assert after.mean() > 0.2
    np.testing.assert_allclose(after, after.mean(), rtol=0, atol=1e-6)
    assert jain(after) == pytest.approx(1.0, abs=1e-9)
    assert jain(before) < 0.95


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_most_even_answer_of_the_same_cost(seed, rows):
    """Cost and limits stay, and a linear program proves that nothing is more even."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 8))
    many = rng.integers(1, 6, count)
    start = np.concatenate([[0], np.cumsum(many)])
    p, q = rng.integers(-2, 3, (2, many.sum())).astype(float)
    cost = rng.integers(-1, 2, many.sum()).astype(float)
    a, b = rng.integers(-1, 2, (2, rows, count)).astype(float)
    problem = (
        start, p, q, cost, np.ascontiguousarray(a.T), np.ascontiguousarray(b.T),
        rng.integers(-3, 4, rows).astype(float), np.arange(rows), np.ones(rows), np.full(rows, 9.0),
    )  # fmt: skip
    share, dual, broken, status, *_ = dispatch_vertices(*problem, COLD)
    assert status == OPTIMAL
    best = [s + np.argmin(cost[s:e]) for s, e in pairwise(start)]
    own, own_kvar = p[best], q[best]
    found = even_out(Face(*problem, dual), own, own_kvar)
    if found is None:
        return
    limit = problem[6]
    of = np.repeat(np.arange(count), many)
    span = [np.maximum.reduceat(x, start[:-1]) - np.minimum.reduceat(x, start[:-1]) for x in (p, q)]
    weight = [
        w / np.where(s > 0.0, s, 1.0) ** 2 for w, s in zip((1.0, REACTIVE), span, strict=True)
    ]

    def away(shares):
        return [np.bincount(of, shares * x) - o for x, o in ((p, own), (q, own_kvar))]

    def unevenness(shares):
        return sum(float(w @ d**2) for w, d in zip(weight, away(shares), strict=True))

    even, z = found
    total = share @ cost + 9.0 * broken.sum()
    assert even @ cost + 9.0 * z.sum() == pytest.approx(total, abs=1e-6)
    coefficient = a[:, of] * p + b[:, of] * q
    assert (coefficient @ even - z <= limit + 1e-6).all()
    np.testing.assert_allclose(np.bincount(of, even), 1.0, rtol=0, atol=1e-9)
    assert unevenness(even) <= unevenness(share) + 1e-6
    slope = sum(2.0 * (w * d)[of] * x for w, d, x in zip(weight, away(even), (p, q), strict=True))
    bound = linprog(
        np.concatenate([slope, np.zeros(rows)]),
        np.vstack([np.hstack([coefficient, -np.eye(rows)]), [*cost, *[9.0] * rows]]),
        [*limit, total + 1e-9],
        np.hstack([(of == np.arange(count)[:, None]).astype(float), np.zeros((count, rows))]),
        np.ones(count),
    )
    assert bound.status == 0
    assert bound.fun >= slope @ even - 1e-5


def test_without_a_choice_there_is_no_other_answer():
    """Costs that differ everywhere leave one answer; `Operator` then gives it."""
    start, p = np.array([0, 2, 4]), np.array([0.0, 1.0, 0.0, 1.0])
    none = np.zeros((2, 0)), np.zeros((2, 0)), np.zeros(0), np.zeros(0, dtype=np.int64)
    face = Face(start, p, 0.0 * p, np.array([0.0, 1.0, 0.5, 0.2]), *none, *[np.zeros(0)] * 3)
    assert even_out(face, np.zeros(2), np.zeros(2)) is None
