"""Who takes part in the benchmark, and in what: suites, arenas, runs, own code."""

import json

import numpy as np
import pytest

from flexgym.envs.errors import ActionError, RunError, ScenarioError
from flexgym.evaluate.benchmark import cell as cells
from flexgym.evaluate.benchmark.arena import ARENAS, Setting, arena_class
from flexgym.evaluate.benchmark.command import benchmark
from flexgym.evaluate.benchmark.entry import code_entries, run_entries, team_of
from flexgym.evaluate.benchmark.suite import FULL, SMALL, SUITES

TRADER = Setting("trader", "evening", 96, parts=2)


def test_suites_know_every_environment():
    for settings in SUITES.values():
        assert {setting.environment for setting in settings} == set(ARENAS)
        assert len({setting.name for setting in settings}) == len(settings)
        for setting in settings:
            parts = [setting.part(k) for k in range(setting.parts)]
            assert [p.start for p in parts] == [0, *(p.stop for p in parts[:-1])]
            assert parts[-1].stop == setting.episodes
            assert all(part.stop > part.start for part in parts)
    assert [one.name for one in SMALL] == [one.name for one in FULL]


@pytest.mark.parametrize("name", sorted(set(ARENAS) - {"trader", "appliance"}))
def test_every_arena_knows_its_references(name, tmp_path):
    # On the lattice, where there is one: there the reference has another name.
    setting = [one for one in SMALL if one.environment == name][-1]
    arena = arena_class(name)(setting, 0, tmp_path)
    assert {arena.zero, arena.best} <= set(arena.contenders)
    assert set(setting.without) <= set(arena.contenders)
    assert not {arena.zero, arena.best} & set(setting.without)
    team = team_of(setting, arena).entries
    assert len({(one.policy, one.seed) for one in team}) == len(team)


@pytest.mark.parametrize(
    "name",
    ["household", "feeder", "operator", "competition", "trader", "local-market", "appliance"],
)
def test_unknown_scenarios_are_named(name, tmp_path):
    with pytest.raises(ScenarioError, match="nowhere"):
        arena_class(name)(Setting(name, "nowhere", 4), 0, tmp_path)


def write_run(folder, **changes):
    folder.mkdir(parents=True)
    config = {
        "environment": "flexgym/Trader-v0", "algorithm": "ppo", "seed": 0, "minutes": None,
        "prices": None, "hyperparameters": {}, **changes,
    }  # fmt: skip
    (folder / "config.yaml").write_text(json.dumps(config))
    (folder / "best.zip").write_bytes(b"weights of seed %d" % config["seed"])


def test_runs_of_several_seeds_are_one_policy(tmp_path):
    for seed in range(3):
        write_run(tmp_path / "runs" / f"seed-{seed}", seed=seed)
    write_run(tmp_path / "other", environment="flexgym/Household-v0")
    found = run_entries([str(tmp_path / "runs"), f"mine={tmp_path / 'other'}"])
    assert [(one.policy, one.seed) for one in found] == [
        ("ppo", 0), ("ppo", 1), ("ppo", 2), ("mine", 0),
    ]  # fmt: skip
    assert len({one.digest for one in found}) == 4
    arena = arena_class("trader")(TRADER, 0, tmp_path)
    team = team_of(TRADER, arena, found).entries
    assert [one.seed for one in team if one.policy == "ppo"] == [0, 1, 2]
    assert not [one for one in team if one.policy == "mine"]
    write_run(tmp_path / "again" / "seed-0")
    with pytest.raises(RunError, match="both ppo with seed 0"):
        run_entries([str(tmp_path / "runs"), str(tmp_path / "again")])


def test_changed_weights_change_the_fingerprint_of_their_cell_alone(tmp_path):
    for seed in range(2):
        write_run(tmp_path / f"seed-{seed}", seed=seed)

    def fingerprints():
        team = run_entries([str(tmp_path)])
        return [cells.Cell(TRADER, one, 0, 0).fingerprint for one in team]

    before = fingerprints()
    assert fingerprints() == before
    (tmp_path / "seed-1" / "best.zip").write_bytes(b"better ones")
    after = fingerprints()
    assert after[0] == before[0]
    assert after[1] != before[1]


@pytest.mark.parametrize(
    ("name", "scenario", "other", "config"),
    [
        ("household", "car", "no-car", {}),
        ("household", "no-car", "car", {"hyperparameters": {"env_kwargs": {"car": False}}}),
        ("household", "no-car", "car", {"hyperparameters": {"car": False}}),
        ("aggregator", "loose", "free", {"scenario": "loose"}),
        ("appliance", "interruptible", "mixed", {"kind": "interruptible"}),
        ("appliance", "uninterruptible", "mixed", {"scenario": "uninterruptible"}),
        ("operator", "stress", "calm", {"scenario": "stress"}),
        ("local-market", "welfare", "learner-uniform", {}),
        ("local-market", "learner-pay-as-bid", "welfare", {"learners": 1, "rule": "pay-as-bid"}),
        ("local-market", "learner-uniform", "welfare", {"scenario": "learner-uniform"}),
    ],
)
def test_runs_play_where_they_were_trained(name, scenario, other, config):
    kind = arena_class(name)
    run = {"algorithm": "ppo", "environment": kind.env_ids[0], **config}
    assert kind.fits(Setting(name, scenario, 1), run)
    assert not kind.fits(Setting(name, other, 1), run)


