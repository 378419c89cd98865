"""Appliance, trader, local market: they train, resume, are judged, and play where they should."""

import json

import numpy as np
import pytest
import yaml

from flexgym.envs.errors import ScenarioError
from flexgym.evaluate.benchmark.arena import Setting, arena_class
from flexgym.evaluate.benchmark.entry import policy_of, run_entries, team_of
from flexgym.policies.appliance import Normal, Optimal
from flexgym.policies.local_market import Truthful, UtilityOnly
from flexgym.policies.trader import OptimalTrader, SpotOnly
from flexgym.train.task import VALIDATION_SEED, task_class
from flexgym.train.training import train

SMALL = {
    "appliance": {"n_envs": 8, "n_steps": 24, "batch_size": 96, "n_timesteps": 384},
    "trader": {"n_envs": 8, "n_steps": 18, "batch_size": 72, "n_timesteps": 288},
    "local-market": {
        "n_envs": 4, "n_steps": 24, "batch_size": 48, "n_timesteps": 192, "gamma": 0.0,
        "env_kwargs": {"participants": 6},
    },
}  # fmt: skip
SHAPED = {
    "appliance": "flexgym.train.shaping.PlanRegret",
    "trader": "flexgym.train.shaping.FairValue",
    "local-market": "flexgym.train.shaping.GainOverTruth",
}
SCENARIOS = {
    "appliance": ("interruptible", "mixed"),
    "trader": ("evening", None),
    "local-market": ("learner-pay-as-bid", "learner-uniform"),
}
DAYS = 64


def config(tmp_path, env, **changes):
    path = tmp_path / f"{env}.yml"
    content = {
        "policy": "MlpPolicy",
        "n_epochs": 1,
        "learning_rate": 1e-3,
        "policy_kwargs": "dict(net_arch=[8])",
        "vec_env_wrapper": [{SHAPED[env]: {"scale": 2.0}}],
        **SMALL[env],
        **changes,
    }
    path.write_text(yaml.safe_dump({task_class(env).env_id: content}))
    return path


def task_of(env, scenario=None, days=DAYS):
    task = task_class(env)("ppo", SMALL[env], {"scenario": scenario})
    task.prepare(days, None, 1)
    return task


