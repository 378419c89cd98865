"""Pictures of the feeder: any radial network, any values, nothing on top of each other."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandapower
import pandapower.networks
import pytest

from flexgym.envs.data import load_grid
from flexgym.envs.errors import ScenarioError
from flexgym.envs.feeder import render
from flexgym.envs.feeder.layout import distance_ohm, map_places, tree_layout
from flexgym.envs.feeder.panels import (
    OVERLOAD,
    branch_loading,
    draw_map,
    draw_profile,
    loading_style,
    voltage_colours,
    voltage_range,
)
from flexgym.envs.feeder.render import FeederPicture, animate_day, render_feeder
from flexgym.envs.grid import Network

BAND = (0.95, 1.05)
SHAPE = (500, 1000, 3)
NETS = Path(__file__).parent.parent / "grid" / "nets"
NAMES = ("semiurb4", "rural3", "kerber", "33bw", "cigre", "open ends", "random")


def read(name):
    if name == "rural3":
        return pandapower.from_json(str(NETS / "rural3.json"))
    made = {
        "kerber": pandapower.networks.create_kerber_landnetz_freileitung_1,
        "33bw": pandapower.networks.case33bw,
        "cigre": pandapower.networks.create_cigre_network_lv,
    }
    return made.get(name, load_grid)()


def opened():
    """The benchmark grid where the last bus of three branches is cut off."""
    net, whole = load_grid(), Network.from_pandapower(load_grid())
    ends = np.setdiff1d(np.arange(1, len(whole.tree.parent)), whole.tree.parent)[:3]
    for bus in whole.bus_index[np.isin(whole.bus_node, ends)]:
        line = net.line.index[(net.line.from_bus == bus) | (net.line.to_bus == bus)][0]
        pandapower.create_switch(net, bus, line, et="l", closed=False)
        net.bus.loc[bus, "in_service"] = False
    return net


def random_network(nodes=500):
    """A benchmark network grown to many buses, without coordinates."""
    rng, small = np.random.default_rng(0), Network.from_pandapower(load_grid())
    parent = np.array([0, 0, *(int(rng.integers(max(1, k - 12), k)) for k in range(2, nodes))])
    branch = np.full((nodes, 5), 1e-5)
    lines = np.arange(2, nodes)
    tree = small.tree._replace(
        parent=parent, branch=branch, element_node=np.arange(1, nodes),
        element=np.zeros((nodes - 1, 8)),
    )  # fmt: skip
    return replace(
        small, tree=tree, geo=None, bus_index=np.arange(nodes), bus_node=np.arange(nodes),
        bus_name=("",) * nodes, vn_kv=np.full(nodes, 0.4), line_index=lines - 2,
        line_element=lines - 1, line_limit_ka=np.ones(nodes - 2), trafo_element=np.array([0]),
    )  # fmt: skip


@pytest.fixture(scope="module")
def networks():
    made = {name: Network.from_pandapower(read(name)) for name in NAMES[:5]}
    made["open ends"] = Network.from_pandapower(opened())
    made["random"] = random_network()
    return made


@pytest.fixture(scope="module")
def network(networks):
    return networks["semiurb4"]


def values(network, level=1.0, spread=0.08, load=60.0):
    """Voltages that change along the feeder, and loadings that fall."""
    distance = distance_ohm(network)[network.bus_node]
    share = distance / distance.max()
    line = np.linspace(load, 1.0, len(network.line_index))
    return level + spread * share, line, np.full(len(network.trafo_index), load)


def texts(figure):
    """Texts that are seen and where they are, pixels."""
    from matplotlib.text import Text

    found = [(text.get_text(), text.get_window_extent()) for text in figure.texts]
    for axes in figure.axes:
        parts = [axes._left_title, axes.xaxis.label, *axes.texts]
        legends = [axes.get_legend(), *(a for a in axes.artists if hasattr(a, "get_texts"))]
        for legend in filter(None, legends):
            parts += legend.get_texts()
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            ticks = [t for t in axis.get_major_ticks() if limits[0] <= t.get_loc() <= limits[1]]
            parts += [tick.label1 for tick in ticks]
        # Of an annotation only the text, not the line that leads away from it.
        found += [(p.get_text(), Text.get_window_extent(p)) for p in parts if p.get_visible()]
    return [(text, box) for text, box in found if text]


def crowded(figure):
    """Texts that overlap each other or leave the figure."""
    found = texts(figure)
    pairs = [
        (one, other)
        for k, (one, a) in enumerate(found)
        for other, b in found[k + 1 :]
        if a.overlaps(b)
    ]
    whole = figure.bbox
    return pairs + [
        text for text, b in found
        if b.x0 < 0.0 or b.y0 < 0.0 or b.x1 > whole.x1 or b.y1 > whole.y1
    ]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_network_and_any_state(networks, name):
    network = networks[name]
    picture = FeederPicture(network, BAND)
    none = [np.full_like(v, np.nan) for v in values(network)]
    partly = [v.copy() for v in values(network, load=150.0)]
    partly[0][1::2] = np.nan
    states = [
        values(network, spread=0.0, load=10.0),
        values(network, spread=-0.12, load=140.0),
        values(network, 1.03, 0.09, 230.0),
        none,
        partly,
    ]
    frames = []
    for period, state in enumerate(states):
        frames.append(picture.frame(*state, period))
        assert frames[-1].shape == SHAPE
        assert frames[-1].dtype == np.uint8
        assert crowded(picture.figure) == [], period
    assert all((a != b).any() for a, b in pairwise(frames))
    # What was drawn before does not matter.
    np.testing.assert_array_equal(picture.frame(*states[0], 0), frames[0])
    np.testing.assert_array_equal(FeederPicture(network, BAND).frame(*states[3], 3), frames[3])


def has_colour(picture, colour):
    return bool((picture == [int(colour[k : k + 2], 16) for k in (1, 3, 5)]).all(axis=2).any())


def test_overloads_have_their_colour(network):
    calm, at_limit = values(network), values(network, load=100.0)
    key = slice(0, 395), slice(0, 480)  # the map without what explains it
    for state in (calm, at_limit):
        picture = render_feeder(network, *state, band_pu=BAND, period=5)
        assert not has_colour(picture[key], OVERLOAD)
    line = calm[1].copy()
    line[7] = 101.0
    picture = render_feeder(network, calm[0], line, calm[2], band_pu=BAND, period=5)
    assert has_colour(picture[key], OVERLOAD)
    picture = render_feeder(network, *calm[:2], np.array([101.0]), band_pu=BAND, period=5)
    assert has_colour(picture[key], OVERLOAD)


def test_the_headline_tells_period_and_violations(network):
    picture = FeederPicture(network, BAND)
    v, line, trafo = values(network, spread=0.0)

    def headline(period, *state):
        picture.frame(*state, period)
        return [text.get_text() for text in picture.figure.texts]

    assert headline(0, v, line, trafo)[0] == "06:00, start of the day"
    assert headline(49, v, line, trafo) == [
        "18:00 to 18:15", "1.000 to 1.000 pu, all within limits"
    ]  # fmt: skip
    v[3], v[8], line[:2], trafo[0] = 0.9499, 1.05, 100.01, 130.0
    assert headline(96, v, line, trafo) == [
        "05:45 to 06:00",
        "0.950 to 1.050 pu, 1 bus outside the band, 2 lines and 1 transformer overloaded",
    ]
    v[:2] = np.nan
    assert headline(1, v, line, trafo)[1].endswith("2 buses without solution")
    assert headline(1, v * np.nan, line, trafo)[1] == "the power flow has no solution"
    labels = [text.get_text() for text in picture.figure.axes[0].texts]
    assert labels == ["100.0 %", "transformer\n130 %"]


def test_panels_on_axes_of_ones_own(networks):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    network = networks["open ends"]
    figure = Figure(figsize=(8.0, 4.0))
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    state = values(network)
    draw_map(left, network, *state, band_pu=BAND)
    profile = draw_profile(right, network, *state, band_pu=BAND)
    canvas.draw()
    before = np.asarray(canvas.buffer_rgba()).copy()
    # A polyline for each branch between buses, at their voltages; open ends have none.
    lines = next(c for c in right.collections if c.get_zorder() == 2.1)
    assert len(lines.get_paths()) == network.n_bus - 1 < len(network.tree.parent) - 1
    drawn = np.array([path.vertices for path in lines.get_paths()])
    np.testing.assert_allclose(drawn[..., 1].max(), state[0].max())
    np.testing.assert_allclose(drawn[..., 0].max(), 1e3 * distance_ohm(network).max(), rtol=0.3)
    profile.update(*values(network, spread=-0.03))
    canvas.draw()
    assert (before != np.asarray(canvas.buffer_rgba())).any()


def test_colours_of_voltages_and_loadings():
    shades, norm = voltage_colours(BAND)
    colours = shades(norm(np.array([0.8, 0.9499, 0.9501, 1.0, 1.0499, 1.0501, 1.3])))[:, :3]
    assert (colours[3] > 0.95).all()
    np.testing.assert_array_equal(colours[:1], colours[1:2])
    np.testing.assert_array_equal(colours[-1:], colours[-2:-1])
    for inside, outside in ((2, 1), (4, 5)):
        assert np.abs(colours[inside] - colours[outside]).max() > 0.25
    assert colours[2, 2] > colours[2, 0]  # blue
    assert colours[4, 0] > colours[4, 2]  # orange
    colour, width = loading_style(np.array([0.0, 50.0, 100.0, 100.001, np.nan]))
    assert (np.diff(colour[:3, 0]) < 0.0).all()
    assert (np.diff(width[:4]) > 0.0).all()
    assert width[3] > 1.3 * width[2]
    assert voltage_range(np.array([0.99, 1.0]), BAND) == pytest.approx((0.925, 1.075))
    assert voltage_range(np.array([0.881, np.nan]), BAND) == pytest.approx((0.87, 1.075))
    assert voltage_range(np.array([np.nan]), (0.9, 1.1)) == pytest.approx((0.85, 1.15))


def test_parallel_lines_show_the_higher_loading(network):
    line = np.arange(len(network.line_index), dtype=float)
    loading = branch_loading(network, line, np.array([77.0]))
    assert np.isnan(loading[0])
    assert loading[network.tree.element_node[network.trafo_element[0]]] == 77.0
    node = network.tree.element_node.copy()
    node[network.line_element[5]] = node[network.line_element[9]]
    twin = replace(network, tree=network.tree._replace(element_node=node))
    loading = branch_loading(twin, line, np.array([77.0]))
    assert loading[node[network.line_element[9]]] == 9.0
    assert 5.0 not in loading


@pytest.mark.parametrize("seed", range(20))
def test_tree_layout_puts_every_node_somewhere_else(seed):
    rng = np.random.default_rng(seed)
    nodes, back = int(rng.integers(1, 300)), int(rng.integers(1, 40))
    parent = np.array([0, *(int(rng.integers(max(0, k - back), k)) for k in range(1, nodes))])
    place = tree_layout(parent)
    assert place.shape == (nodes, 2)
    np.testing.assert_array_equal(place[1:, 0], place[parent[1:], 0] + 1.0)
    for depth in np.unique(place[:, 0]):
        rows = np.sort(place[place[:, 0] == depth, 1])
        assert (np.diff(rows) >= 1.0).all()


@pytest.mark.parametrize("name", NAMES)
def test_nodes_lie_inside_the_panel_and_transformers_have_room(networks, name):
    network = networks[name]
    for width, height in ((288.0, 234.0), (150.0, 400.0)):
        place = map_places(network, width, height)
        assert np.isfinite(place).all()
        assert (place >= -1e-9).all()
        assert (place <= np.array([width, height]) + 1e-9).all()
        if name not in ("33bw", "cigre"):
            k = network.tree.element_node[network.trafo_element[0]]
            assert np.hypot(*(place[k] - place[0])) > 0.1 * min(width, height)


def frames_of(path):
    from PIL import Image

    with Image.open(path) as film:
        for k in range(film.n_frames):
            film.seek(k)
            yield np.asarray(film.convert("RGB")).copy()


def day(network, periods):
    rows = [values(network, 1.0, 0.09 * np.sin(0.1 * t), 60 + t) for t in range(periods)]
    return tuple(np.array(part) for part in zip(*rows, strict=True))


def test_a_film_has_a_frame_for_each_period(tmp_path, network):
    from PIL import Image

    state, meter = day(network, 24), 100.0 * np.sin(0.1 * np.arange(24))
    path = tmp_path / "new folder" / "day.gif"
    animate_day(network, *state, path, band_pu=BAND, meter_kw=meter)
    assert 50_000 < path.stat().st_size < 1_500_000
    with Image.open(path) as film:
        assert (film.n_frames, film.size) == (24, (1000, 650))
        assert film.info["duration"] == 120  # of a hundredth of a second, 8 a second
        film.seek(20)
        shown = np.asarray(film.convert("RGB")).astype(int)
    picture = FeederPicture(network, BAND, meter_kw=meter, v_range=voltage_range(state[0], BAND))
    exact = picture.frame(*(part[20] for part in state), 21).astype(int)
    assert crowded(picture.figure) == []
    assert np.abs(shown - exact).mean() < 2.0  # the palette


def test_films_are_the_same_each_time(tmp_path, networks):
    network = networks["kerber"]
    state = day(network, 3)
    for name in ("a.gif", "b.GIF"):
        animate_day(network, *state, tmp_path / name, band_pu=BAND, fps=4)
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.GIF").read_bytes()
    assert [frame.shape for frame in frames_of(tmp_path / "a.gif")] == [SHAPE] * 3
    houses = np.ones((3, 5))
    animate_day(network, *state, tmp_path / "c.gif", band_pu=BAND, meter_kw=houses)
    animate_day(network, *state, tmp_path / "d.gif", band_pu=BAND, meter_kw=houses.sum(axis=1))
    assert (tmp_path / "c.gif").read_bytes() == (tmp_path / "d.gif").read_bytes()


def test_mp4_needs_ffmpeg(tmp_path, network, monkeypatch):
    from matplotlib.animation import writers

    monkeypatch.setattr(writers, "is_available", lambda name: False)
    with pytest.raises(ScenarioError, match=r"ffmpeg.*write a \.gif"):
        animate_day(network, *day(network, 2), tmp_path / "day.mp4", band_pu=BAND)
    assert not (tmp_path / "day.mp4").exists()


def test_mp4_where_there_is_ffmpeg(tmp_path, network):
    from matplotlib.animation import writers

    if not writers.is_available("ffmpeg"):
        pytest.skip("no ffmpeg")
    animate_day(network, *day(network, 3), tmp_path / "day.mp4", band_pu=BAND)
    assert (tmp_path / "day.mp4").read_bytes()[4:8] == b"ftyp"


def test_errors_of_a_picture(network):
    v, line, trafo = values(network)
    bad = [
        ({"v_pu": v[:-1]}, r"v_pu has shape \(43,\); expected numbers of shape \(44,\)"),
        ({"v_pu": v[None]}, r"v_pu has shape \(1, 44\)"),
        ({"v_pu": "high"}, "v_pu is 'high'"),
        ({"v_pu": np.where(v > 1.04, np.inf, v)}, "v_pu holds inf"),
        ({"line_loading_percent": line[1:]}, "line_loading_percent has shape"),
        ({"line_loading_percent": -line}, "line_loading_percent holds -60"),
        ({"trafo_loading_percent": line}, "one a transformer"),
        ({"band_pu": (1.05, 0.95)}, "lowest < highest"),
        ({"band_pu": 0.05}, "band_pu is 0.05"),
        ({"period": -1}, "0 to 96"),
        ({"period": 97}, "0 to 96"),
        ({"period": 3.5}, "0 to 96"),
    ]
    good = {"v_pu": v, "line_loading_percent": line, "trafo_loading_percent": trafo}
    for wrong, message in bad:
        with pytest.raises(ScenarioError, match=message):
            render_feeder(network, **({"band_pu": BAND, "period": 1} | good | wrong))
    lists = render_feeder(network, *(part.tolist() for part in (v, line, trafo)),
                          band_pu=list(BAND), period=np.int64(1))  # fmt: skip
    np.testing.assert_array_equal(
        lists, render_feeder(network, v, line, trafo, band_pu=BAND, period=1)
    )


def test_errors_of_a_film(tmp_path, network):
    state, long = day(network, 3), day(network, 97)
    bad = [
        (state, "day.avi", {}, r"\.gif or \.mp4"),
        (state, "day", {}, r"\.gif or \.mp4"),
        (state, "day.gif", {"fps": 0}, "fps is 0"),
        (state, "day.gif", {"meter_kw": np.ones(4)}, r"meter_kw has shape \(4,\)"),
        (state, "day.gif", {"meter_kw": [1.0, np.nan, 1.0]}, "meter_kw"),
        (state, "day.gif", {"meter_kw": "much"}, "meter_kw"),
        (state, "day.gif", {"band_pu": (0.0, 1.0)}, "band_pu"),
        ((state[0], state[1][:2], state[2]), "day.gif", {}, r"expected numbers of shape \(3, 42\)"),
        ((state[0][0], *state[1:]), "day.gif", {}, "v_pu has shape"),
        (long, "day.gif", {}, "97 periods; expected 1 to 96"),
        ((1.0, *state[1:]), "day.gif", {}, "0 periods"),
    ]
    for arrays, name, options, message in bad:
        with pytest.raises(ScenarioError, match=message):
            animate_day(network, *arrays, tmp_path / name, **({"band_pu": BAND} | options))
    assert not list(tmp_path.iterdir())


def test_public_names():
    assert all(hasattr(render, name) for name in render.__all__)
