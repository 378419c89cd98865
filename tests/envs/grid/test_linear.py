"""The linear model: exact where it is corrected, as good as it should be elsewhere."""

import numpy as np
import pytest

from flexgym.envs.errors import PowerFlowError
from flexgym.envs.grid import LinDistFlow, Network, RadialPowerFlow


@pytest.fixture(scope="module", params=["33bw", "semiurb4", "cigre_lv", "rural2"])
def case(request, read_net):
    net = read_net(request.param)
    network = Network.from_pandapower(net)
    p_kw, q_kvar = network.injections(net)
    if request.param == "semiurb4":
        rng = np.random.default_rng(0)
        p_kw = rng.uniform(-3.0, 12.0, network.n_bus)
        q_kvar = 0.2 * p_kw
    return request.param, network, p_kw, q_kvar


def loading(result):
    return np.concatenate([result.line_loading_percent, result.trafo_loading_percent], axis=-1)


def test_corrected_model_is_exact_at_its_point(case):
    _, network, p_kw, q_kvar = case
    model = LinDistFlow(network).corrected(p_kw, q_kvar)
    exact = RadialPowerFlow(network, 1e-12).solve(p_kw, q_kvar)
    v_pu = np.sqrt(model.squared_voltage(p_kw, q_kvar))
    np.testing.assert_allclose(v_pu, exact.v_pu, rtol=0, atol=1e-11)
    assert model.losses(p_kw, q_kvar) == pytest.approx(exact.losses_kw, rel=1e-9, abs=1e-9)
    flow_kw, _ = model.flows(p_kw, q_kvar)
    rows = np.concatenate([network.line_element, network.trafo_element])
    from_slack = network.tree.parent[network.tree.element_node[rows]] == 0
    at_slack = p_kw[network.slack_column] + flow_kw[from_slack].sum()
    assert at_slack == pytest.approx(exact.slack_kw, rel=1e-9)
    set_caps = ~np.isnan(model.cap_kw)
    np.testing.assert_allclose(
        100 * np.abs(flow_kw[set_caps]) / model.cap_kw[set_caps],
        loading(exact)[set_caps],
        rtol=1e-9,
    )
    assert (loading(exact)[set_caps] > 50.0).all()
    np.testing.assert_array_equal(model.caps_kw(q_kvar)[set_caps], model.cap_kw[set_caps])


def test_apparent_power_and_losses_of_branches(case):
    """Caps of apparent power are exact at the point; squares of the flows give the losses."""
    _, network, p_kw, q_kvar = case
    plain = LinDistFlow(network)
    model = plain.corrected(p_kw, q_kvar)
    exact = RadialPowerFlow(network, 1e-12).solve(p_kw, q_kvar)
    heavy = loading(exact) > 50.0
    apparent = np.hypot(*model.flows(p_kw, q_kvar))
    np.testing.assert_allclose(
        100.0 * apparent[heavy] / model.cap_kva[heavy], loading(exact)[heavy], rtol=1e-9
    )
    np.testing.assert_array_equal(model.cap_kva[~heavy], plain.rating_kva[~heavy])
    none = np.zeros(network.n_bus)
    idle = RadialPowerFlow(network, 1e-12).solve(none, none).losses_kw
    shunts = model.loss_kw_per_kva2 @ np.hypot(*plain.flows(none, none)) ** 2
    losses = model.loss_kw_per_kva2 @ np.hypot(*model.flows(p_kw, q_kvar)) ** 2 - shunts
    assert losses == pytest.approx(float(exact.losses_kw - idle), rel=0.15)


def test_loss_factors_are_the_derivatives_of_the_losses(case):
    _, network, p_kw, q_kvar = case
    model = LinDistFlow(network).corrected(p_kw, q_kvar)
    flow = RadialPowerFlow(network, 1e-13)
    step = 0.01 * np.abs(p_kw).max()
    shift = step * np.eye(network.n_bus)
    zero = 0.0 * shift
    for factor, dp, dq in (
        (model.loss_factor, shift, zero),
        (model.loss_factor_q, zero, shift),
    ):
        up = flow.solve(p_kw + dp, q_kvar + dq).losses_kw
        down = flow.solve(p_kw - dp, q_kvar - dq).losses_kw
        # The third derivative leaves about the square of the step.
        np.testing.assert_allclose(factor, (up - down) / (2 * step), rtol=2e-4, atol=2e-6)


