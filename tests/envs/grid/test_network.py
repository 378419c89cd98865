"""Networks are read as pandapower means them, and what is no tree is refused by name."""

import dataclasses

import numpy as np
import pandapower as pp
import pytest

from flexgym.envs.errors import NetworkError
from flexgym.envs.grid import Network, RadialPowerFlow

CABLE = {"length_km": 0.3, "r_ohm_per_km": 0.2, "x_ohm_per_km": 0.08, "c_nf_per_km": 800.0,
         "max_i_ka": 0.27}  # fmt: skip
TRAFO = {"sn_mva": 0.4, "vn_hv_kv": 20.5, "vn_lv_kv": 0.41, "vk_percent": 6.0, "vkr_percent": 1.4,
         "pfe_kw": 3.5, "i0_percent": 2.0, "shift_degree": 150.0, "tap_side": "hv",
         "tap_neutral": 0, "tap_min": -2, "tap_max": 2, "tap_step_percent": 2.5, "tap_pos": 1,
         "tap_changer_type": "Ratio"}  # fmt: skip


def feeder(**grid):
    """A 20 kV bus (index 7), a transformer, and buses 10 to 13 in a row with loads."""
    net = pp.create_empty_network(sn_mva=0.7)
    pp.create_bus(net, 20.0, index=7)
    for index in (12, 10, 11, 13):
        pp.create_bus(net, 0.4, index=index, name=f"house {index}")
    pp.create_ext_grid(net, 7, **{"vm_pu": 1.02, "va_degree": 12.0, **grid})
    pp.create_transformer_from_parameters(net, 7, 10, **TRAFO)
    for start, end in ((10, 11), (12, 11), (12, 13)):
        pp.create_line_from_parameters(net, start, end, **CABLE)
    for bus, p, q in ((11, 0.05, 0.01), (12, 0.04, -0.01), (13, -0.03, 0.002)):
        pp.create_load(net, bus, p, q)
    return net


def tap_at_low_side(net):
    net.trafo["tap_side"], net.trafo["tap_pos"] = "lv", -2


def ideal_phase_shifter(net):
    net.trafo["tap_changer_type"], net.trafo["tap_step_degree"] = "Ideal", 3.0
    net.trafo["tap_step_percent"] = np.nan


def lossy_iron(net):
    net.trafo["pfe_kw"], net.trafo["i0_percent"] = 30.0, 15.0


def lossy_insulation(net):
    net.line["g_us_per_km"], net.line["c_nf_per_km"] = 5e4, 1e6


def shunts(net):
    pp.create_shunt(net, 12, q_mvar=0.05, p_mw=0.02)
    pp.create_shunt(net, 7, q_mvar=-0.1, p_mw=0.03, step=2)
    pp.create_shunt(net, 13, q_mvar=9.0, in_service=False)


def fused_buses(net):
    for bus, other in ((14, 11), (15, 7), (16, 14)):
        pp.create_bus(net, net.bus.vn_kv[other], index=bus)
        pp.create_switch(net, bus, other, et="b")
    pp.create_load(net, 14, 0.02, 0.004)
    pp.create_load(net, 16, 0.01, 0.0)
    pp.create_load(net, 15, 0.5, 0.1)


def grid_behind_a_switch(net):
    pp.create_bus(net, 20.0, index=3)
    pp.create_switch(net, 3, 7, et="b")
    net.ext_grid["bus"] = 3


def switch_with_impedance(net):
    pp.create_bus(net, 0.4, index=14)
    pp.create_switch(net, 13, 14, et="b", z_ohm=0.05)
    pp.create_load(net, 14, 0.02, 0.01)


def dangling_lines(net):
    """Open at either end, at a bus out of service, and at both ends (without voltage)."""
    pp.create_bus(net, 0.4, index=14, in_service=False)
    for start, end, open_at in (
        (10, 11, (11,)), (10, 13, (10,)), (13, 14, ()), (13, 10, (13, 10))
    ):  # fmt: skip
        line = pp.create_line_from_parameters(net, start, end, **{**CABLE, "c_nf_per_km": 1e6})
        for bus in open_at:
            pp.create_switch(net, bus, line, et="l", closed=False)


