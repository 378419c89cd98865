"""Every environment trains a little, is validated, resumed and played from its run folder."""

import json

import numpy as np
import pytest
import yaml

from flexgym.envs.errors import RunError, ScenarioError
from flexgym.train.task import TASKS, task_class
from flexgym.train.training import train

MARKET = {"n_envs": 4, "n_steps": 24, "batch_size": 96, "n_timesteps": 192}
FEEDER = {
    "n_envs": 1,
    "n_steps": 96,
    "batch_size": 1376,
    "n_timesteps": 8256,
    "env_kwargs": {"scenario": "stress", "curtailment": "action", "share": "local"},
    "vec_env_wrapper": [{"flexgym.train.vec_env.ShapedReward": {"scale": 10.0}}],
}
SMALL = {
    "aggregator": MARKET,
    "aggregators": {**MARKET, "env_kwargs": {"scenario": "three"}, "n_timesteps": 576},
    "directive": MARKET,
    "buses": {**MARKET, "n_envs": 1, "env_kwargs": {"scenario": "three"}, "n_timesteps": 1536},
    "operator": {"n_envs": 1, "n_steps": 48, "batch_size": 48, "n_timesteps": 96},
    "feeder": FEEDER,
}
SCENARIOS = {"operator": "summer_midday"}


def config(tmp_path, env, **changes):
    path = tmp_path / f"{env}.yml"
    content = {
        "policy": "MlpPolicy",
        "n_epochs": 1,
        "learning_rate": 1e-3,
        "policy_kwargs": "dict(net_arch=[8])",
        **SMALL[env],
        **changes,
    }
    path.write_text(yaml.safe_dump({task_class(env).env_id: content}))
    return path


@pytest.fixture
def solved(monkeypatch):
    """Central optima take a minute each: here unmanaged days with their violations unpaid."""
    from flexgym.evaluate import feeder_play

    def quick(names, days, make, folder, **options):
        from dataclasses import replace

        from flexgym.envs.feeder.accounts import FEEDER_COST, FEEDER_NAMES

        assert names == ("unmanaged", "centralised")
        one = feeder_play.play_together(feeder_play.named("unmanaged"), days)
        totals = one.totals.copy()
        for name in ("voltage_eur", "overload_eur"):
            totals[:, FEEDER_COST] -= totals[:, FEEDER_NAMES.index(name)]
        totals[:, FEEDER_COST] -= 10.0
        return [one, replace(one, policy="centralised", totals=totals)]

    monkeypatch.setattr(feeder_play, "play_days", quick)


@pytest.mark.parametrize("env", ["aggregator", "aggregators", "directive", "buses"])
def test_roles_of_the_market_train_resume_and_are_evaluated(tmp_path, env):
    from flexgym.envs.aggregator_market.scenario import MarketScenario
    from flexgym.evaluate.market_play import play_market
    from flexgym.policies.learned_market import load_market_policy

    run, file = tmp_path / "run", config(tmp_path, env)
    frames = SMALL[env]["n_timesteps"]
    best = train(env, run, config=file, timesteps=frames // 2, validation=16)
    again = train(env, run, config=file, timesteps=frames, validation=16, resume=True)
    state = json.loads((run / "state.json").read_text())
    assert state["frames"] == frames
    assert state["best_score"] == again >= best
    task = task_class(env)
    scenario = (SMALL[env].get("env_kwargs") or {}).get("scenario", "ordered")
    policy = load_market_policy(str(run), task.role)
    days = play_market(policy, MarketScenario.create(scenario), 4, 0, power_flow=False)
    assert days.earned_eur.shape[0] == 4
    assert np.isfinite(days.earned_eur).all()
    # What plays from the light file is what was trained.
    heavy = load_market_policy(str(run / "best.zip"), task.role)
    other = play_market(heavy, MarketScenario.create(scenario), 4, 0, power_flow=False)
    np.testing.assert_array_equal(days.earned_eur, other.earned_eur)


def test_who_plays_the_exact_table_scores_100():
    from flexgym.envs.aggregator_market.observation import Observer
    from flexgym.envs.aggregator_market.roles import Seats
    from flexgym.policies.market import actions_of
    from flexgym.policies.market_rules import Exact

    task = task_class("aggregator")("ppo", {"n_envs": 1}, {})
    task.prepare(64, None, 1)
    exact, markets = Exact("aggregators"), []
    names = Observer(Seats(task.scenario, ("aggregators",))).names("aggregators")

    class Model:
        """Acts as the table says, in the market that `play_market` plays."""

        observation_space = type("Space", (), {"shape": (len(names),)})

        def predict(self, seen, deterministic):
            if markets[-1].t == 0:
                exact.begin(markets[-1])
            action = actions_of(markets[-1], "aggregators", exact.act(markets[-1]))
            return action.reshape(len(seen), -1), None

    from flexgym.policies import learned_market

    begin = learned_market.LearnedMarket.begin

    def noted(self, market):
        markets.append(market)
        begin(self, market)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learned_market.LearnedMarket, "begin", noted)
        found = task.judge(Model())
    assert found.score == pytest.approx(100.0, abs=1e-9)
    assert found.gap_eur == pytest.approx(0.0, abs=1e-9)
    assert found.cost_eur == pytest.approx(-task._best.mean())


