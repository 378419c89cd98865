"""Clearing in active and reactive power: clean, followed, paid, and better than q given."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.charts.clearing import Operator
from flexgym.envs.charts.reactive import VertexOffers
from flexgym.envs.charts.settlement import pay_as_bid, pay_marginal
from flexgym.envs.charts.vertex_dispatch import INACCURATE
from flexgym.envs.data import load_grid
from flexgym.envs.errors import ChartError
from flexgym.envs.grid import Network
from flexgym.envs.grid.tolerance import CLEAN_PERCENT, CLEAN_PU

DT_H = 0.25


@pytest.fixture(scope="module")
def network():
    net = load_grid()
    net.ext_grid["vm_pu"] = 1.025
    return Network.from_pandapower(net)


@pytest.fixture(scope="module")
def operator(network):
    return Operator(network, np.flatnonzero(network.vn_kv < 1.0))


def random_menus(rng, count, bias=0.0, size=12.0):
    """Charts of an ellipse of powers; ``bias`` EUR/kW makes their owners feed in."""
    menus = []
    for _ in range(count):
        n = int(rng.integers(4, 20))
        angle, radius = rng.uniform(0.0, 2.0 * np.pi, n), size * np.sqrt(rng.random(n))
        p, q = radius * np.cos(angle), 0.6 * radius * np.sin(angle)
        bowl = rng.uniform(0.0, 0.08) / size * (p - rng.uniform(-0.5, 0.5) * size) ** 2
        cost = bowl + rng.normal(bias, 0.04) * p + rng.uniform(0.0, 0.002) * np.abs(q)
        menus.append(FlexibilityChart.hull(np.column_stack([p, q, cost])))
    return menus


CASES = [(0.0, 6.0), (-0.05, 12.0), (0.05, 12.0), (0.05, 20.0), (-0.05, 30.0), (0.2, 30.0)]


@pytest.mark.parametrize(("bias", "size"), CASES)
def test_answers_are_clean_and_houses_would_follow(operator, bias, size):
    """At most three solves; powers inside the charts; prices and payments that suit everybody."""
    rng = np.random.default_rng(3)
    for _ in range(4):
        menus = random_menus(rng, len(operator.bus), bias, size)
        answer = operator.clear(menus, reactive="menu")
        assert answer.feasible
        assert answer.clean
        assert answer.solves <= 3
        assert answer.v_pu[operator.bus].max() <= 1.05 + CLEAN_PU
        assert answer.v_pu[operator.bus].min() >= 0.95 - CLEAN_PU
        assert answer.loading_percent.max() <= 100.0 + CLEAN_PERCENT
        price = DT_H * answer.price_eur_per_kwh.sum(axis=0)
        price_q = DT_H * answer.price_eur_per_kvarh.sum(axis=0)
        for h, menu in enumerate(menus):
            at = answer.power_kw[h], answer.q_kvar[h]
            assert menu.contains(*at)
            assert menu.cost(*at) == pytest.approx(answer.cost_eur[h], abs=1e-8)
            p, q, cost = menu.vertices.T
            least = (cost + price[h] * p + price_q[h] * q).min()
            assert answer.cost_eur[h] + price[h] * at[0] + price_q[h] * at[1] <= least + 1e-9
        bid, marginal = pay_as_bid(menus, answer), pay_marginal(menus, answer)
        assert (bid.harm_eur >= -1e-9).all()
        assert (marginal.gain_eur >= -1e-9).all()
        own = sum(menu.cost_eur.min() for menu in menus)
        assert answer.menu_eur == pytest.approx(own + bid.deficit_eur, abs=1e-9)
        assert marginal.deficit_eur >= bid.deficit_eur - 1e-9


def test_reactive_power_saves_curtailment(operator):
    """Where voltages and lines are full it costs less than with every house's own choice."""
    rng = np.random.default_rng(5)
    saved = []
    for _ in range(6):
        menus = random_menus(rng, len(operator.bus), 0.2, 30.0)
        free = operator.clear(menus, reactive="menu")
        fixed = operator.clear(menus, [menu.best[1] for menu in menus])
        assert free.clean
        assert fixed.clean
        saved.append(fixed.menu_eur - free.menu_eur)
    assert min(saved) > 0.0


def test_menus_of_active_power_alone_are_cleared_as_before(network):
    """Without reactive power and losses the program is the same; the answers are, too."""
    operator = Operator(network, np.flatnonzero(network.vn_kv < 1.0), loss_eur_per_kwh=0.0)
    rng = np.random.default_rng(6)
    for _ in range(5):
        menus = []
        for _ in operator.bus:
            power = np.sort(rng.uniform(-20.0, 20.0, 9))
            slope = np.sort(rng.normal(0.1, 0.04, 8))
            cost = np.append(0.0, np.cumsum(slope * np.diff(power)))
            menus.append(FlexibilityChart(power, cost))
        one, other = operator.clear(menus), operator.clear(menus, reactive="menu")
        np.testing.assert_array_equal(other.q_kvar, 0.0)
        assert other.clean
        harm = [pay_as_bid(menus, answer).deficit_eur for answer in (one, other)]
        assert harm[0] > 1.0
        assert harm[1] == pytest.approx(harm[0], rel=5e-3)