def idle_transformer(net):
    pp.create_bus(net, 0.4, index=14)
    trafo = pp.create_transformer_from_parameters(net, 7, 14, **TRAFO)
    pp.create_switch(net, 14, trafo, et="t", closed=False)
    net.bus.loc[14, "in_service"] = False


def parallel_systems(net):
    net.line["parallel"] = [2, 1, 3]
    net.trafo["parallel"] = 2
    net.line["df"], net.trafo["df"] = 0.8, 0.9


def parallel_lines(net):
    pp.create_line_from_parameters(net, 11, 10, **{**CABLE, "r_ohm_per_km": 0.6, "max_i_ka": 0.1})
    pp.create_line_from_parameters(net, 10, 11, **{**CABLE, "x_ohm_per_km": 0.3})


def parallel_transformers(net):
    pp.create_transformer_from_parameters(
        net, 7, 10, **{**TRAFO, "sn_mva": 0.16, "vk_percent": 4.0, "pfe_kw": 0.5}
    )


def two_levels(net):
    pp.create_bus(net, 110.0, index=1)
    pp.create_transformer_from_parameters(
        net, 1, 7, **{**TRAFO, "sn_mva": 25.0, "vn_hv_kv": 110.0, "vn_lv_kv": 21.0,
                      "shift_degree": 30.0, "vk_percent": 11.0, "pfe_kw": 20.0}
    )  # fmt: skip
    net.ext_grid["bus"] = 1


def fed_from_below(net):
    net.ext_grid["bus"] = 13
    pp.create_load(net, 7, 0.02, 0.01)


def impedance_element(net):
    pp.create_bus(net, 0.4, index=14)
    pp.create_impedance(net, 13, 14, rft_pu=0.02, xft_pu=0.03, sn_mva=0.5)
    pp.create_load(net, 14, 0.03, 0.01)


def out_of_service(net):
    pp.create_bus(net, 0.4, index=14, in_service=False)
    pp.create_load(net, 14, 9.0, 9.0)
    pp.create_load(net, 12, 9.0, 9.0, in_service=False)
    pp.create_line_from_parameters(net, 10, 13, in_service=False, **CABLE)
    pp.create_gen(net, 13, 1.0, vm_pu=1.1, in_service=False)
    pp.create_ext_grid(net, 13, in_service=False)


def other_sources(net):
    pp.create_sgen(net, 12, 0.08, 0.01, scaling=0.7)
    pp.create_storage(net, 13, 0.02, max_e_mwh=1.0, q_mvar=0.003, scaling=0.5)
    pp.create_load(net, 13, 0.02, 0.01, scaling=1.3)


CHANGES = (
    tap_at_low_side, ideal_phase_shifter, lossy_iron, lossy_insulation, shunts, fused_buses,
    grid_behind_a_switch, switch_with_impedance, dangling_lines, idle_transformer,
    parallel_systems, parallel_lines, parallel_transformers, two_levels, fed_from_below,
    impedance_element, out_of_service, other_sources,
)  # fmt: skip


@pytest.mark.parametrize("change", [lambda net: None, *CHANGES], ids=lambda f: f.__name__)
def test_means_what_pandapower_means(change):
    net = feeder()
    change(net)
    before = pp.to_json(net)
    network = Network.from_pandapower(net)
    assert pp.to_json(net) == before
    pp.runpp(net, tolerance_mva=1e-11, max_iteration=30)
    p_kw, q_kvar = network.injections(net)
    got = RadialPowerFlow(network, 1e-12).solve(p_kw, q_kvar, angles=True)
    served = net.bus.index[net.bus.in_service]
    np.testing.assert_array_equal(network.bus_index, served)
    np.testing.assert_allclose(got.v_pu, net.res_bus.vm_pu[served], rtol=0, atol=1e-10)
    turned = got.angle_degree - net.res_bus.va_degree[served].to_numpy()
    np.testing.assert_allclose((turned + 180.0) % 360.0 - 180.0, 0.0, atol=1e-8)
    line = net.res_line.loading_percent[network.line_index]
    np.testing.assert_allclose(got.line_loading_percent, line, rtol=0, atol=1e-7)
    # What has no column carries nothing.
    others = net.res_line.drop(network.line_index)
    assert (others.loading_percent.fillna(0.0) == 0.0).all()
    trafo = net.res_trafo.loading_percent[network.trafo_index]
    np.testing.assert_allclose(got.trafo_loading_percent, trafo, rtol=0, atol=1e-7)
    parts = (net.res_line.pl_mw, net.res_trafo.pl_mw, net.res_shunt.p_mw, net.res_impedance.pl_mw)
    losses = 1e3 * sum(part.sum() for part in parts)
    if change is not switch_with_impedance:  # pandapower reports no losses of switches
        np.testing.assert_allclose(got.losses_kw, losses, rtol=0, atol=1e-7)
    grid = 1e3 * net.res_ext_grid.sum()
    np.testing.assert_allclose([got.slack_kw, got.slack_kvar], grid, rtol=0, atol=1e-7)


