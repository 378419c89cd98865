"""Scores, rollouts, reports and the command line."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexgym.cli import main
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.dynamics import COST_EUR
from flexgym.envs.household.scenario import HouseholdScenario
from flexgym.evaluate.household import evaluate
from flexgym.evaluate.report import markdown_table, provenance
from flexgym.evaluate.rollout import HouseDays, foresight_costs, rollout, trace
from flexgym.evaluate.score import bootstrap, score
from flexgym.policies.household import Optimal, SelfConsumption, Uncontrolled


def test_score_is_0_for_idle_100_for_the_optimum_and_linear_between():
    idle, best = np.array([2.0, 3.0]), np.array([1.0, -1.0])
    assert score(idle, idle, best) == 0.0
    assert score(best, idle, best) == 100.0
    assert score(0.5 * (idle + best), idle, best) == pytest.approx(50.0)
    assert score(2 * idle - best, idle, best) == pytest.approx(-100.0)


def test_score_of_worthless_flexibility_is_an_error():
    with pytest.raises(ScenarioError, match="battery"):
        score(np.ones(3), np.ones(3), np.ones(3))


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 5.0))
def test_bootstrap_interval_covers_the_mean(seed, spread):
    rng = np.random.default_rng(seed)
    idle = rng.normal(3.0, spread, 40)
    best = idle - rng.uniform(0.5, 1.5, 40)
    policy = best + rng.uniform(0.0, 0.5, 40)
    cost, reached = bootstrap(policy, idle, best, seed)
    assert cost.low <= cost.mean <= cost.high
    assert reached.low <= reached.mean <= reached.high
    assert reached.mean == pytest.approx(score(policy, idle, best))


def test_bootstrap_interval_has_its_nominal_coverage():
    rng = np.random.default_rng(0)
    hits = 0
    for k in range(200):
        saving = rng.exponential(1.0, 60)
        share = rng.uniform(0.6, 1.0, 60)
        _, reached = bootstrap(-share * saving, np.zeros(60), -saving, k)
        hits += reached.low <= 80.0 <= reached.high
    assert 175 <= hits <= 199


@pytest.fixture(scope="module")
def played():
    return HouseDays.sample(HouseholdScenario.create(split="validation", car=False), 70, 5)


def test_house_days_spread_over_houses_and_days(played):
    assert len(set(zip(played.house, played.day, strict=True))) == 70
    assert len(np.unique(played.day)) == len(played.scenario.days)
    assert len(np.unique(played.house)) == 70


def test_rollouts_share_their_random_numbers_and_do_not_depend_on_chunks(played):
    twice = [rollout(SelfConsumption(), played).cost_eur for _ in range(2)]
    np.testing.assert_array_equal(*twice)
    simulation, outcomes = trace(SelfConsumption(), played, 66)
    assert outcomes[:, COST_EUR].sum() == pytest.approx(twice[0][66], abs=1e-12)
    other, _ = trace(Uncontrolled(), played, 66)
    np.testing.assert_array_equal(simulation.episodes.exogenous, other.episodes.exogenous)


def test_terms_add_up_to_the_cost(played):
    costs = rollout(SelfConsumption(), played)
    np.testing.assert_allclose(sum(costs.terms.values()), costs.cost_eur, atol=1e-12)


def test_foresight_bounds_every_policy_on_every_house_day(played):
    bound = foresight_costs(played).cost_eur
    for policy in (Uncontrolled(), SelfConsumption(), Optimal()):
        assert (rollout(policy, played).cost_eur >= bound - 1e-9).all()


def test_evaluate_writes_what_it_prints(tmp_path, capsys):
    results = evaluate(tmp_path, house_days=12, seed=3, split="validation")
    printed = capsys.readouterr().out
    assert json.loads((tmp_path / "results.json").read_text()) == results
    rows = {row["policy"]: row for row in results["rows"]}
    assert set(rows) == {
        *("uncontrolled", "self-consumption", "price-threshold", "mpc", "optimal"),
        "perfect foresight",
    }
    assert rows["uncontrolled"]["score"]["mean"] == 0.0
    assert rows["optimal"]["score"]["mean"] == pytest.approx(100.0)
    assert rows["perfect foresight"]["kind"] == "bound"
    assert rows["perfect foresight"]["score"]["mean"] > 100.0
    assert 0.0 < results["certified_gap_percent"] <= 0.5
    assert results["certified_gap_eur"] <= 0.1
    assert results["schema"] == 1
    assert results["versions"] == provenance()["versions"]
    for name, row in rows.items():
        assert name in printed
        assert f"{row['score']['mean']:.1f}" in printed
    with (tmp_path / "episodes.csv").open(newline="") as stream:
        episodes = list(csv.DictReader(stream))
    assert len(episodes) == 12 * 6
    mine = [float(row["cost_eur"]) for row in episodes if row["policy"] == "mpc"]
    assert np.mean(mine) == pytest.approx(rows["mpc"]["cost_eur"]["mean"], abs=1e-12)
    with (tmp_path / "results.csv").open(newline="") as stream:
        table = {row["policy"]: row for row in csv.DictReader(stream)}
    assert float(table["mpc"]["score_low"]) == rows["mpc"]["score"]["low"]
    for picture in ("scores.png", "day.png", "cost_map.png", "chart.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    text = markdown_table(results)
    assert f"| mpc | {rows['mpc']['cost_eur']['mean']:.3f} |" in text


def test_a_house_without_its_car_is_another_game(tmp_path):
    results = evaluate(tmp_path, house_days=12, split="validation", car=False, policies=["mpc"])
    assert results["certified_gap_eur"] <= 1e-4
    assert results["scenario"]["sessions"] is None
    assert "without car" in results["scenario"]["title"]


def test_policies_that_ship_play_with_every_seed(tmp_path):
    from flexgym.policies import zoo

    name = "household-ppo-no-car"
    options = {"house_days": 8, "car": False}
    results = evaluate(tmp_path / "shipped", policies=[name], **options)
    mean = {row["policy"]: row["cost_eur"]["mean"] for row in results["rows"]}
    folders = [seed.folder for seed in zoo.shipped(name).seeds.values()]
    title = f"{name}, mean of {len(folders)} seeds"
    runs = evaluate(tmp_path / "runs", policies=[], runs=folders, **options)
    alone = {row["policy"]: row["cost_eur"]["mean"] for row in runs["rows"]}
    assert mean[title] == pytest.approx(alone[f"ppo, mean of {len(folders)} runs"], abs=1e-12)
    # It was trained without a car, and plays without one only.
    with pytest.raises(ScenarioError, match=f"policies has {name}"):
        evaluate(tmp_path / "car", policies=[name], house_days=8)


def test_own_sessions_are_played(tmp_path):
    from flexgym.envs.data import load_sessions

    path = tmp_path / "sessions.csv"
    lines = ["arrival,departure,arrival_kwh,needed_kwh"]
    for day in range(1, 29):
        lines.append(f"2024-06-{day:02}T17:30,2024-06-{day + 1:02}T05:45,20,26")
    path.write_text("\n".join(lines) + "\n")
    results = evaluate(
        tmp_path, house_days=3, policies=[], sessions=load_sessions(path), uncertainty="none"
    )
    assert results["scenario"]["sessions"] == "sessions.csv"


def test_solved_days_are_kept_and_found_again(tmp_path):
    first = evaluate(tmp_path / "a", house_days=3, policies=[], cache=tmp_path / "cache")
    entries = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert entries
    second = evaluate(tmp_path / "b", house_days=3, policies=[], cache=tmp_path / "cache")
    assert second["rows"] == first["rows"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == entries


def test_several_runs_are_averaged(tmp_path):
    from flexgym.train.training import train

    runs = [tmp_path / f"seed-{seed}" for seed in (0, 1)]
    for seed, run in enumerate(runs):
        train("household", run, timesteps=12288, validation=2, seed=seed)
    results = evaluate(tmp_path / "out", runs=runs, policies=["uncontrolled"], house_days=4)
    rows = {row["policy"]: row["cost_eur"]["mean"] for row in results["rows"]}
    both = [rows["ppo (seed-0)"], rows["ppo (seed-1)"]]
    assert rows["ppo, mean of 2 runs"] == pytest.approx(np.mean(both))
    assert both[0] != both[1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "command"),
        ("fly", "invalid choice"),
        ("train", "what"),
        ("train household --seed -1", "seed is -1"),
        ("train household --seed x", "seed is x; expected 0 to"),
        ("train household --seed 99999999999", "seed is 99999999999"),
        ("evaluate household --document nowhere.md", "nowhere.md"),
        ("bench household --document nowhere.md", "nowhere.md"),
        ("train household --threads 0", "threads is 0"),
        ("train household --minutes -3", "minutes is -3"),
        ("train household --timesteps 0", "timesteps is 0"),
        ("train household --algo dqn", "invalid choice"),
        ("train household --prices nowhere.csv", "nowhere.csv"),
        ("train household --config nowhere.yml", "nowhere.yml"),
        ("evaluate household --policies best", "policies has best"),
        ("evaluate household --split all", "split is 'all'"),
        ("evaluate household --house-days 1", "house_days is 1"),
        ("evaluate household --uncertainty some", "uncertainty is 'some'"),
        ("evaluate household --run nowhere", "no run in nowhere"),
        ("bench household --repeats 0", "repeats"),
        ("bench household --houses 44", "houses 1 to 43"),
        ("evaluate household --sessions nowhere.csv", "nowhere.csv"),
        ("train household --sessions nowhere.csv", "nowhere.csv"),
        ("demo --house-days 0", "house-days is 0"),
    ],
)
def test_bad_input_ends_with_2_and_one_clear_line(line, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(line.split())
    except SystemExit as end:
        code = end.code
    assert code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "error: " in said
    assert message in said
    assert not any(tmp_path.rglob("*.zip"))


def test_nan_in_a_price_file_is_named_on_the_command_line(tmp_path, capsys):
    path = tmp_path / "prices.csv"
    lines = ["time,import_eur_per_kwh,export_eur_per_kwh"]
    for k in range(192):
        time = f"2023-05-{1 + k // 96:02}T{k // 4 % 24:02}:{15 * (k % 4):02}:00"
        lines.append(f"{time},0.3,{'nan' if k == 7 else 0.1}")
    path.write_text("\n".join(lines) + "\n")
    assert main(["evaluate", "household", "--prices", str(path), "--out", str(tmp_path)]) == 2
    assert "nan" in capsys.readouterr().err.lower()


@pytest.mark.parametrize(
    "command", ["", "demo", "train household", "evaluate household", "bench household"]
)
def test_help_is_there(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([*command.split(), "--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert "usage: flexgym" in said
    if command:
        for option in ("--seed", "--out", "--threads"):
            assert option in said


def test_threads_reach_the_linear_algebra(tmp_path):
    from threadpoolctl import threadpool_info

    command = ["bench", "household", "--repeats", "1", "--houses", "2", "--out", str(tmp_path)]
    assert main(command) == 0
    assert {pool["num_threads"] for pool in threadpool_info()} == {1}
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["command"].startswith("flexgym bench household --repeats 1 --houses 2")


def test_module_runs_as_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "flexgym", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("flexgym ")


def test_bench_prints_its_floors(tmp_path, capsys):
    assert (
        main(["bench", "household", "--repeats", "1", "--houses", "2", "--out", str(tmp_path)]) == 0
    )
    printed = capsys.readouterr().out
    assert "persistent" in printed
    rows = {row["what"]: row for row in json.loads((tmp_path / "results.json").read_text())["rows"]}
    assert sum(row["floor"] is not None for row in rows.values()) == 5
    assert sum(row["ceiling"] is not None for row in rows.values()) == 4
    assert all(row["value"] > 0 for row in rows.values())
