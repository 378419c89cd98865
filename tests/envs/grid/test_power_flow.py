"""The power flow against pandapower, and what it promises about batches, balance, failure."""

import numpy as np
import pandapower
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flexgym.envs.errors import PowerFlowError
from flexgym.envs.grid import Network, PowerFlowResult, RadialPowerFlow
from flexgym.envs.grid.lanes import LANES

FIELDS = (
    "v_pu", "line_loading_percent", "trafo_loading_percent", "losses_kw", "slack_kw",
    "slack_kvar", "converged", "iterations",
)  # fmt: skip


def random_powers(network, net, cases, rng):
    """Loads, roofs and reactive power, from next to nothing to what the network just carries."""
    rated_kva = network.trafo_rating_kva.sum() or 2.0 * network.injections(net)[0].sum()
    weight = rng.uniform(0.2, 1.0, (cases, network.n_bus))
    weight *= np.where(rng.random((cases, network.n_bus)) < 0.3, -0.7, 1.0)
    total = rated_kva * rng.uniform(-0.9, 0.9, (cases, 1)) / network.n_bus
    p_kw = 2.2 * total * weight
    return p_kw, p_kw * rng.uniform(-0.3, 0.5, p_kw.shape)


def equal(a, b, rows=slice(None)):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(a, name)[rows], getattr(b, name), err_msg=name)


@pytest.fixture(scope="module")
def semiurb4(read_net):
    return Network.from_pandapower(read_net("semiurb4"))


@pytest.fixture(scope="module")
def flow(semiurb4):
    return RadialPowerFlow(semiurb4)


def test_agrees_with_pandapower(named_net, make_oracle):
    name, net = named_net
    network = Network.from_pandapower(net)
    rng = np.random.default_rng(sum(map(ord, name)))
    p_kw, q_kvar = random_powers(network, net, 500, rng)
    oracle = make_oracle(net)
    expected = oracle(p_kw, q_kvar)
    got = RadialPowerFlow(network).solve(p_kw, q_kvar, angles=True)
    assert got.converged.all()
    assert np.ptp(expected.v_pu) > 0.05  # the cases are no trifles
    np.testing.assert_allclose(got.v_pu, expected.v_pu, rtol=0, atol=1e-8)
    for kind in ("line_loading_percent", "trafo_loading_percent"):
        np.testing.assert_allclose(getattr(got, kind), getattr(expected, kind), rtol=0, atol=1e-6)
    np.testing.assert_allclose(got.slack_kw, expected.slack_kva.real, rtol=1e-7, atol=1e-4)
    np.testing.assert_allclose(got.slack_kvar, expected.slack_kva.imag, rtol=1e-7, atol=1e-4)
    check_with_runpp(net, network, p_kw[:25], q_kvar[:25], got, expected)


def check_with_runpp(net, network, p_kw, q_kvar, got, expected):
    """Oracle and power flow against pandapower's Newton method in a copy of the net."""
    net = pandapower.pandapowerNet(net)
    for table in ("load", "sgen", "storage"):
        net[table] = net[table].iloc[:0]
    pandapower.create_loads(net, network.bus_index, p_mw=0.0, q_mvar=0.0)
    for case, (p, q) in enumerate(zip(p_kw, q_kvar, strict=True)):
        net.load["p_mw"], net.load["q_mvar"] = p / 1e3, q / 1e3
        pandapower.runpp(net, tolerance_mva=1e-10, max_iteration=30)
        v = net.res_bus.vm_pu.loc[network.bus_index]
        np.testing.assert_allclose(expected.v_pu[case], v, rtol=0, atol=2e-9)
        np.testing.assert_allclose(got.v_pu[case], v, rtol=0, atol=1e-8)
        line = net.res_line.loading_percent.loc[network.line_index]
        np.testing.assert_allclose(got.line_loading_percent[case], line, rtol=0, atol=1e-6)
        trafo = net.res_trafo.loading_percent.loc[network.trafo_index]
        np.testing.assert_allclose(got.trafo_loading_percent[case], trafo, rtol=0, atol=1e-6)
        angle = net.res_bus.va_degree.loc[network.bus_index].to_numpy()
        turned = (got.angle_degree[case] - angle + 180.0) % 360.0 - 180.0
        np.testing.assert_allclose(turned, 0.0, atol=1e-6)
        losses = net.res_line.pl_mw.sum() + net.res_trafo.pl_mw.sum() + net.res_shunt.p_mw.sum()
        np.testing.assert_allclose(got.losses_kw[case], 1e3 * losses, rtol=1e-6, atol=1e-6)