def test_tree_has_its_order_and_no_ratios(named_net):
    network = Network.from_pandapower(named_net[1])
    parent = network.tree.parent
    assert (parent[1:] < np.arange(1, len(parent))).all()
    assert (np.diff(parent) >= 0).all()  # breadth first
    assert network.bus_node[network.slack_column] == 0
    assert len(set(network.bus_node)) <= len(parent)
    assert len(network.bus_name) == network.n_bus == len(network.vn_kv)
    for array in (*network.tree, network.bus_index, network.line_limit_ka):
        assert not array.flags.writeable


def test_coordinates_and_names(read_net):
    network = Network.from_pandapower(read_net("semiurb4"))
    assert network.geo.shape == (44, 2)
    assert abs(network.geo - network.geo.mean(axis=0)).max() < 0.1
    assert network.bus_name[0] == "LV4.101 Bus 1"
    assert Network.from_pandapower(read_net("rural1")).geo is None


def test_slack_can_be_changed():
    net = feeder()
    network = Network.from_pandapower(net, slack_pu=0.97)
    assert network.slack_pu == 0.97
    other = dataclasses.replace(network.with_slack(0.97), slack_degree=0.0)
    net.ext_grid["vm_pu"] = 0.97
    pp.runpp(net, tolerance_mva=1e-11)
    got = RadialPowerFlow(other, 1e-12).solve(*network.injections(net))
    np.testing.assert_allclose(got.v_pu, net.res_bus.vm_pu, rtol=0, atol=1e-10)
    for bad in (0.0, -1.0, 3.0, np.nan, "1.0"):
        with pytest.raises(NetworkError, match="slack_pu"):
            network.with_slack(bad)


def test_rating_changes_the_limit_only():
    net = feeder()
    network = Network.from_pandapower(net)
    powers = network.injections(net)
    first = RadialPowerFlow(network).solve(*powers)
    second = RadialPowerFlow(network.with_transformer_rating(250.0)).solve(*powers)
    np.testing.assert_array_equal(first.v_pu, second.v_pu)
    np.testing.assert_array_equal(first.line_loading_percent, second.line_loading_percent)
    np.testing.assert_allclose(
        second.trafo_loading_percent, first.trafo_loading_percent * 400 / 250, rtol=1e-14
    )
    assert network.trafo_rating_kva == 400.0
    for bad in (0.0, -5.0, np.nan, [100.0, 100.0], "big"):
        with pytest.raises(NetworkError, match="kva"):
            network.with_transformer_rating(bad)


def test_columns_of_buses():
    network = Network.from_pandapower(feeder())
    np.testing.assert_array_equal(network.bus_index, [7, 12, 10, 11, 13])
    np.testing.assert_array_equal(network.columns([13, 7]), [4, 0])
    with pytest.raises(NetworkError, match="99"):
        network.columns([99])


def without_impedance(net):
    net.line.loc[1, "length_km"] = 0.0


def without_value(net):
    net.line.loc[2, "r_ohm_per_km"] = np.nan


def without_limit(net):
    net.line.loc[0, "max_i_ka"] = 0.0


def with_negative_limit(net):
    net.line.loc[0, "max_i_ka"] = -0.2


def with_unknown_limit(net):
    net.line.loc[2, "max_i_ka"] = np.nan


def with_two_grids(net):
    pp.create_ext_grid(net, 13)


def with_grid_out_of_service(net):
    net.bus.loc[7, "in_service"] = False