def test_plain_model_errs_as_expected(case):
    name, network, p_kw, q_kvar = case
    model = LinDistFlow(network)
    exact = RadialPowerFlow(network).solve(p_kw, q_kvar)
    error = np.abs(np.sqrt(model.squared_voltage(p_kw, q_kvar)) - exact.v_pu).max()
    assert error < {"33bw": 2.9e-3, "semiurb4": 1e-3, "cigre_lv": 6e-3, "rural2": 6e-4}[name]
    assert model.losses(p_kw, q_kvar) == 0.0
    apparent = np.hypot(*model.flows(p_kw, q_kvar))
    heavy = loading(exact) > 0.2 * loading(exact).max()
    linear = 100 * apparent / model.rating_kva
    assert np.abs(linear / loading(exact) - 1)[heavy].max() < 0.15
    kvar = model.flows(p_kw, q_kvar)[1]
    np.testing.assert_allclose(np.hypot(model.caps_kw(q_kvar), kvar), model.rating_kva)


def test_corrected_model_is_tangent_in_the_losses_and_close_nearby(case):
    """Away from its point the error is a fraction of the plain model's."""
    _, network, p_kw, q_kvar = case
    plain = LinDistFlow(network)
    corrected = plain.corrected(p_kw, q_kvar)
    rng = np.random.default_rng(5)
    p = p_kw * rng.uniform(0.9, 1.1, (50, network.n_bus))
    q = q_kvar * rng.uniform(0.9, 1.1, (50, network.n_bus))
    exact = RadialPowerFlow(network).solve(p, q)
    far, near = (
        np.abs(np.sqrt(model.squared_voltage(p, q)) - exact.v_pu).max()
        for model in (plain, corrected)
    )
    assert near < 0.35 * far
    assert np.abs(corrected.losses(p, q) / exact.losses_kw - 1).max() < 0.01


def test_correcting_leaves_the_plain_model_alone(case):
    _, network, p_kw, q_kvar = case
    model = LinDistFlow(network)
    before = [np.copy(value) for value in (model.w_pu, model.flow_kw, model.loss_factor)]
    again = model.corrected(p_kw, q_kvar).corrected(0.5 * p_kw, 0.5 * q_kvar)
    for old, new in zip(before, (model.w_pu, model.flow_kw, model.loss_factor), strict=True):
        np.testing.assert_array_equal(old, new)
    # A correction does not build upon another one.
    once = model.corrected(0.5 * p_kw, 0.5 * q_kvar)
    np.testing.assert_allclose(again.w_pu, once.w_pu, rtol=1e-12)
    np.testing.assert_allclose(again.flow_kw, once.flow_kw, rtol=1e-9, atol=1e-9)


def test_error_of_the_plain_model_is_the_known_one(read_net):
    """43 houses of up to 6 kW either way: about 1.2e-4 pu."""
    network = Network.from_pandapower(read_net("semiurb4"))
    p_kw = np.random.default_rng(1).uniform(-6.0, 6.0, (500, network.n_bus))
    v_pu = np.sqrt(LinDistFlow(network).squared_voltage(p_kw, 0.0 * p_kw))
    exact = RadialPowerFlow(network).solve(p_kw, 0.0 * p_kw)
    assert np.abs(v_pu - exact.v_pu).max() < 2e-4


def test_slack_and_shunts_enter_the_constants(read_net):
    network = Network.from_pandapower(read_net("semiurb4")).with_slack(1.03)
    zero = np.zeros(network.n_bus)
    exact = RadialPowerFlow(network).solve(zero, zero)
    model = LinDistFlow(network)
    np.testing.assert_allclose(np.sqrt(model.w_pu), exact.v_pu, rtol=0, atol=2e-7)
    assert model.flow_kw[-1] == pytest.approx(exact.slack_kw, rel=0.01)


def test_points_are_checked(read_net):
    network = Network.from_pandapower(read_net("kerber_landnetz"))
    model = LinDistFlow(network)
    one = np.ones(network.n_bus)
    with pytest.raises(PowerFlowError, match="one operating point"):
        model.corrected(np.ones((2, network.n_bus)), np.ones((2, network.n_bus)))
    with pytest.raises(PowerFlowError, match="has no solution"):
        model.corrected(1e4 * one, one)
    with pytest.raises(PowerFlowError, match="is nan at bus"):
        model.corrected(np.nan * one, one)