@pytest.mark.parametrize("env", SMALL)
def test_it_trains_resumes_and_plays_in_the_benchmark(tmp_path, env):
    run, file = tmp_path / "run", config(tmp_path, env)
    scenario, other = SCENARIOS[env]
    frames = SMALL[env]["n_timesteps"]
    options = {"config": file, "validation": 16, "options": {"scenario": scenario}}
    best = train(env, run, timesteps=frames // 2, **options)
    again = train(env, run, timesteps=frames, resume=True, **options)
    state = json.loads((run / "state.json").read_text())
    assert state["frames"] == frames
    assert state["best_score"] == again >= best
    assert (run / "day.png").read_bytes().startswith(b"\x89PNG")

    arena = arena_class(env)(Setting(env, scenario, 4), 0, tmp_path)
    entries = run_entries([str(run)])
    setting = Setting(env, scenario, 4)
    mine = next(one for one in team_of(setting, arena, entries, []).entries if one.origin == "run")
    played = arena.play(policy_of(mine, arena), slice(0, 4))
    assert np.isfinite(played.cost_eur).all()
    if other:
        there = arena_class(env)(Setting(env, other, 4), 0, tmp_path)
        team = team_of(Setting(env, other, 4), there, entries, []).entries
        assert not [one for one in team if one.origin == "run"]


class _Played:
    """Stands in for a trained policy: does what a known policy does."""

    def __init__(self, policy):
        self.policy = policy

    def __call__(self, model, name):
        return self.policy


@pytest.mark.parametrize(
    ("env", "scenario", "learned", "zero", "best"),
    [
        ("appliance", "mixed", "appliance.LearnedAppliance", Normal, Optimal),
        ("appliance", "uninterruptible", "appliance.LearnedAppliance", Normal, Optimal),
        ("trader", None, "trader.LearnedTrader", SpotOnly, OptimalTrader),
    ],
)
def test_the_references_score_0_and_100(env, scenario, learned, zero, best, monkeypatch):
    task = task_of(env, scenario)
    for policy, score in ((zero(), 0.0), (best(), 100.0)):
        monkeypatch.setattr(f"flexgym.policies.learned_{learned}", _Played(policy))
        found = task.judge(object())
        assert found.score == pytest.approx(score, abs=1e-9)
        assert found.violation_h == 0.0
        assert all(np.isfinite(value) for value in found.terms.values())
    assert found.gap_eur == pytest.approx(0.0, abs=1e-12)
    assert found.cost_eur == pytest.approx(task._best.cost_eur.mean())


def test_appliances_are_judged_as_they_are_evaluated(monkeypatch):
    from flexgym.evaluate.appliance_play import draw_days, play_days
    from flexgym.evaluate.score import score
    from flexgym.policies.appliance import Acceptance

    task, policy = task_of("appliance", "interruptible"), Acceptance()
    monkeypatch.setattr("flexgym.policies.learned_appliance.LearnedAppliance", _Played(policy))
    days = draw_days(task._validation, DAYS, VALIDATION_SEED)
    assert not np.isin(days.day, task.scenario("test").days).any()
    costs = [play_days(p, task._validation, days).cost_eur for p in (policy, Normal(), Optimal())]
    found = task.judge(object())
    assert found.score == pytest.approx(score(*costs), abs=1e-12)
    # The cost of a kWh times what was used is the cost.
    used = days.jobs.power_kw @ days.jobs.hours
    assert found.terms["paid_eur_per_kwh"] * used == pytest.approx(costs[0].sum())


def test_terms_of_a_traders_cost_add_up(monkeypatch):
    from flexgym.envs.trader.simulation import COST_TERMS
    from flexgym.policies.trader import BelowValue

    task = task_of("trader")
    monkeypatch.setattr("flexgym.policies.learned_trader.LearnedTrader", _Played(BelowValue()))
    found = task.judge(object())
    assert sum(found.terms[name] for name in COST_TERMS) == pytest.approx(found.cost_eur)
    assert 0.0 < found.score < 100.0


def test_learners_of_a_market_are_judged_by_welfare_or_best_response(monkeypatch):
    from flexgym.envs.local_market.dynamics import ITEMS
    from flexgym.policies import local_market

    def judged(task, policy):
        monkeypatch.setattr(local_market, "LearnedOrders", _Played(policy))
        return task.judge(object())

    together = task_of("local-market", "welfare", 8)
    assert judged(together, UtilityOnly()).score == pytest.approx(0.0, abs=1e-9)
    found = judged(together, Truthful())
    assert found.score == pytest.approx(100.0, abs=1e-6)
    value, *costs = (found.terms[name] for name in ITEMS)
    assert found.cost_eur == pytest.approx(sum(costs) - value)

    alone = task_of("local-market", "learner-mid-price", 8)
    assert judged(alone, UtilityOnly()).score == pytest.approx(0.0, abs=1e-9)

    class BestResponse(Truthful):
        def orders(self, market):
            from flexgym.evaluate.local_market_play import best_orders

            return best_orders(market.hour, "mid-price")

    found = judged(alone, BestResponse())
    assert found.score == pytest.approx(100.0, abs=1e-9)
    assert judged(alone, Truthful()).score < 100.0


@pytest.mark.parametrize("env", SMALL)
def test_unknown_scenarios_are_named(env, tmp_path):
    with pytest.raises(ScenarioError, match=r"nowhere.*expected"):
        train(env, tmp_path / "run", options={"scenario": "nowhere"})
    file = config(tmp_path, env, env_kwargs={"share": "local"})
    with pytest.raises(ScenarioError, match="env_kwargs"):
        train(env, tmp_path / "run", config=file)
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.parametrize("env", SMALL)
def test_shaping_is_refused_where_it_does_not_belong(env, tmp_path):
    wrong = SHAPED["trader" if env != "trader" else "appliance"]
    file = config(tmp_path, env, vec_env_wrapper=[{wrong: {}}])
    with pytest.raises(ScenarioError, match="got a batch of"):
        train(env, tmp_path / "run", config=file)
