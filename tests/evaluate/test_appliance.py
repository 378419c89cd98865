"""``flexgym evaluate appliance``: tables, references, pictures, and bad input."""

import csv
import json

import gymnasium as gym
import numpy as np
import pytest

import flexgym  # noqa: F401
from flexgym.cli import main
from flexgym.envs.appliance.scenario import ApplianceScenario
from flexgym.envs.errors import RunError, ScenarioError
from flexgym.evaluate import appliance_play
from flexgym.evaluate.appliance import JOBS, PATTERNS, evaluate, patterns
from flexgym.evaluate.appliance_pictures import day_picture, load_picture, scores_picture
from flexgym.evaluate.appliance_play import (
    BOUND,
    ApplianceDays,
    draw_days,
    foresight_days,
    play_days,
)
from flexgym.evaluate.appliance_tables import appliance_rows, markdown_tables
from flexgym.policies.appliance import Acceptance, Normal, OpenLoop, Optimal
from flexgym.policies.learned_appliance import load_appliance_policy

DAYS, SEED = 600, 7
POLICY = """
from flexgym.policies.appliance import Acceptance
def thrifty():
    return Acceptance(price_quantile=0.1, cost_quantile=0.1, name="learned thrift")
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("appliance")
    document = folder / "appliance.md"
    document.write_text("before\n<!-- appliance -->\n<!-- end appliance -->\nafter\n")
    (folder / "thrift_of_tests.py").write_text(POLICY)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        code = main([
            "evaluate", "appliance", "--days", str(DAYS), "--seed", str(SEED),
            "--policy", "thrift_of_tests:thrifty", "--out", str(folder),
            "--document", str(document),
        ])  # fmt: skip
    assert code == 0
    return folder, json.loads((folder / "results.json").read_text()), document.read_text()


def test_every_pattern_of_every_kind_is_scored_from_0_to_100(written):
    _, results, _ = written
    assert (results["schema"], results["seed"]) == (1, SEED)
    assert results["scenario"]["jobs"] == list(JOBS)
    for kind in JOBS:
        rows = {row["pattern"]: row for row in results["rows"] if row["jobs"] == kind}
        assert set(rows) == {*PATTERNS, "learned thrift", BOUND}
        assert rows["normal"]["score"]["mean"] == rows["normal"]["moved_share"] == 0.0
        assert rows["optimal"]["score"]["mean"] == 100.0
        assert rows["optimal"]["expected_inside"]
        assert rows[BOUND]["kind"] == "bound"
        assert rows[BOUND]["score"]["mean"] > 100.0
        for row in rows.values():
            assert row["score"]["low"] <= row["score"]["mean"] <= row["score"]["high"]
            # What it saves is a ratio of the means beside it.
            zero, best = rows["normal"]["cost_eur"]["mean"], rows["optimal"]["cost_eur"]["mean"]
            ratio = 100.0 * (zero - row["cost_eur"]["mean"]) / (zero - best)
            assert row["score"]["mean"] == pytest.approx(ratio, abs=1e-6)
        assert 0.0 < rows["window search"]["score"]["mean"] < 100.0
        assert rows["acceptance"]["forced_share"] > 0.0
        for name in ("normal", "window search", "window search, re-planned", "optimal"):
            assert rows[name]["forced_share"] == 0.0, name
    names = {(row["jobs"], row["pattern"]): row["policy"] for row in results["rows"]}
    assert names["interruptible", "acceptance"] == "price acceptance"
    assert names["uninterruptible", "acceptance, tuned"] == "cost acceptance, tuned"


def test_files_hold_the_same_and_the_document_gets_the_tables(written):
    folder, results, document = written
    with (folder / "results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["score"]) for row in rows] == [r["score"]["mean"] for r in results["rows"]]
    for name in ("scores.png", "load.png", "day.png"):
        assert (folder / name).read_bytes()[:4] == b"\x89PNG"
    assert document.startswith("before\n<!-- appliance -->\nInterruptible jobs:")
    assert document.endswith("<!-- end appliance -->\nafter\n")
    for text in ("| price acceptance |", "| cost acceptance |", "perfect foresight (bound"):
        assert text in document
    assert f"{DAYS} test days of each kind, seed {SEED}" in document


def test_days_played_in_blocks_are_the_same(monkeypatch):
    scenario = ApplianceScenario.create(split="test")
    episodes, told = draw_days(scenario, 50, SEED), []
    for policy in (Optimal(), OpenLoop(), Acceptance()):
        whole = play_days(policy, scenario, episodes)
        with monkeypatch.context() as patch:
            patch.setattr(appliance_play, "BLOCK", 16)
            parts = play_days(policy, scenario, episodes, told.append)
        for name in ("cost_eur", "power_kw", "forced", "value_eur"):
            assert np.array_equal(getattr(whole, name), getattr(parts, name))
    assert told == [16, 16, 16, 2] * 3


def test_nothing_moved_is_not_less_than_nothing():
    played = [
        ApplianceDays(name, cost, np.ones((2, 3)), np.full(2, -1e-9), value)
        for name, cost, value in (
            ("normal", np.array([1.0, 2.0]), None),
            ("optimal", np.array([0.5, 1.5]), np.array([0.5, 1.5])),
        )
    ]
    rows = appliance_rows("mixed", played)
    rows[0]["moved_share"] = -1e-16
    text = markdown_tables({
        "rows": rows, "seed": 0,
        "scenario": {"days": 2, "split": "test", "uncertainty": "none", "prices": "flat"},
    })  # fmt: skip
    assert "| 0 % |" in text
    assert "-0 %" not in text


def test_day_i_is_that_of_the_environment_seeded_so(written):
    scenario = ApplianceScenario.create(split="test")
    played = play_days(Normal(), scenario, draw_days(scenario, 5, SEED))
    for i in range(5):
        env = gym.make("flexgym/Appliance-v0", split="test")
        env.reset(seed=SEED + i)
        steps = [env.step(np.ones(1)) for _ in range(24)]
        assert sum(-step[1] for step in steps) == pytest.approx(played.cost_eur[i], abs=1e-12)
        assert [step[4]["power_kw"] for step in steps] == played.power_kw[i].tolist()


def test_pictures_are_neither_crowded_nor_cut(written, tmp_path, drawn, crowded):
    _, results, _ = written
    worlds = {}
    for kind in JOBS:
        scenario = ApplianceScenario.create(kind=kind, split="test")
        episodes = draw_days(scenario, 300, 1)
        played = [play_days(p, scenario, episodes) for p in patterns(scenario, 0)]
        worlds[kind] = episodes, [*played, foresight_days(episodes)]
        day_picture(tmp_path / f"{kind}.png", scenario, *worlds[kind])
    scores_picture(tmp_path / "scores.png", results)
    load_picture(tmp_path / "load.png", worlds)
    assert len(drawn) == 5
    for figure in drawn:
        assert crowded(figure) == []
        for axes in figure.axes:
            for label in axes.get_yticklabels():
                assert label.get_window_extent().x0 >= 0.0


def test_a_trained_policy_sees_the_observation_only(tmp_path):
    from stable_baselines3 import PPO

    env = gym.make("flexgym/Appliance-v0")
    PPO("MlpPolicy", env, n_steps=16, batch_size=16).save(tmp_path / "best.zip")
    policy = load_appliance_policy(str(tmp_path))
    assert policy.name == f"learned {tmp_path.name}"
    scenario = ApplianceScenario.create()
    played = play_days(policy, scenario, draw_days(scenario, 20, 0))
    best = play_days(Optimal(), scenario, draw_days(scenario, 20, 0))
    bound = foresight_days(draw_days(scenario, 20, 0))
    assert (played.cost_eur >= bound.cost_eur - 1e-12).all()
    np.testing.assert_allclose(played.power_kw.sum(axis=1), best.power_kw.sum(axis=1), atol=1e-12)
    (tmp_path / "other").mkdir()
    other = gym.make("flexgym/Household-v0", car=False)
    PPO("MlpPolicy", other, n_steps=16, batch_size=16).save(tmp_path / "other" / "best.zip")
    misfit = load_appliance_policy(str(tmp_path / "other"))
    with pytest.raises(RunError, match="expects observations of shape"):
        play_days(misfit, scenario, draw_days(scenario, 2, 0))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"jobs": ["washing"]}, "jobs is washing"),
        ({"jobs": []}, "jobs is empty"),
        ({"days": 1}, "at least 2"),
        ({"split": "holiday"}, "split is 'holiday'"),
        ({"uncertainty": "fog"}, "uncertainty is 'fog'"),
        ({"learned": ["nothing:here"]}, "module:callable"),
        ({"learned": ["nothing.zip"]}, "no checkpoint"),
    ],
)
def test_bad_input_is_named(options, match, tmp_path):
    with pytest.raises((ScenarioError, RunError), match=match):
        evaluate(tmp_path, **{"days": 10, **options})


def test_the_command_says_what_is_wrong_in_one_line(tmp_path, capsys):
    assert main(["evaluate", "appliance", "--jobs", "x", "--out", str(tmp_path)]) == 2
    assert "jobs is x" in capsys.readouterr().err
    missing = str(tmp_path / "none.md")
    assert main(["evaluate", "appliance", "--document", missing]) == 2
