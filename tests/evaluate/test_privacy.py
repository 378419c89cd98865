"""What menus tell, what can be guessed from it, and what telling less costs."""

import csv
import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexgym.cli import main
from flexgym.envs.charts import FlexibilityChart
from flexgym.envs.charts.coarse import coarsen_active
from flexgym.envs.data import load_grid
from flexgym.envs.errors import ScenarioError
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.evaluate import privacy
from flexgym.evaluate.attack import (
    LEVEL,
    Attacker,
    errors,
    memory_features,
    menu_features,
    meter_features,
    public_features,
)
from flexgym.evaluate.feeder_sample import FeederDays
from flexgym.evaluate.privacy_play import PLAN_EVERY, SECRETS, watch_day
from flexgym.policies.menus import Menus
from flexgym.policies.planning import Expected

BUY, SELL = 0.3, 0.08


@cache
def small_days(scenario="stress", n=2, training=2, seed=0):
    """Feeder-days of three houses: other draws and days to learn from than to judge by."""
    grid = load_grid()
    buses = sorted(set(grid.load.bus[grid.load.in_service]))[:3]
    return {
        name: FeederDays.sample(
            FeederScenario.from_pandapower(
                grid, scenario=scenario, buses=buses, seeds=seeds, days=days
            ),
            count,
            seed,
        )
        for name, seeds, days, count in (
            ("train", (0, 1), (150, 190), training),
            ("test", (2, 3), (160, 200), n),
        )
    }


def random_menu(rng, vertices):
    power = np.sort(rng.uniform(-12.0, 12.0, vertices))
    slope = np.sort(rng.normal(0.0, 0.05, vertices - 1))
    return FlexibilityChart(power, np.append(0.0, np.cumsum(slope * np.diff(power))))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("privacy")
    document = folder / "privacy.md"
    document.write_text("before\n<!-- privacy -->\n<!-- end privacy -->\nafter\n")
    patch = pytest.MonkeyPatch()
    patch.setattr(privacy, "_days", small_days)
    command = f"evaluate privacy --days 2 --training-days 2 --vertices 2,6 --document {document}"
    try:
        assert main([*command.split(), "--out", str(folder)]) == 0
    finally:
        patch.undo()
    return folder, json.loads((folder / "results.json").read_text()), document.read_text()


def test_a_menu_whose_flat_length_is_the_pv_gives_the_pv_away():
    rng = np.random.default_rng(0)
    days, houses = 6, 8
    seen, blind, pv = [], [], rng.uniform(0.5, 9.0, (days, 96 * houses))
    price = np.full(96, BUY)
    public = public_features(price, price - 0.2, np.full(96, 0.5)).repeat(houses, axis=0)
    for one in pv:
        menus = []
        for length in one:
            free = rng.uniform(-3.0, 3.0)
            power = [free - length, free, free + 4.0]
            menus.append(menu_features(FlexibilityChart(power, [0.0, 0.0, 1.0]), BUY, SELL))
        seen.append(np.hstack([public, menus]))
        blind.append(public)
    day = np.repeat(np.arange(4), 96 * houses)

    def explained(views):
        attacker = Attacker(np.concatenate(views[:4]), pv[:4].reshape(-1, 1), day, hinges=60)
        return errors(attacker.guess(np.concatenate(views[4:])).reshape(2, -1), pv[4:]).r2.mean

    assert explained(seen) > 0.99
    assert explained(blind) < 0.05


def test_what_shows_at_a_kink_is_found_by_the_hinges():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4000, 5))
    y = np.abs(x[:, :1]) + np.maximum(x[:, 1:2], x[:, 2:3])
    day = np.repeat(np.arange(4), 1000)
    x[3000:, 3] = 50.0  # never seen before: it must not carry guesses away
    r2 = {}
    for hinges in (1, 300):
        attacker = Attacker(x[:3000], y[:3000], day[:3000], hinges)
        guess = attacker.guess(x[3000:]).T
        assert y[:3000].min() <= guess.min() <= guess.max() <= y[:3000].max()
        r2[hinges] = errors(guess, y[3000:].T).r2.mean
    assert r2[1] < 0.75
    assert r2[300] > 0.9


def test_errors_are_those_of_the_textbook():
    rng = np.random.default_rng(2)
    truth = rng.normal(3.0, 2.0, (5, 40))
    guess = truth + rng.normal(0.0, 1.0, (5, 40))
    found = errors(guess, truth)
    assert found.rmse.mean == pytest.approx(np.sqrt(np.mean((guess - truth) ** 2)))
    assert found.r2.mean == pytest.approx(1.0 - np.mean((guess - truth) ** 2) / truth.var())
    assert found.rmse.low < found.rmse.mean < found.rmse.high
    assert errors(truth, truth).r2.low == 1.0
    assert errors(np.full((5, 40), truth.mean()), truth).r2.mean == pytest.approx(0.0)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_coarser_menus_are_shorter_and_never_promise_more(seed, vertices, limit):
    rng = np.random.default_rng(seed)
    menu = random_menu(rng, vertices)
    coarse = coarsen_active(menu, limit)
    power = np.linspace(coarse.power_kw[0], coarse.power_kw[-1], 50)
    assert (coarse.cost(power) >= menu.cost(power) - 1e-12).all()
    assert coarse.best_power_kw == menu.best_power_kw
    assert len(coarse.to_bytes()) == 14 + 24 * len(coarse.power_kw) <= 14 + 24 * limit
    features = menu_features(menu, BUY, SELL)
    assert features.shape == menu_features(coarse, BUY, SELL).shape
    assert np.isfinite(features).all()