def test_menus_of_houses_with_cars_play_on_the_feeder_too():
    worlds = [{"environment": "household", "car": car} for car in (True, False)]
    places = [("household", "car"), ("household", "no-car"), ("feeder", "stress")]
    settings = [Setting(name, one, 1) for name, one in places]

    def fitting(algorithm, worlds):
        run = {"algorithm": algorithm, "environment": "flexgym/Household-v0"}
        run["hyperparameters"] = {"worlds": worlds}
        return [arena_class(one.environment).fits(one, run) for one in settings]

    assert fitting("menus", worlds) == [True, True, True]
    assert fitting("menus", worlds[1:]) == [False, True, False]
    assert fitting("ppo", None) == [True, False, False]


def test_a_damaged_run_is_named(tmp_path):
    write_run(tmp_path / "run")
    whole = (tmp_path / "run" / "config.yaml").read_text()
    for text in (
        "!!python/object/apply:os.system [false]",
        whole.replace('"seed": 0', '"seed": true'),
        "environment: a\nalgorithm: ppo\nseed: 0\nhyperparameters: {env_kwargs: 7}\n",
        "environment: a\nalgorithm: ppo\nseed: 0\nhyperparameters: {worlds: [1]}\n",
    ):
        (tmp_path / "run" / "config.yaml").write_text(text)
        with pytest.raises(RunError, match=r"cannot read .*config.yaml"):
            run_entries([str(tmp_path / "run")])


def test_environments_have_sources_of_their_own():
    assert len({cells.sources_of(name) for name in ("trader", "feeder", "household")}) == 3
    assert len({cells.sources_of(name) for name in ("aggregator", "directive", "buses")}) == 1


def test_names_that_files_cannot_hold_stay_apart(tmp_path):
    one = code_entries(["trader/*=numpy:sum"])[0][1]
    names = {
        cells.Cell(TRADER, cells.Entry(name, "learned", 0, "code", "x"), 0, 0).name
        for name in ("a b", "a_b", "a/b", "../b")
    }
    assert len(names) == 4
    for name in names:
        cell = cells.path_of(cells.Cell(TRADER, one, 0, 0), tmp_path)
        assert (tmp_path / "cells" / name).resolve().parent == cell.parent.resolve()


def test_observed_policies_see_rows(tmp_path):
    """The same function, on every kind of environment: zeros of the right width."""
    widths = {
        "household": 2, "feeder": 2, "local-market": 2,
        "aggregator": 1, "buses": 1, "competition": 1,
    }  # fmt: skip
    seen = {}
    for name, width in widths.items():
        setting = next(one for one in SMALL if one.environment == name)
        small = Setting(name, setting.scenario, 1)
        arena = arena_class(name)(small, 0, tmp_path)

        def still(rows, name=name, width=width):
            seen.setdefault(name, rows)
            return np.zeros((len(rows), width))

        played = arena.play(arena.observed(still, "still"), slice(0, 1))
        assert played.cost_eur.shape == played.violation.shape == (1,)
        assert np.isfinite(played.cost_eur).all()
        assert played.step_s > 0.0
    assert all(rows.ndim == 2 and rows.dtype == np.float32 for rows in seen.values())
    assert len(seen["feeder"]) == 43
    with pytest.raises(ActionError, match=r"cannot be read|expected"):
        arena.play(arena.observed(lambda rows: "nothing", "still"), slice(0, 1))


def test_names_of_runs_are_their_own(tmp_path):
    household = Setting("household", "no-car", 8)
    arena = arena_class("household")(household, 0, tmp_path)
    write_run(tmp_path / "run", environment="flexgym/Household-v0", car=False)
    runs = run_entries([f"optimal={tmp_path / 'run'}"])
    with pytest.raises(RunError, match="two policies of household/no-car are called optimal"):
        team_of(household, arena, runs)
    for name in ("a|b", "a<b>", "a`b"):
        with pytest.raises(RunError, match="one that a table can hold"):
            run_entries([f"{name}={tmp_path / 'run'}"])


@pytest.mark.parametrize("seed", [-1, 7_000_000, 6_999_999])
def test_seeds_of_validation_and_training_are_refused(seed, tmp_path):
    with pytest.raises(ScenarioError, match="seed is"):
        benchmark(tmp_path, settings=[Setting("trader", "evening", 8)], seed=seed)


def test_who_was_trained_on_other_data_is_said(tmp_path, capsys):
    write_run(tmp_path / "run", environment="flexgym/Household-v0", car=None, prices="mine.csv")
    with pytest.raises(RunError, match="fits none"):
        benchmark(tmp_path / "out", settings=[TRADER], runs=[str(tmp_path / "run")])
    assert "was trained on prices of mine.csv" in capsys.readouterr().err


def test_runs_that_play_in_one_setting_are_told_apart(tmp_path):
    write_run(tmp_path / "a", environment="flexgym/Aggregator-v0", scenario="ordered")
    write_run(
        tmp_path / "b", environment="flexgym/aggregator-market-v0/aggregators", scenario="ordered"
    )
    setting = Setting("aggregator", "ordered", 8)
    arena = arena_class("aggregator")(setting, 0, tmp_path)
    both = [str(tmp_path / "a"), str(tmp_path / "b")]
    with pytest.raises(RunError, match=r"are both ppo with seed 0 in aggregator/ordered"):
        team_of(setting, arena, run_entries(both))
    named = run_entries([both[0], f"mine={both[1]}"])
    assert {one.policy for one in team_of(setting, arena, named).entries} >= {"ppo", "mine"}


def test_folders_may_have_an_equals_sign(tmp_path):
    write_run(tmp_path / "rate=0.1")
    for source in (tmp_path / "rate=0.1", f"mine={tmp_path / 'rate=0.1'}"):
        assert run_entries([str(source)])[0].source == str(tmp_path / "rate=0.1")
