"""The operator: clean answers, prices that houses would follow, payments, bad input."""

import numpy as np
import pandapower as pp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexgym.envs.charts import FlexibilityChart, merit_order
from flexgym.envs.charts.clearing import Operator
from flexgym.envs.charts.settlement import (
    deviations,
    gini,
    inflation_gain,
    jain,
    pay_as_bid,
    pay_for_plan,
    pay_marginal,
)
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
    return Operator(network, houses(network))


def houses(network):
    """One on every low-voltage bus."""
    return np.flatnonzero(network.vn_kv < 1.0)


def random_menus(rng, count, bias=0.0, size=12.0, segments=8):
    menus = []
    for _ in range(count):
        power = np.sort(rng.uniform(-size, size, rng.integers(1, segments + 1) + 1))
        slope = np.sort(rng.normal(bias, 0.04, len(power) - 1))
        cost = np.concatenate([[0.0], np.cumsum(slope * np.diff(power))])
        menus.append(FlexibilityChart(power, cost + rng.uniform(-1.0, 1.0)))
    return menus


CASES = [(0.0, 6.0), (0.0, 12.0), (-0.05, 12.0), (0.05, 12.0), (0.05, 20.0), (-0.05, 30.0)]


@pytest.mark.parametrize(("bias", "size"), CASES)
def test_answers_are_clean(operator, network, bias, size):
    """After at most three solves no limit is broken, by pandapower's own power flow."""
    rng = np.random.default_rng(3)
    for _ in range(10):
        menus = random_menus(rng, len(operator.bus), bias, size)
        q = rng.uniform(-0.5, 1.0, len(menus))
        answer = operator.clear(menus, q)
        assert answer.feasible
        assert answer.clean
        assert 2 <= answer.solves <= 3
        for menu, power in zip(menus, answer.power_kw, strict=True):
            assert menu.power_kw[0] - 1e-9 <= power <= menu.power_kw[-1] + 1e-9
    net = load_grid()
    net.ext_grid["vm_pu"] = 1.025
    for table in ("load", "sgen", "storage"):
        net[table] = net[table].iloc[:0]
    at = network.bus_index[operator.bus]
    pp.create_loads(net, at.tolist(), p_mw=answer.power_kw / 1e3, q_mvar=q / 1e3)
    pp.runpp(net, tolerance_mva=1e-10)
    low = net.bus.vn_kv < 1.0
    assert net.res_bus.vm_pu[low].max() <= 1.05 + CLEAN_PU
    assert net.res_bus.vm_pu[low].min() >= 0.95 - CLEAN_PU
    assert net.res_line.loading_percent.max() <= 100.0 + CLEAN_PERCENT
    assert net.res_trafo.loading_percent.max() <= 100.0 + CLEAN_PERCENT
    np.testing.assert_allclose(
        answer.losses_kw, 1e3 * (net.res_line.pl_mw.sum() + net.res_trafo.pl_mw.sum()), atol=1e-6
    )


@pytest.mark.parametrize(("bias", "size"), CASES)
def test_houses_would_follow_the_prices(operator, bias, size):
    """At the grid's price nobody prefers another power, and payments leave nobody worse off."""
    rng = np.random.default_rng(4)
    menus = random_menus(rng, len(operator.bus), bias, size)
    answer = operator.clear(menus)
    price = answer.price_eur_per_kwh.sum(axis=0)
    for menu, power, at in zip(menus, answer.power_kw, price, strict=True):
        total = menu.cost_eur + DT_H * at * menu.power_kw
        assert menu.cost(power) + DT_H * at * power <= total.min() + 1e-9
    bid, marginal = pay_as_bid(menus, answer), pay_marginal(menus, answer)
    assert (bid.harm_eur >= -1e-12).all()
    np.testing.assert_array_equal(bid.gain_eur, 0.0)
    assert (marginal.gain_eur >= -1e-9).all()
    assert marginal.deficit_eur >= bid.deficit_eur - 1e-9
    own = [menu.cost_eur.min() for menu in menus]
    assert answer.menu_eur == pytest.approx(sum(own) + bid.harm_eur.sum(), abs=1e-9)


