"""Forty-three houses: one per bus, no copies, within the ranges, repeatable."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexgym.envs.data import HOUSE_SEEDS, SCENARIOS, feeder43, lv_bus_names, split_days
from flexgym.envs.data.profiles import household_loads
from flexgym.envs.errors import ScenarioError

names = st.sampled_from(sorted(SCENARIOS))
seeds = st.integers(0, 2**40)


@given(seed=seeds, scenario=names)
@settings(max_examples=40, deadline=None)
def test_every_feeder_is_sound(seed, scenario):
    houses, ranges = feeder43(seed, scenario), SCENARIOS[scenario]
    assert tuple(house.bus for house in houses) == lv_bus_names()
    lives = {(h.load.profile, h.load.shift_quarters, h.load.shift_weeks) for h in houses}
    assert len(set(houses)) == len(lives) == 43
    at_home = {}
    for bus, profile in household_loads():
        at_home.setdefault(bus, profile)
    for house in houses:
        assert at_home.get(house.bus, house.load.profile) == house.load.profile
        assert house.load.profile in {"H0-A", "H0-B", "H0-G", "H0-L"}
        assert 3000 <= house.load.energy_kwh <= 5500
        assert -4 <= house.load.shift_quarters <= 4
        assert -3 <= house.load.shift_weeks <= 3
        assert ranges.pv_kwp[0] <= house.pv_kwp <= ranges.pv_kwp[1]
        assert house.import_limit_kw == house.export_limit_kw == 30.0
        power_kw = house.battery.power_kw if house.battery else 0.0
        assert 0.8 <= house.inverter_kva / max(house.pv_kwp, power_kw) <= 1.0 + 1e-12
        if house.battery:
            battery = house.battery
            assert ranges.battery_kwh[0] <= battery.capacity_kwh <= ranges.battery_kwh[1]
            assert ranges.battery_kw[0] <= battery.power_kw <= ranges.battery_kw[1]
            assert battery.power_kw <= battery.capacity_kwh
            assert 0.93 <= battery.efficiency_charge <= 0.97
            assert 0.93 <= battery.efficiency_discharge <= 0.97
            assert (battery.wear_eur_per_kwh, battery.retention) == (0.01, 1.0)
        if house.car:
            assert house.car.power_kw in ranges.car_kw
            assert 40 <= house.car.capacity_kwh <= 75


@given(seed=seeds, scenario=names)
@settings(max_examples=10, deadline=None)
def test_repeatable_and_different(seed, scenario):
    # The uncached function draws anew, so this compares numbers, not objects.
    from flexgym.envs.data import houses

    assert houses._feeder.__wrapped__(seed, scenario) == feeder43(seed, scenario)
    assert feeder43(seed + 1, scenario) != feeder43(seed, scenario)
    assert feeder43(np.int64(seed), scenario) is feeder43(seed, scenario)


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_shares_and_spread_over_many_feeders(scenario):
    houses = [house for seed in range(40) for house in feeder43(seed, scenario)]
    ranges, n = SCENARIOS[scenario], len(houses)

    def share(flags):
        return sum(flags) / n

    assert share(h.battery is not None for h in houses) == pytest.approx(
        ranges.battery_share, abs=0.05
    )
    assert share(h.car is not None for h in houses) == pytest.approx(ranges.car_share, abs=0.05)
    pv = np.array([h.pv_kwp for h in houses])
    assert pv.mean() == pytest.approx(sum(ranges.pv_kwp) / 2, abs=0.2)
    powers = {h.car.power_kw for h in houses if h.car}
    assert powers == set(ranges.car_kw)
    quarters = Counter(h.load.shift_quarters for h in houses)
    weeks = Counter(h.load.shift_weeks for h in houses)
    assert len(quarters) == 9
    assert len(weeks) == 7
    assert min(quarters.values()) > 0.7 * n / 9
    assert min(weeks.values()) > 0.7 * n / 7


def test_scenarios_draw_apart():
    assert feeder43(3, "winter_evening")[0].load != feeder43(3, "stress")[0].load


def test_the_table_of_the_documentation():
    """Ranges and manual agree; each row of the table is compared with SCENARIOS."""
    text = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ") and "---" not in line
    ]
    table = {row[0]: row[1:] for row in cells}
    assert table.pop("") == list(SCENARIOS)

    def span(low_high):
        return "{:g}-{:g}".format(*low_high)

    months = {(5, 6, 7, 8): "5-8", (1, 2, 11, 12): "11-2"}
    written = {
        "months": lambda s: months.get(s.months, ", ".join(map(str, s.months))),
        "PV, kWp": lambda s: span(s.pv_kwp),
        "battery, probability": lambda s: f"{s.battery_share:g}",
        "battery, kWh": lambda s: span(s.battery_kwh),
        "battery, kW (at most 1 C)": lambda s: span(s.battery_kw),
        "car, probability": lambda s: f"{s.car_share:g}",
        "car, kW": lambda s: " or ".join(f"{kw:g}" for kw in s.car_kw),
        "car need, kWh": lambda s: span(s.car_need_kwh),
        "arrival, mean and sd, h": lambda s: "{:g}, {:g}".format(*s.arrival_h),
        "trips": lambda s: "daily" if s.daily_trips else "most days",
        "price factor on the feeder": lambda s: "none" if s.steady_price else "Markov",
        "price spread": lambda s: f"{s.price_spread:g}",
        "export price": lambda s: s.export,
        "slack, pu": lambda s: f"{s.slack_pu:.3f}".removesuffix("0"),
        "transformer, kVA": lambda s: f"{s.transformer_kva:g}",
    }
    assert set(table) == set(written)
    for key, row in table.items():
        assert row == [written[key](s) for s in SCENARIOS.values()], key


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_every_scenario_has_test_episodes(scenario):
    assert len(split_days("test", SCENARIOS[scenario].months)) >= 20
    assert SCENARIOS[scenario].voltage_band_pu == (0.95, 1.05)


def test_house_seeds_are_disjoint():
    seeds = [seed for split in HOUSE_SEEDS.values() for seed in split]
    assert len(seeds) == len(set(seeds)) == 3000
    assert set(HOUSE_SEEDS) == {"train", "validation", "test"}


@pytest.mark.parametrize("scenario", ["", "Calm", "summer", None, 1, []])
def test_unknown_scenario(scenario):
    with pytest.raises(ScenarioError, match="calm, summer_midday, winter_evening, stress"):
        feeder43(0, scenario)


@pytest.mark.parametrize("seed", [-1, 1.5, 1.0, "1", None, True, []])
def test_bad_seed(seed):
    with pytest.raises(ScenarioError, match=r"integer >= 0.*HOUSE_SEEDS"):
        feeder43(seed)