def test_learned_buses_are_in_the_markets_tables(tmp_path):
    from flexgym.evaluate.market import evaluate

    run = tmp_path / "mine"
    train("buses", run, config=config(tmp_path, "buses"), timesteps=768, validation=2)
    results = evaluate(
        tmp_path / "results", scenarios=["three"], roles=["buses"], days=4, learned=[str(run)],
        paper=False, phase=False,
    )  # fmt: skip
    scores = {row["policy"]: row["score"]["mean"] for row in results["rows"]}
    assert scores["exact"] == pytest.approx(100.0)
    assert -500.0 < scores["learned mine"] < 100.0


@pytest.mark.parametrize("algorithm", ["ppo", "ippo", "mappo"])
def test_houses_of_a_feeder_train_resume_and_are_played(tmp_path, algorithm, solved):
    from flexgym.evaluate.feeder_play import play_together
    from flexgym.policies import feeder
    from flexgym.policies.learned_feeder import LearnedHouses
    from flexgym.train.tasks.feeder import validation_days

    run, file = tmp_path / "run", config(tmp_path, "feeder")
    options = {"config": file, "validation": 2, "algorithm": algorithm}
    train("feeder", run, timesteps=4128, **options)
    train("feeder", run, timesteps=8256, resume=True, **options)
    assert json.loads((run / "state.json").read_text())["frames"] == 8256
    days = validation_days("stress", "markov", 2)
    found = [play_together(LearnedHouses.from_run(run, c), days) for c in ("best", "last")]
    for one in found:
        assert np.isfinite(one.cost_eur).all()
    by_name = feeder.named(str(run))
    np.testing.assert_array_equal(play_together(by_name, days).totals, found[0].totals)
    calm = validation_days("calm", "markov", 1)
    scenario = LearnedHouses.from_run(run)
    scenario.settings = {**scenario.settings, "observation": "compact"}
    with pytest.raises(RunError, match="expects rows of"):
        play_together(scenario, calm)


def test_the_operator_trains_against_truthful_menus(tmp_path):
    from flexgym.envs.feeder.operator_env import FeederOperatorEnv
    from flexgym.policies.operator import LearnedOperator

    run, file = tmp_path / "run", config(tmp_path, "operator")
    score = train("operator", run, config=file, validation=1, options={"scenario": "summer_midday"})
    assert score <= 100.0 + 1e-6
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["scenario"] == "summer_midday"
    policy = LearnedOperator.from_run(run)
    env = FeederOperatorEnv(scenario="summer_midday", **policy.settings)
    policy.begin(env)
    seen = env.observation_space.sample()
    assert env.action_space.contains(policy.act(env, seen).astype(np.float32))
    with pytest.raises(
        RunError, match="scenario summer_midday, but this command has scenario calm"
    ):
        train("operator", run, resume=True, options={"scenario": "calm"})


def test_wrong_options_are_named(tmp_path):
    with pytest.raises(ScenarioError, match="expected one of household"):
        train("house", tmp_path / "run")
    with pytest.raises(ScenarioError, match=r"three has 3 aggregators.*aggregators"):
        train("aggregator", tmp_path / "run", options={"scenario": "three"})
    with pytest.raises(ScenarioError, match="algo is 'sac'"):
        train("aggregator", tmp_path / "run", algorithm="sac")
    file = config(tmp_path, "aggregator", env_kwargs={"share": "local"})
    with pytest.raises(ScenarioError, match="env_kwargs"):
        train("aggregator", tmp_path / "run", config=file)
    with pytest.raises(ScenarioError, match="device is 'tpu'"):
        train("aggregator", tmp_path / "run", device="tpu")
    with pytest.raises(ScenarioError, match="at least 2 days"):
        train("aggregator", tmp_path / "run", validation=1)
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_every_task_keeps_the_protocol():
    from typing import get_type_hints

    from flexgym.train.task import Task

    for name in TASKS:
        task = task_class(name)
        for attribute in get_type_hints(Task):
            assert hasattr(task, attribute), (name, attribute)
        assert task.env_id.startswith("flexgym/")