def test_free_power_takes_everybody_to_its_best(network):
    """Where nothing binds and losses are free, everybody takes what it would by itself."""
    operator = Operator(network, houses(network), loss_eur_per_kwh=0.0)
    menus = random_menus(np.random.default_rng(0), len(operator.bus), size=1.5)
    answer = operator.clear(menus)
    own = [menu.best_power_kw for menu in menus]
    np.testing.assert_allclose(answer.power_kw, own, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(answer.price_eur_per_kwh, 0.0)
    assert pay_as_bid(menus, answer).deficit_eur == pytest.approx(0.0, abs=1e-12)


def test_losses_are_priced_at_the_margin(network):
    """The price of losses is their derivative by the power of a house, at a known point."""
    operator = Operator(network, houses(network), loss_eur_per_kwh=0.2)
    fixed = np.random.default_rng(1).uniform(-5.0, 5.0, len(operator.bus))
    answer = operator.clear([FlexibilityChart([power], [0.0]) for power in fixed])
    flow = operator._flow
    for h in (0, 20, 42):
        p = np.zeros(network.n_bus)
        p[operator.bus] = answer.power_kw
        step = np.zeros_like(p)
        step[operator.bus[h]] = 1e-3
        losses = [flow.solve(p + s, np.zeros_like(p)).losses_kw for s in (step, -step)]
        derivative = 0.2 * float(losses[0] - losses[1]) / 2e-3
        assert answer.price_eur_per_kwh[0, h] == pytest.approx(derivative, rel=1e-4, abs=1e-7)


def test_what_cannot_be_kept_is_broken_least(network):
    """Houses that can do nothing but feed in 25 kW each: least violation, and it is said."""
    operator = Operator(network, houses(network))
    stubborn = [FlexibilityChart([-25.0, -24.0], [0.0, 0.1]) for _ in operator.bus]
    answer = operator.clear(stubborn)
    assert not answer.feasible
    assert not answer.clean
    assert answer.violation_pu > 0.0
    assert answer.violation_kva > 0.0
    np.testing.assert_allclose(answer.power_kw, -24.0)
    assert answer.loading_percent.max() > 100.0
    assert answer.v_pu.max() > 1.05
    # No price tells anything there: the harm is paid, not a thousand times the violation.
    bid, marginal = pay_as_bid(stubborn, answer), pay_marginal(stubborn, answer)
    np.testing.assert_array_equal(marginal.paid_eur, bid.paid_eur)
    assert bid.deficit_eur == pytest.approx(0.1 * len(stubborn))


@pytest.mark.parametrize(
    ("power", "price", "match"),
    [
        (np.zeros(3), np.zeros(2), "expected \\(2,\\) for both"),
        ([np.nan, 0.0], np.zeros(2), "finite numbers"),
    ],
)
def test_deviations_refuse_what_is_no_answer(power, price, match):
    menus = [FlexibilityChart([0.0, 1.0], [0.0, 0.1])] * 2
    with pytest.raises(ChartError, match=match):
        deviations(menus, power, price)


def test_deviations_are_harms_at_a_price():
    menu = FlexibilityChart([0.0, 1.0, 2.0], [0.2, 0.0, 0.3])
    # At 2 EUR/kWh a kW costs 0.5 EUR more: the best choice moves from 1 kW to none.
    assert deviations([menu], [1.0], [2.0])[0] == pytest.approx(0.3)
    assert deviations([menu], [1.0], [0.0])[0] == 0.0


def test_false_plans_pay_and_shares_are_checked():
    price, plan = np.array([[0.1], [-0.2]]), np.array([[2.0], [-1.0]])
    assert inflation_gain(price, plan, 0.1) == pytest.approx([0.25 * 0.1 * (0.2 + 0.2)])
    with pytest.raises(ChartError, match="share is nan"):
        inflation_gain(price, plan, float("nan"))
    with pytest.raises(ChartError, match="no numbers"):
        pay_for_plan("x", plan, plan, plan)


def test_a_collapse_is_an_answer_too(network):
    operator = Operator(network, houses(network))
    answer = operator.clear([FlexibilityChart([500.0], [0.0])] * len(operator.bus))
    assert not answer.clean
    assert np.isfinite(answer.v_pu).all()
    assert answer.losses_kw == 0.0


def test_the_fall_back_gives_the_same(operator, monkeypatch):
    rng = np.random.default_rng(8)
    menus = random_menus(rng, len(operator.bus), 0.05, 20.0)
    expected = operator.clear(menus)

    def gives_up(*problem):
        none = np.zeros(len(problem[5]))
        return problem[3], none, none, merit_order.TOO_MANY_ROWS, 0

    monkeypatch.setattr("flexgym.envs.charts.active.dispatch", gives_up)
    answer = operator.clear(menus)
    assert answer.menu_eur == pytest.approx(expected.menu_eur, abs=1e-6)
    np.testing.assert_allclose(answer.power_kw, expected.power_kw, atol=1e-4)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.floats(-0.1, 0.1), st.floats(1.0, 25.0))
def test_any_menus(operator, seed, bias, size):
    """An answer within the menus, prices of limits only where limits bind, losses positive."""
    rng = np.random.default_rng(seed)
    answer = operator.clear(random_menus(rng, len(operator.bus), bias, size))
    assert answer.clean or not answer.feasible
    assert answer.losses_kw > 0.0
    slack = 100.0 - answer.loading_percent
    assert (answer.branch_eur_per_kwh[slack > 2.0] < 1e-9).all()
    inside = (answer.v_pu < 1.049) & (answer.v_pu > 0.951)
    assert (answer.voltage_eur_per_pu_h[inside] < 1e-9).all()


def test_refusals(network, operator):
    menus = random_menus(np.random.default_rng(0), len(operator.bus))
    with pytest.raises(ChartError, match="got 42 menus"):
        operator.clear(menus[:-1])
    with pytest.raises(ChartError, match="NoneType"):
        operator.clear([*menus[:-1], None])
    with pytest.raises(ChartError, match="q_kvar has shape"):
        operator.clear(menus, np.zeros(3))
    with pytest.raises(ChartError, match="q_kvar"):
        operator.clear(menus, np.full(len(menus), np.nan))
    with pytest.raises(ChartError, match="bus is"):
        Operator(network, [0, 999])
    with pytest.raises(ChartError, match="band_pu"):
        Operator(network, [1], band_pu=(1.05, 0.95))
    with pytest.raises(ChartError, match="prices"):
        Operator(network, [1], loss_eur_per_kwh=-0.1)
    with pytest.raises(ChartError, match="those that were cleared"):
        pay_as_bid(menus[:3], operator.clear(menus))


def test_fairness():
    assert jain([3.0, 3.0, 3.0]) == pytest.approx(1.0)
    assert jain([0.0, 0.0, 5.0]) == pytest.approx(1 / 3)
    assert gini([2.0, 2.0]) == pytest.approx(0.0)
    assert gini([0.0, 0.0, 0.0, 1.0]) == pytest.approx(0.75)
    assert np.isnan(jain([0.0, 0.0]))
    assert np.isnan(gini([0.0]))
    with pytest.raises(ChartError, match="amounts"):
        jain([-1.0])
