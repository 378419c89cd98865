"""The feeder's rollouts, tables, pictures and commands."""

import csv
import json

import numpy as np
import pytest

from flexgym.cli import main
from flexgym.envs.errors import ScenarioError
from flexgym.envs.feeder.accounts import FEEDER_NAMES, FEEDER_TERMS
from flexgym.envs.feeder.scenario import FeederScenario
from flexgym.evaluate.bench.feeder import comb, growth_picture
from flexgym.evaluate.bench.figures import figure, markdown_table, print_figures
from flexgym.evaluate.feeder import evaluate, print_table
from flexgym.evaluate.feeder import markdown_table as feeder_table
from flexgym.evaluate.feeder_rollout import FeederDays, rollout, trace
from flexgym.evaluate.score import mean_interval
from flexgym.policies.feeder import named, unmanaged


@pytest.fixture(scope="module")
def days():
    return FeederDays.sample(FeederScenario.create("winter_evening", "validation"), 20, 3)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("feeder")
    command = "evaluate feeder --scenario winter_evening --split validation --days 3"
    policies = ["--policies", "unmanaged,selfish", "--animation"]
    assert main([*command.split(), *policies, "--out", str(folder)]) == 0
    return folder, json.loads((folder / "results.json").read_text())


def test_feeder_days_spread_over_draws_and_days(days):
    assert len(set(zip(days.draw, days.day, strict=True))) >= 16
    counts = np.bincount(days.draw)
    assert len(counts) == days.scenario.draws
    assert counts.max() - counts.min() <= 1
    assert set(days.day) <= set(days.scenario.homes.days)


def test_rollouts_share_random_numbers_and_do_not_depend_on_chunks(days):
    played = rollout(unmanaged(), days)
    again = rollout(unmanaged(), days)
    np.testing.assert_array_equal(played.totals, again.totals)
    simulation, (v_pu, line, trafo) = trace(unmanaged(), days, 18)
    np.testing.assert_allclose(simulation.episode[0], played.totals[18], rtol=0, atol=1e-9)
    assert v_pu.shape == (96, 44)
    assert line.max() == pytest.approx(played.total("line_percent")[18])
    assert trafo.max() == pytest.approx(played.total("trafo_percent")[18])


def test_terms_add_up_and_limits_are_those_of_the_hours(days):
    played = rollout(unmanaged(), days)
    terms = sum(played.total(name) for name in FEEDER_TERMS)
    np.testing.assert_allclose(terms, played.cost_eur, atol=1e-9)
    broken = played.broken
    np.testing.assert_array_equal(
        broken["any"], broken["voltage"] | broken["line"] | broken["trafo"]
    )
    np.testing.assert_allclose(played.violated.sum(axis=1) / 4, played.total("violation_h"))
    assert broken["any"].any()


def test_the_command_writes_what_it_prints(written, capsys):
    folder, results = written
    assert [row["policy"] for row in results["rows"]] == ["unmanaged", "selfish"]
    with (folder / "episodes.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 6
    assert set(FEEDER_NAMES) < set(rows[0])
    for row in results["rows"]:
        mine = [float(r["cost_eur"]) for r in rows if r["policy"] == row["policy"]]
        assert row["cost_eur"]["mean"] == pytest.approx(np.mean(mine))
        assert row["cost_eur"]["low"] <= row["cost_eur"]["mean"] <= row["cost_eur"]["high"]
    print_table(results)
    shown = capsys.readouterr().out
    assert "days with violations, %" in shown
    assert f"{results['rows'][0]['cost_eur']['mean']:.1f}" in shown
    assert "3 validation feeder-days" in feeder_table(results)
    for name in ("day.png", "worst.png", "worst.gif", "results.csv"):
        assert (folder / name).stat().st_size > 500, name


def test_selfish_houses_pay_less_and_break_more(written):
    plain, selfish = written[1]["rows"]
    assert selfish["bill_eur"] < plain["bill_eur"]
    assert selfish["days_any_percent"]["mean"] == 100.0
    assert selfish["violation_eur"] > plain["violation_eur"]


def test_describe_says_what_the_scenario_is(tmp_path, capsys):
    command = ["describe", "feeder", "--scenario", "calm", "--days", "2"]
    document = tmp_path / "a.md"
    document.write_text("<!-- feeder -->\n<!-- end feeder -->\n")
    assert main([*command, "--out", str(tmp_path), "--document", str(document)]) == 0
    shown = capsys.readouterr().out
    assert "43 on the feeder" in shown
    assert "400 kVA" in shown
    results = json.loads((tmp_path / "results.json").read_text())
    assert all(row["days_any_percent"]["mean"] == 0.0 for row in results["rows"])
    assert feeder_table(results) in document.read_text()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ("evaluate feeder --scenario nowhere", "scenario is 'nowhere'"),
        ("evaluate feeder --split all", "split is 'all'"),
        ("evaluate feeder --policies nobody", "policy is 'nobody'; expected one of unmanaged"),
        ("evaluate feeder --policies ,", "policies is empty"),
        ("evaluate feeder --days 1", "feeder_days is 1; expected at least 2"),
        ("evaluate feeder --uncertainty some", "uncertainty is 'some'"),
        ("evaluate feeder --prices nowhere.csv", "nowhere.csv"),
        ("describe feeder --document nowhere.md", "nowhere.md"),
        ("bench feeder --repeats 0", "repeats and num-envs"),
        ("bench grid --batch 1", "batch at least 64"),
    ],
)
def test_bad_options_are_named_in_one_line(options, match, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(options.split()) == 2
    error = capsys.readouterr().err
    assert match in error
    assert error.count("\n") == 1


def test_unknown_policy():
    with pytest.raises(ScenarioError, match="unmanaged, price-threshold, mpc, selfish"):
        named("greedy")


def test_intervals_cover_the_mean():
    found = mean_interval([True, False, False, True])
    assert found.mean == 0.5
    assert 0.0 <= found.low < 0.5 < found.high <= 1.0


def test_figures_say_whether_they_are_met(capsys):
    rows = [
        figure("fast", 2.0, {"fast": 3.0}, {}),
        figure("small", 2.0, {}, {"small": 3.0}),
        figure("free", 2.0, {}, {}),
    ]
    print_figures(rows, 5)
    shown = capsys.readouterr().out
    assert shown.count("MISSED") == 1
    assert shown.count("ok") == 1
    assert "| fast | 2 | at least 3 |" in markdown_table({"rows": rows})


def test_chains_of_houses_of_any_size(tmp_path):
    scenario = comb(37)
    assert scenario.n_houses == 37
    assert scenario.network.n_bus == 38
    rows = [{"buses": n, "feeders": 64, "step_us": 10.0 * n} for n in (15, 30, 60)]
    rows += [{"buses": 30, "feeders": n, "step_us": 5.0 * n} for n in (16, 256)]
    growth_picture(tmp_path / "growth.png", rows)
    assert (tmp_path / "growth.png").stat().st_size > 5000


def test_evaluate_refuses_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeError, match="cannot create the folder"):
        evaluate(tmp_path / "file", scenario="calm", policies=["unmanaged"], feeder_days=2)