@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1e-6, 0.1, 1.0, 3.0]),
    batch=st.integers(1, 70),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_power_is_balanced(flow, seed, scale, batch):
    rng = np.random.default_rng(seed)
    p_kw = scale * rng.uniform(-8.0, 8.0, (batch, flow.network.n_bus))
    q_kvar = scale * rng.uniform(-3.0, 3.0, p_kw.shape)
    got = flow.solve(p_kw, q_kvar)
    assert got.converged.all()
    throughput = np.maximum(1.0, np.abs(p_kw).sum(axis=1))
    excess = got.slack_kw - p_kw.sum(axis=1) - got.losses_kw
    assert (np.abs(excess) <= 1e-9 * throughput).all()
    assert (got.losses_kw > 0.0).all()


@given(seed=st.integers(0, 2**32 - 1), batch=st.integers(1, 3 * LANES + 1))
@settings(max_examples=40, deadline=None)
def test_a_case_has_one_result(flow, seed, batch):
    """Alone, in a block, in any order: the same bits, also beside a collapsing case."""
    rng = np.random.default_rng(seed)
    p_kw = rng.uniform(-8.0, 8.0, (batch, flow.network.n_bus))
    p_kw[rng.random(batch) < 0.1] *= 100.0
    q_kvar = p_kw * rng.uniform(-0.3, 0.3, p_kw.shape)
    got = flow.solve(p_kw, q_kvar)
    order = rng.permutation(batch)
    equal(got, flow.solve(p_kw[order], q_kvar[order]), order)
    for case in rng.integers(batch, size=3):
        equal(got, flow.solve(p_kw[case], q_kvar[case]), case)


def test_ten_thousand_cases_equal_single_ones(flow):
    rng = np.random.default_rng(1)
    p_kw = rng.uniform(-8.0, 8.0, (10_000, flow.network.n_bus))
    q_kvar = 0.3 * p_kw
    got = flow.solve(p_kw, q_kvar, angles=True)
    for case in range(0, 10_000, 7):
        alone = flow.solve(p_kw[case], q_kvar[case], angles=True)
        equal(got, alone, case)
        np.testing.assert_array_equal(got.angle_degree[case], alone.angle_degree)


def test_collapse_is_flagged_for_its_case_only(flow):
    rng = np.random.default_rng(2)
    p_kw = rng.uniform(0.0, 8.0, (40, flow.network.n_bus))
    q_kvar = 0.2 * p_kw
    before = flow.solve(p_kw, q_kvar)
    heavy = p_kw.copy()
    heavy[[3, 17]] *= 100.0
    got = flow.solve(heavy, q_kvar)
    np.testing.assert_array_equal(np.flatnonzero(~got.converged), [3, 17])
    for name in FIELDS[:6]:
        assert np.isnan(getattr(got, name)[[3, 17]]).all()
    others = np.delete(np.arange(40), [3, 17])
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(got, name)[others], getattr(before, name)[others])
    alone = flow.solve(heavy[3], q_kvar[3], angles=True)
    assert not alone.converged
    assert np.isnan(alone.v_pu).all()
    assert np.isnan(alone.slack_kw)
    assert np.isnan(alone.angle_degree).all()


@pytest.mark.parametrize("name", ["33bw", "kerber_landnetz", "cigre_lv"])
def test_solves_next_to_collapse_what_newton_solves(read_net, name):
    net = read_net(name)
    network = Network.from_pandapower(net)
    p_kw, q_kvar = network.injections(net)
    flow = RadialPowerFlow(network)
    low, high = 1.0, 64.0
    while high - low > 1e-4 * low:
        middle = 0.5 * (low + high)
        solved = flow.solve(middle * p_kw, middle * q_kvar).converged
        low, high = (middle, high) if solved else (low, middle)
    for share in (0.9, 0.99, 0.999):
        scale = share * low
        net.load["scaling"] = scale
        net.sgen["scaling"] = scale
        pandapower.runpp(net, tolerance_mva=1e-9, max_iteration=50)
        got = flow.solve(scale * p_kw, scale * q_kvar)
        v = net.res_bus.vm_pu.loc[network.bus_index]
        np.testing.assert_allclose(got.v_pu, v, rtol=0, atol=1e-7)
    # A little beyond, Newton's method finds nothing either.
    net.load["scaling"] = net.sgen["scaling"] = 1.002 * high
    with pytest.raises(pandapower.LoadflowNotConverged):
        pandapower.runpp(net, max_iteration=50)