def test_only_the_level_tells_the_level():
    menu = random_menu(np.random.default_rng(3), 9)
    higher = FlexibilityChart(menu.power_kw, menu.cost_eur + 7.0)
    apart = menu_features(higher, BUY, SELL) - menu_features(menu, BUY, SELL)
    assert apart[LEVEL] == pytest.approx(7.0)
    assert np.abs(np.delete(apart, LEVEL)).max() < 1e-9


def test_memory_and_meter_know_no_later_period():
    rng = np.random.default_rng(4)
    menus, power = rng.normal(size=(96, 2, 9)), rng.normal(size=(96, 2))
    later, then = menus.copy(), power.copy()
    later[50:], then[50:] = 9.0, 9.0
    assert np.array_equal(
        memory_features(menus, power)[:50], memory_features(later, then)[:50]
    )  # fmt: skip
    assert np.array_equal(meter_features(power)[:50], meter_features(then)[:50])
    # The answer follows the menu: what is remembered with a menu is older.
    later = power.copy()
    later[49] = 9.0
    assert np.allclose(memory_features(menus, power)[49], memory_features(menus, later)[49])


def test_bytes_are_those_of_the_messages_and_secrets_those_of_the_houses():
    days = small_days()["test"]
    found = watch_day(days, 0, None, (4, None))
    policy = Menus(Expected(PLAN_EVERY))
    simulation = days.begin(slice(0, 1), **policy.settings)
    policy.begin(simulation)
    sent, charts = 0, []
    for t in range(96):
        assert np.array_equal(found.secrets[t, :, 0], simulation.soc_kwh[0])
        assert np.array_equal(found.secrets[t, :, 3], simulation.load[t, 0])
        actions = policy.act(simulation)
        for menu in policy.menus[0]:
            sent += len(FlexibilityChart(menu.power_kw, menu.cost_eur).to_bytes())
        if t % 8 == 0:
            charts += [len(menu.to_bytes()) for menu in policy.menus[0]]
        simulation.step(actions)
    assert found.menu_bytes == pytest.approx(sent / (96 * 3), rel=1e-12)
    assert found.menu_bytes == pytest.approx(14 + 24 * policy.day.vertices.mean(), rel=1e-12)
    assert found.chart_bytes == pytest.approx(np.mean(charts))
    assert np.array_equal(found.totals, simulation.episode[0])
    assert (found.secrets[:, :, 4] >= 0.0).all()
    assert found.secrets[:, :, 4].max() > 0.0
    assert found.seen[4].shape == found.seen[None].shape


def test_tables_and_files_are_written(written):
    folder, results, document = written
    menus = [row for row in results["rows"] if row["kind"] == "menu"]
    attackers = [row for row in results["rows"] if row["kind"] == "attacker"]
    assert [row["policy"] for row in menus] == [
        "menus of 2 vertices", "menus of 6 vertices", "menus of all vertices",
    ]  # fmt: skip
    sizes = [row["bytes_per_period"] for row in menus]
    assert sizes == sorted(sizes)
    assert sizes[0] <= 14 + 24 * 2
    assert results["sizes"][0]["out"] == sizes[-1]
    assert results["sizes"][1]["out"] == sizes[-1] + 8
    assert menus[-1]["extra_eur"]["low"] == menus[-1]["extra_eur"]["high"] == 0.0
    for row in menus:
        apart = row["cost_eur"]["mean"] - menus[-1]["cost_eur"]["mean"]
        assert row["extra_eur"]["mean"] == pytest.approx(apart)
    assert attackers[0]["policy"] == privacy.BLIND
    for row in attackers:
        for secret in SECRETS:
            assert row[f"{secret}_rmse"]["mean"] >= 0.0
            assert row[f"{secret}_r2"]["mean"] <= 1.0
    with (folder / "results.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == len(menus) + len(attackers)
    assert (folder / "privacy.png").stat().st_size > 10_000
    assert document.startswith("before\n")
    assert document.endswith("\nafter\n")
    for row in (*menus, *attackers):
        assert f"| {row['policy']} |" in document


def test_the_picture_is_not_crowded(written, tmp_path, drawn, crowded):
    from flexgym.evaluate.privacy_picture import privacy_picture

    privacy_picture(tmp_path / "privacy.png", written[1])
    assert not crowded(drawn[-1])


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"feeder_days": 1}, "feeder_days is 1"),
        ({"training_days": 0}, "training_days is 0"),
        ({"limits": (0, 4)}, r"vertices is \[0, 4\]"),
        ({"limits": ()}, r"vertices is \[\]"),
        ({"scenario": "sunny"}, "sunny"),
    ],
)
def test_bad_input_is_named(tmp_path, settings, named):
    with pytest.raises(ScenarioError, match=named):
        privacy.evaluate(tmp_path / "none", **settings)
    assert not (tmp_path / "none").exists()


def test_bad_input_of_the_command_is_named(tmp_path, capsys):
    assert main(["evaluate", "privacy", "--vertices", "4,few"]) == 2
    assert "vertices is '4,few'" in capsys.readouterr().err
    (tmp_path / "bare.md").write_text("no marks")
    assert main(["evaluate", "privacy", "--document", str(tmp_path / "bare.md")]) == 2
    assert "<!-- privacy -->" in capsys.readouterr().err
