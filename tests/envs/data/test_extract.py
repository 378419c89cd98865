"""The shipped extract is what the simbench package holds."""

import copy
import sys
import warnings

import numpy as np
import pytest

from flexgym.envs.data import extract, load_grid, load_profiles, lv_bus_names
from flexgym.envs.data.profiles import FOLDER, household_loads


@pytest.fixture(scope="module")
def nets():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import simbench

        return [
            simbench.get_simbench_net(extract.CODE.format(scenario=s))
            for s in extract.SCENARIO_NUMBERS
        ]


@pytest.fixture(scope="module")
def grid():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_grid()


@pytest.mark.timeout(300)
def test_profiles_equal_the_package(nets):
    with np.load(FOLDER / "profiles.npz") as shipped:
        fresh = extract.collect(nets)
        assert set(shipped.files) == set(fresh)
        for name, values in fresh.items():
            assert shipped[name].dtype == values.dtype
            np.testing.assert_array_equal(shipped[name], values, err_msg=name)
        for net in nets:
            for name, row in zip(shipped["load_names"], shipped["load"], strict=True):
                np.testing.assert_array_equal(row, net.profiles["load"][f"{name}_pload"])
            np.testing.assert_array_equal(shipped["pv"][0], net.profiles["renewables"]["PV5"])


def test_every_household_and_roof_profile_is_there(nets):
    used = {p for net in nets for p in net.load.profile if p.startswith("H0")}
    assert set(load_profiles().load) == used == {"H0-A", "H0-B", "H0-G", "H0-L"}
    assert {p for net in nets for p in net.sgen.profile} == {"PV5"}


def test_rows_are_evenly_spaced_though_labels_jump(nets):
    """The sun does not move with the labels, so rows count standard time."""
    pv = load_profiles().pv.reshape(366, 96)
    hour = (np.arange(96) + 0.5) / 4

    def noon(days):
        mean = pv[days].mean(axis=0)
        return (mean * hour).sum() / mean.sum()

    stamps = nets[0].profiles["load"]["time"]
    assert stamps[8264] == "27.03.2016 03:00"
    assert abs(noon(slice(66, 86)) - noon(slice(87, 107))) < 0.5


def test_grid_equals_the_package(nets, grid):
    for table in ("bus", "line", "trafo", "load", "sgen", "ext_grid"):
        shipped, fresh = grid[table], nets[0][table]
        assert len(shipped) == len(fresh)
        numbers = fresh.select_dtypes("number").columns
        np.testing.assert_allclose(
            shipped.loc[fresh.index, numbers].to_numpy(float),
            fresh[numbers].to_numpy(float),
            rtol=1e-12,
            err_msg=table,
        )
        assert list(shipped.name) == list(fresh.name)


def test_grid_size(grid):
    low = grid.bus[grid.bus.vn_kv < 1.0]
    assert (len(low), len(grid.line), len(grid.trafo), len(grid.bus)) == (43, 42, 1, 44)
    assert tuple(low.name) == lv_bus_names()
    assert len(set(lv_bus_names())) == 43
    assert "profiles" not in grid
    assert grid.bus.name[grid.trafo.lv_bus.iloc[0]] in lv_bus_names()


def test_households_stand_where_simbench_puts_them(grid):
    homes = grid.load[grid.load.profile.str.startswith("H0")]
    expected = sorted(zip(grid.bus.name[homes.bus], homes.profile, strict=True))
    assert sorted(household_loads()) == expected
    assert len(expected) == 32
    assert len({bus for bus, _ in expected}) == 30


def test_small_enough():
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 3e6


def test_writing_is_deterministic(nets, tmp_path):
    # simbench's own order of columns changes from process to process: turn it round here.
    turned = copy.deepcopy(nets[0])
    for name, table in nets[0].items():
        if hasattr(table, "columns"):
            turned[name] = table[list(table.columns)[::-1]]
    for folder, first in (("a", nets[0]), ("b", turned)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            extract.write([first, *nets[1:]], tmp_path / folder)
    for name in ("profiles.npz", "grid.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert "profiles" in nets[0], "the caller's networks stay whole"


def test_without_simbench_one_line_and_code_2(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "simbench", None)
    with pytest.raises(SystemExit) as stop:
        extract.main(["--out", str(tmp_path)])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "flexgym[data]" in error
    assert not list(tmp_path.iterdir())


def test_normalisation():
    profiles = load_profiles()
    assert profiles.pv.max() == 1.0
    assert profiles.pv.min() == 0.0
    for row in profiles.load.values():
        assert row.shape == (35136,)
        assert row.sum() * 0.25 == pytest.approx(1.0, rel=1e-12)
        assert (row > 0).all()
    assert profiles.start.isoformat() == "2016-01-01T00:00:00"


def test_arrays_are_read_only():
    profiles = load_profiles()
    for array in (profiles.pv, *profiles.load.values()):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
    assert load_profiles() is profiles