def three_windings(net):
    pp.create_bus(net, 10.0, index=20)
    pp.create_transformer3w_from_parameters(
        net, 7, 20, 13, vn_hv_kv=20.0, vn_mv_kv=10.0, vn_lv_kv=0.4, sn_hv_mva=1.0, sn_mv_mva=1.0,
        sn_lv_mva=1.0, vk_hv_percent=6.0, vk_mv_percent=6.0, vk_lv_percent=6.0,
        vkr_hv_percent=1.0, vkr_mv_percent=1.0, vkr_lv_percent=1.0, pfe_kw=1.0, i0_percent=0.1,
    )  # fmt: skip


def island(net):
    pp.create_switch(net, 12, 2, et="l", closed=False)


def one_way_impedance(net):
    pp.create_bus(net, 0.4, index=14)
    pp.create_impedance(net, 13, 14, rft_pu=0.02, xft_pu=0.03, sn_mva=0.5, rtf_pu=0.05)


def closed_switch_over_a_line(net):
    pp.create_switch(net, 12, 11, et="b")


def unequal_taps(net):
    pp.create_transformer_from_parameters(net, 7, 10, **{**TRAFO, "tap_pos": 0})


ERRORS = (
    (lambda net: pp.create_line_from_parameters(net, 10, 13, **CABLE),
     r"meshed: line \d, line \d, line \d, line \d form a loop"),
    (closed_switch_over_a_line, "line 1 begins and ends at one bus"),
    (unequal_taps, "trafo 0, trafo 1 are parallel but have different ratios"),
    (island, "from bus 13 to the external grid"),
    (without_impedance, "line 1 has no impedance"),
    (one_way_impedance, "impedance 0 has an impedance that depends"),
    (without_value, "r_ohm_per_km of line 2 is nan"),
    (without_limit, "max_i_ka of line 0 is 0.0"),
    (with_negative_limit, "max_i_ka of line 0 is -0.2"),
    (with_unknown_limit, "max_i_ka of line 2 is nan"),
    (lambda net: net.trafo.__setitem__("sn_mva", -0.4), "sn_mva of trafo 0 is -0.4"),
    (lambda net: net.ext_grid.__setitem__("in_service", False), "0 external grids"),
    (with_two_grids, "2 external grids"),
    (with_grid_out_of_service, "external grid's bus 7"),
    (lambda net: pp.create_gen(net, 13, 0.01), "voltage-controlled generators"),
    (three_windings, "three-winding transformers"),
    (lambda net: pp.create_dcline(net, 7, 10, 0.1, 1.0, 0.0, 1.0, 1.0), "direct-current lines"),
    (lambda net: pp.create_ward(net, 13, 0.0, 0.0, 0.1, 0.0), "ward equivalents"),
    (lambda net: pp.create_xward(net, 13, 0.0, 0.0, 0.1, 0.0, 0.1, 0.1, 1.0), "extended ward"),
)  # fmt: skip


@pytest.mark.parametrize(("change", "message"), ERRORS, ids=[text[:25] for _, text in ERRORS])
def test_what_is_no_radial_network_is_refused(change, message):
    net = feeder()
    change(net)
    with pytest.raises(NetworkError, match=message) as caught:
        Network.from_pandapower(net)
    assert "expected" in str(caught.value)


def test_meshed_nets_of_pandapower_are_refused(read_net):
    net = read_net("33bw")
    net.line["in_service"] = True
    with pytest.raises(NetworkError, match="meshed: line"):
        Network.from_pandapower(net)


def constant_current(net):
    pp.create_load(net, 13, 0.01, const_i_p_percent=50.0)


def constant_impedance(net):
    pp.create_load(net, 13, 0.01, const_z_q_percent=50.0)


def motor(net):
    pp.create_motor(net, 13, 0.01, 0.9)


def unknown_power(net):
    pp.create_load(net, 13, np.nan)


def unknown_bus(net):
    pp.create_bus(net, 0.4, index=30)
    pp.create_load(net, 30, 0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (constant_current, "load 3"),
        (constant_impedance, "load 3"),
        (motor, "motor"),
        (unknown_power, "p_mw of load 3 is nan"),
        (unknown_bus, r"buses \[30\]"),
    ],
)
def test_powers_that_are_not_constant_are_refused(change, message):
    net = feeder()
    network = Network.from_pandapower(net)
    change(net)
    with pytest.raises(NetworkError, match=message):
        network.injections(net)