def test_hopeless_cases_end(flow):
    n_bus = flow.network.n_bus
    p_kw = np.geomspace(1e2, 1e300, 40)[:, None] * np.ones(n_bus)
    got = flow.solve(np.concatenate([p_kw, -p_kw]), np.zeros((80, n_bus)))
    assert not got.converged[20:40].any()
    assert np.isnan(got.v_pu[~got.converged]).all()
    assert np.isfinite(got.v_pu[got.converged]).all()
    assert got.iterations[~got.converged].max() < 500  # long before they are given up
    few = RadialPowerFlow(flow.network, max_iterations=2).solve(5.0 * np.ones(n_bus), 0 * p_kw[0])
    assert not few.converged
    assert few.iterations == 2


def test_tolerance_bounds_the_error(read_net):
    net = read_net("33bw")
    network = Network.from_pandapower(net)
    p_kw, q_kvar = network.injections(net)
    scale = np.linspace(0.0, 3.5, 200)[:, None]
    exact = RadialPowerFlow(network, 1e-13).solve(scale * p_kw, scale * q_kvar)
    assert exact.converged.all()
    for tolerance in (1e-4, 1e-6, 1e-9):
        got = RadialPowerFlow(network, tolerance).solve(scale * p_kw, scale * q_kvar)
        assert np.abs(got.v_pu - exact.v_pu).max() <= 1.2 * tolerance


def test_no_power(flow):
    zero = np.zeros((3, flow.network.n_bus))
    got = flow.solve(zero, zero)
    assert got.converged.all()
    np.testing.assert_allclose(got.losses_kw, got.slack_kw, rtol=1e-12)
    assert flow.solve(zero[:0], zero[:0]).v_pu.shape == (0, flow.network.n_bus)


def test_result_can_be_used_again(flow):
    rng = np.random.default_rng(3)
    p_kw = rng.uniform(-5.0, 5.0, (50, flow.network.n_bus))
    first = flow.solve(p_kw, 0.1 * p_kw)
    v_pu = first.v_pu
    again = flow.solve(2.0 * p_kw, 0.2 * p_kw, out=first)
    assert again is first
    assert again.v_pu is v_pu
    equal(again, flow.solve(2.0 * p_kw, 0.2 * p_kw))
    single = flow.solve(p_kw[0], p_kw[0])
    assert flow.solve(p_kw[1], p_kw[1], out=single, angles=True) is single
    assert single.angle_degree is not None
    with pytest.raises(PowerFlowError, match=r"out\.v_pu has shape"):
        flow.solve(p_kw[:40], p_kw[:40], out=first)
    with pytest.raises(PowerFlowError, match=r"out\.losses_kw has shape"):
        flow.solve(p_kw, p_kw, out=PowerFlowResult(*[*arrays(first)[:3], *[np.empty(3)] * 5]))


def arrays(result):
    return [getattr(result, name) for name in FIELDS]


def test_inputs_stay_and_may_be_anything_like_an_array(flow):
    p_kw = np.full((20, flow.network.n_bus), 2.0)
    p_kw.flags.writeable = False
    q_kvar = np.asfortranarray(p_kw * 0.5)
    got = flow.solve(p_kw, q_kvar)
    equal(got, flow.solve(p_kw.tolist(), q_kvar.astype(np.float32)))
    assert (p_kw == 2.0).all()
    assert (q_kvar == 1.0).all()


@pytest.mark.parametrize("batch", [None, 1, 5, 40])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_number_is_an_error(flow, batch, bad):
    network = flow.network
    shape = network.n_bus if batch is None else (batch, network.n_bus)
    for column in (3, network.slack_column):
        for which in (0, 1):
            powers = [np.ones(shape), np.ones(shape)]
            powers[which][..., column].flat[-1:] = bad
            if batch is None:
                powers[which][column] = bad
            else:
                powers[which][-1, column] = bad
            with pytest.raises(PowerFlowError, match=str(network.bus_index[column])):
                flow.solve(*powers)


def test_shapes_are_checked(flow):
    n_bus = flow.network.n_bus
    for p, q in (
        (np.ones(n_bus - 1), np.ones(n_bus - 1)),
        (np.ones((2, n_bus)), np.ones(n_bus)),
        (np.ones((2, 2, n_bus)), np.ones((2, 2, n_bus))),
        (1.0, 1.0),
    ):
        with pytest.raises(PowerFlowError, match="expected"):
            flow.solve(p, q)
    with pytest.raises(PowerFlowError, match="no array of numbers"):
        flow.solve(["a"] * n_bus, np.ones(n_bus))


@pytest.mark.parametrize("bad", [{"tolerance_pu": 0.0}, {"tolerance_pu": np.nan},
                                 {"max_iterations": 0}])  # fmt: skip
def test_settings_are_checked(semiurb4, bad):
    with pytest.raises(PowerFlowError, match="expected"):
        RadialPowerFlow(semiurb4, **bad)
