"""Feeder-days kept on disk, played side by side, settled and compared."""

import json
from functools import partial

import numpy as np
import pandapower as pp
import pytest

from flexgym.envs.charts.settlement import pay_as_bid, pay_marginal
from flexgym.envs.feeder.accounts import FEEDER_COST, FEEDER_NAMES
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.evaluate.comparison import gap_parts, menu_figures
from flexgym.evaluate.feeder import _days
from flexgym.evaluate.feeder_play import play_day, play_days
from flexgym.evaluate.feeder_sample import Days, FeederDays
from flexgym.evaluate.feeder_tables import tables
from flexgym.evaluate.settlements import RULES
from flexgym.policies.feeder import named

GRID = [FEEDER_NAMES.index(name) for name in ("loss_eur", "voltage_eur", "overload_eur")]
NAMES = ("unmanaged", "price-threshold")


@pytest.fixture(scope="module")
def street():
    """Two days of four houses behind a transformer that binds."""
    net = pp.create_empty_network()
    high, at = pp.create_bus(net, 20.0), pp.create_bus(net, 0.4)
    pp.create_ext_grid(net, high)
    pp.create_transformer(net, high, at, "0.25 MVA 20/0.4 kV")
    net.trafo["sn_mva"] = 0.02
    for _ in range(4):
        bus = pp.create_bus(net, 0.4)
        pp.create_line(net, at, bus, 0.03, "NAYY 4x150 SE")
        at = bus
    scenario = FeederScenario.from_pandapower(
        net, buses=[2, 3, 4, 5], scenario="winter_evening", days=[20, 30]
    )
    return FeederDays(scenario, np.zeros(2, np.int64), np.array([20, 30]), 7)


def counted(names, days, folder, **options):
    """What was played, and how many feeder-days were reported."""
    told = []
    found = play_days(names, days, lambda: days, folder, progress=lambda: told.append(1), **options)
    return found, len(told)


def same(one, other):
    for mine, theirs in zip(one, other, strict=True):
        assert mine.policy == theirs.policy
        np.testing.assert_array_equal(mine.totals, theirs.totals)
        np.testing.assert_array_equal(mine.grid_kw, theirs.grid_kw)
        np.testing.assert_array_equal(mine.violated, theirs.violated)


@pytest.fixture
def no_play(monkeypatch):
    """Playing is an error."""

    def refuse(*_):
        raise AssertionError("played again")

    monkeypatch.setattr("flexgym.evaluate.feeder_play.play_day", refuse)


def test_resumed_days_are_those_played(street, tmp_path, no_play, monkeypatch):
    with monkeypatch.context() as context:
        context.setattr("flexgym.evaluate.feeder_play.play_day", play_day)
        first, told = counted(NAMES, street, tmp_path)
    assert told == 4
    again, told = counted(NAMES, street, tmp_path)
    assert told == 4
    same(first, again)
    assert again[0].figures["plan_s"].tolist() == first[0].figures["plan_s"].tolist()
    other = FeederDays(street.scenario, street.draw, street.day, 8)
    with pytest.raises(AssertionError, match="played again"):
        counted(NAMES, other, tmp_path)
    kept = sorted(tmp_path.glob("*.npz"))
    with pytest.raises(AssertionError, match="played again"):
        play_days(NAMES, street, lambda: street, tmp_path, resume=False)
    assert sorted(tmp_path.glob("*.npz")) == kept


def _foreign(path):
    np.savez(path, something=np.zeros(3))


def _an_array(path):
    with path.open("wb") as stream:
        np.save(stream, np.zeros(3))


def _older(path):
    with np.load(path) as kept:
        content = dict(kept)
    about = json.loads(str(content["about"])) | {"version": 0}
    np.savez(path, **content | {"about": np.array(json.dumps(about))})


def _of_another_world(path):
    with np.load(path) as kept:
        content = dict(kept)
    np.savez(path, **content | {"totals": np.zeros(3)})


def _of_more_houses(path):
    with np.load(path) as kept:
        content = dict(kept)
    np.savez(path, **content | {"house_eur": np.zeros(43)})


def _of_another_policy(path):
    (other,) = path.parent.glob(path.name.replace("unmanaged", "price-threshold"))
    path.write_bytes(other.read_bytes())


def _a_list(path):
    with np.load(path) as kept:
        content = dict(kept)
    np.savez(path, **content | {"about": np.array("[1, 2]")})


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:200]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("not a day"),
        _foreign,
        _an_array,
        _older,
        _of_another_world,
        _of_more_houses,
        _of_another_policy,
        _a_list,
    ],
    ids=[
        "cut",
        "empty",
        "text",
        "foreign",
        "array",
        "older",
        "other world",
        "more houses",
        "other policy",
        "list",
    ],
)
def test_damaged_days_are_played_again(street, tmp_path, damage, monkeypatch):
    first, _ = counted(NAMES, street, tmp_path)
    (kept,) = tmp_path.glob("unmanaged-*-day30-*.npz")
    damage(kept)
    replayed = []

    def watched(policy, days, index):
        replayed.append((policy.name, index))
        return play_day(policy, days, index)

    monkeypatch.setattr("flexgym.evaluate.feeder_play.play_day", watched)
    again, _ = counted(NAMES, street, tmp_path)
    assert replayed == [("unmanaged", 1)]
    same(first, again)


def test_two_processes_play_as_one_does(tmp_path):
    make = partial(_days, "calm", "validation", "markov", None, 2, 3)
    days = make()
    one = play_days(NAMES, days, make, tmp_path / "one")
    two = play_days(NAMES, days, make, tmp_path / "two", workers=2)
    same(one, two)