def test_free_reactive_power_serves_the_losses(network):
    """Houses that do not mind reactive power make up for the others as the exact optimum does."""
    rng = np.random.default_rng(1)
    bus = np.flatnonzero(network.vn_kv < 1.0)[5::5]
    power = rng.uniform(2.0, 6.0, len(bus))
    free = np.arange(len(bus)) % 2 == 0
    least, most = np.where(free, -30.0, 20.0), np.where(free, 4.0, 20.0)
    menus = [
        FlexibilityChart.hull([[p, a, 0.0], [p, b, 0.0]])
        for p, a, b in zip(power, least, most, strict=True)
    ]
    operator = Operator(network, bus, loss_eur_per_kwh=10.0)
    answer = operator.clear(menus, reactive="menu")

    def losses(q):
        p_bus, q_bus = np.zeros((2, network.n_bus))
        p_bus[bus], q_bus[bus] = power, q
        return float(operator._flow.solve(p_bus, q_bus).losses_kw)

    best = minimize(losses, most.clip(least, 0.0), bounds=np.column_stack([least, most]))
    own = losses(np.array([menu.best[1] for menu in menus]))
    assert own > best.fun + 0.2
    assert best.fun - 1e-6 <= answer.losses_kw <= best.fun + 0.03


def test_prices_are_derivatives(network):
    """What a bit more active or reactive power at a bus costs the linear model in all."""
    operator = Operator(
        network,
        np.flatnonzero(network.vn_kv < 1.0),
        band_pu=(0.95, 1.035),
        loss_eur_per_kwh=0.0,
    )
    menus = random_menus(np.random.default_rng(2), len(operator.bus), 0.05, 10.0)
    none = np.zeros(network.n_bus)

    def solve(offers):
        return operator._reactive.solve(
            VertexOffers(offers), operator._grid.plain, none, none, False
        )

    found = solve(menus)
    assert (found.branch_eur == 0.0).all()
    assert np.abs(found.price_eur_per_kvarh[1]).max() > 1e-3
    for h in (0, 13, 42):
        for axis, price in ((0, found.price_eur_per_kwh), (1, found.price_eur_per_kvarh)):
            total = []
            for step in (-1e-3, 1e-3):
                # The house draws that much beside its menu.
                moved = menus[h].vertices.copy()
                moved[:, axis] += step
                changed = [*menus[:h], FlexibilityChart.hull(moved), *menus[h + 1 :]]
                total.append(solve(changed).cost_eur.sum())
            derivative = (total[1] - total[0]) / (DT_H * 2e-3)
            assert derivative == pytest.approx(price[:, h].sum(), rel=1e-4, abs=1e-6)


def test_what_cannot_be_kept_is_broken_least(network):
    """Houses that must feed in 24 kW at least; their reactive power lowers what is broken."""
    operator = Operator(network, np.flatnonzero(network.vn_kv < 1.0))
    stubborn = [
        FlexibilityChart.hull([[-25.0, 0.0, 0.0], [-24.0, 0.0, 0.1], [-24.0, 5.0, 0.1]])
        for _ in operator.bus
    ]
    answer, fixed = operator.clear(stubborn, reactive="menu"), operator.clear(stubborn)
    assert not answer.feasible
    assert not answer.clean
    assert answer.violation_pu > 0.0
    assert answer.violation_kva > 0.0
    np.testing.assert_allclose(answer.power_kw, -24.0, rtol=0, atol=1e-9)
    assert answer.violation_pu <= fixed.violation_pu + 1e-6
    assert answer.v_pu.max() > 1.05


def test_a_collapse_is_an_answer_too(operator):
    answer = operator.clear([FlexibilityChart([500.0], [0.0])] * len(operator.bus), reactive="menu")
    assert not answer.clean
    assert np.isfinite(answer.v_pu).all()
    assert answer.losses_kw == 0.0


def test_own_choices_that_the_grid_cannot_carry(operator):
    """The first point has no power flow; the answer has."""
    chart = FlexibilityChart.hull([[500.0, 0.0, -1.0], [0.0, 0.0, 0.0], [0.0, -3.0, 0.0]])
    answer = operator.clear([chart] * len(operator.bus), reactive="menu")
    assert answer.feasible
    assert answer.clean


def test_the_fall_back_gives_the_same(operator, monkeypatch):
    menus = random_menus(np.random.default_rng(8), len(operator.bus), 0.05, 20.0)
    expected = operator.clear(menus, reactive="menu")

    def gives_up(*problem, warm):
        none = np.zeros(0)
        return none, none, none, INACCURATE, 0, np.zeros(0, dtype=np.int64)

    monkeypatch.setattr("flexgym.envs.charts.reactive.dispatch_vertices", gives_up)
    answer = operator.clear(menus, reactive="menu")
    assert answer.clean
    assert answer.menu_eur == pytest.approx(expected.menu_eur, rel=1e-3, abs=1e-3)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.floats(-0.1, 0.1), st.floats(1.0, 25.0))
def test_any_menus(operator, seed, bias, size):
    """Clean wherever a feasible point exists; prices of limits only where limits bind."""
    rng = np.random.default_rng(seed)
    answer = operator.clear(random_menus(rng, len(operator.bus), bias, size), reactive="menu")
    assert answer.clean or not answer.feasible
    slack = 100.0 - answer.loading_percent
    assert (answer.branch_eur_per_kwh[slack > 2.0] < 1e-9).all()  # up to the basis' rounding
    inside = (answer.v_pu < 1.049) & (answer.v_pu > 0.951)
    assert (answer.voltage_eur_per_pu_h[inside] < 1e-9).all()


def test_refusals(operator):
    menus = random_menus(np.random.default_rng(0), len(operator.bus))
    with pytest.raises(ChartError, match="reactive is 'free'"):
        operator.clear(menus, reactive="free")
    with pytest.raises(ChartError, match="expected none"):
        operator.clear(menus, np.zeros(len(menus)), reactive="menu")
    with pytest.raises(ChartError, match="got 42 menus"):
        operator.clear(menus[:-1], reactive="menu")