@pytest.fixture(scope="module")
def settled(street):
    return {
        name: play_day(named(name), street, 0)
        for name in ("menus-foresight", "menus-aware-foresight", "centralised")
    }


def test_money_adds_up_between_houses_operator_and_grid(settled):
    """What houses keep, what the operator pays them and the grid make the social cost."""
    for name, played in settled.items():
        grid = played.totals[GRID].sum()
        social = played.totals[FEEDER_COST]
        assert played.house_eur.sum() + grid == pytest.approx(social, abs=1e-6), name


def test_the_day_pays_what_its_periods_do(street, settled):
    """The rules applied answer by answer, against the figures of the whole day."""
    policy, paid = named("menus-foresight"), {"pay-as-bid": 0.0, "marginal": 0.0}
    simulation = street.begin(slice(0, 1), **policy.settings)
    policy.begin(simulation)
    while not simulation.done:
        simulation.step(policy.act(simulation))
        menus, answer = policy.menus[0], policy.answers[0]
        paid["pay-as-bid"] += pay_as_bid(menus, answer).deficit_eur
        paid["marginal"] += pay_marginal(menus, answer).deficit_eur
    for rule, eur in paid.items():
        found = settled["menus-foresight"].figures[f"{rule}_deficit_eur"]
        assert found == pytest.approx(eur, abs=1e-8)


def test_who_is_paid_what(settled):
    """Where the day is known the least deficit is what the menus declared."""
    found = settled["menus-foresight"].figures
    assert found["least_deficit_eur"] > 0.1
    assert found["pay-as-bid_deficit_eur"] == pytest.approx(found["least_deficit_eur"], abs=1e-8)
    assert found["menu_harm_eur"] == pytest.approx(found["least_deficit_eur"], abs=1e-8)
    assert found["marginal_deficit_eur"] >= found["pay-as-bid_deficit_eur"]
    assert found["day-plan_deficit_eur"] == pytest.approx(found["pay-as-bid_deficit_eur"], abs=1e-8)
    for rule in RULES:
        assert found[f"{rule}_worse"] == 0.0
        assert found[f"{rule}_worst_eur"] <= 1e-8
    for rule in RULES:
        assert 0.25 <= found[f"{rule}_jain"] <= 1.0
        assert 0.0 <= found[f"{rule}_gini"] <= 0.75
    assert found["infeasible_periods"] == found["unclean_periods"] == 0.0
    assert 1.0 <= found["solves_most"] <= 3.0
    assert found["inflation_gain_eur"] == 0.0
    assert 22 + 2 * 24 <= found["bytes_per_period"] <= 22 + 60 * 24
    assert found["planning_bytes"] == 0.0
    aware = settled["menus-aware-foresight"].figures
    assert aware["least_deficit_eur"] < found["least_deficit_eur"]
    assert aware["inflation_gain_eur"] > 0.0
    # Four rehearsals of 96 menus each, of vertices that are much like those of the day itself.
    assert 2.0 < aware["planning_bytes"] / (96 * found["bytes_per_period"]) < 8.0
    assert aware["day-plan_worse"] == 0.0
    assert aware["day-plan_deficit_eur"] >= aware["least_deficit_eur"]


def days_of(policy, cost, **figures):
    totals = np.zeros((len(cost), len(FEEDER_NAMES)))
    totals[:, FEEDER_COST] = cost
    none = np.zeros((len(cost), 96))
    return Days(policy, totals, none, none > 0.0, (0.95, 1.05), figures)


def test_parts_of_the_gap_add_up():
    cost = {
        "menus-agnostic": [9.0, 8.0, 40.0],
        "menus-forecast": [5.0, 6.0, 9.0],
        "menus-foresight": [3.0, 5.0, 5.0],
        "centralised": [2.0, 2.0, 2.0],
    }
    played = {name: days_of(name, values) for name, values in cost.items()}
    found = {part["part"]: part["eur"] for part in gap_parts(played, 0)}
    assert list(found) == ["lack of prediction", "forecast error", "network-blind planning"]
    means = [part["mean"] for part in found.values()]
    assert sum(means) == pytest.approx(np.mean(cost["menus-agnostic"]) - 2.0)
    blind = found["network-blind planning"]
    assert (blind["mean"], blind["median"], blind["most"]) == pytest.approx((7.0 / 3.0, 3.0, 3.0))
    assert blind["low"] <= blind["mean"] <= blind["high"]
    assert gap_parts({"unmanaged": played["centralised"]}, 0) == []


def test_figures_are_means_but_the_worst_is_the_worst():
    nan = np.nan
    played = days_of(
        "menus", [1.0, 2.0],
        **{"day-plan_worst_eur": np.array([0.1, 0.3]), "moved_percent": np.array([10.0, 30.0]),
           "day-plan_jain": np.array([nan, 0.5]), "marginal_jain": np.array([nan, nan])},
    )  # fmt: skip
    found = menu_figures(played)
    assert found == pytest.approx(
        {"day-plan_worst_eur": 0.3, "moved_percent": 20.0, "day-plan_jain": 0.5}
    )
    rows = [{"policy": "menus", **found}, {"policy": "unmanaged", "plan_s": 1.0}]
    shown = tables({"scenario": {"houses": 43}, "rows": rows, "gaps": []})
    assert shown == {
        "What menus take": (["policy", "choices changed, %"], [["menus", "20.0"]]),
        "Payments by the operator, EUR/day": (
            ["policy", "Jain's index of its payments"], [["menus", "0.50"]]
        ),
    }  # fmt: skip
