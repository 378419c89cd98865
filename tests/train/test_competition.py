"""Competing aggregators learn together, are judged exactly, and take part in the benchmark."""

import json

import numpy as np
import pytest
import yaml

from flexgym.envs.aggregator_market import duopoly_games
from flexgym.envs.aggregator_market.competition import Duopoly
from flexgym.envs.errors import ScenarioError
from flexgym.evaluate.benchmark.arena import Setting
from flexgym.evaluate.benchmark.arenas.competition import CompetitionArena
from flexgym.evaluate.benchmark.entry import policy_of, run_entries, team_of
from flexgym.policies.competition import Equilibrium, Outbid, StandStill, strategy
from flexgym.policies.learned_competition import load_competitor
from flexgym.policies.runs import load_run
from flexgym.train.ship import ship
from flexgym.train.tasks.competition import CompetitionTask
from flexgym.train.training import train

GAME = Duopoly(
    offers=(0.5, 0.6, 0.7, 0.8, 0.9), herding=0.2, outside=0.7, buses=8, revisions=3, days=10
)
SMALL = {
    "policy": "MlpPolicy", "n_envs": 4, "n_steps": 10, "batch_size": 80, "n_timesteps": 320,
    "n_epochs": 1, "learning_rate": 1e-3, "policy_kwargs": "dict(net_arch=[8])",
    "vec_env_wrapper": [{"flexgym.train.wrappers.ScaledReward": {"scale": 0.01}}],
}  # fmt: skip


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The same games, small: the shipped ones take seconds to judge."""
    games = {"herding": GAME, "loose": Duopoly(**{**vars_of(GAME), "herding": 0.0})}
    monkeypatch.setattr(duopoly_games, "SCENARIOS", games)


def vars_of(game):
    return {name: getattr(game, name) for name in game.__dataclass_fields__}


def file_of(tmp_path, **changes):
    path = tmp_path / "competition.yml"
    path.write_text(yaml.safe_dump({CompetitionTask.env_id: {**SMALL, **changes}}))
    return path


def test_it_trains_resumes_ships_and_plays_in_the_benchmark(tmp_path):
    run, options = tmp_path / "run", {"config": file_of(tmp_path), "validation": 16}
    best = train("competition", run, timesteps=160, **options)
    again = train("competition", run, timesteps=320, resume=True, **options)
    state = json.loads((run / "state.json").read_text())
    assert state["frames"] == 320
    assert state["best_score"] == again >= best
    assert (run / "day.png").read_bytes().startswith(b"\x89PNG")
    # What plays from the light file is what was trained.
    light, heavy = (strategy(load_competitor(str(run / f)), GAME) for f in ("", "best.zip"))
    np.testing.assert_array_equal(light, heavy)
    task = CompetitionTask("ppo", SMALL, {})
    task.prepare(16, None, 1)
    found = task.judge(load_run(run).model)
    assert found.score == pytest.approx(again, abs=1e-9)

    setting = Setting("competition", "herding", 16)
    arena = CompetitionArena(setting, 0, tmp_path)
    entries = run_entries([str(run)])
    mine = next(one for one in team_of(setting, arena, entries).entries if one.origin == "run")
    played = arena.play(policy_of(mine, arena), slice(4, 16))
    assert played.cost_eur.shape == (12,)
    assert (played.cost_eur > 0.0).all()
    there = Setting("competition", "loose", 16)
    team = team_of(there, CompetitionArena(there, 0, tmp_path), entries)
    assert not [one for one in team.entries if one.origin == "run"]

    place = ship("competitor", run.parent, to=tmp_path / "weights")
    assert json.loads((place / "about.json").read_text())["settings"] == ["competition/herding"]


def test_references_score_0_and_100(tmp_path, monkeypatch):
    task = CompetitionTask("ppo", SMALL, {"scenario": "loose"})
    task.prepare(64, None, 1)
    played = {}
    for policy in (StandStill(), Outbid(), Equilibrium()):
        monkeypatch.setattr(
            "flexgym.policies.learned_competition.LearnedCompetitor", lambda m, n, p=policy: p
        )
        played[policy.name] = task.judge(object())
    assert played["stand still"].score == pytest.approx(0.0, abs=1e-9)
    found = played["equilibrium"]
    assert found.score == pytest.approx(100.0, abs=1e-9)
    assert found.gap_eur == pytest.approx(0.0, abs=1e-9)
    assert found.terms["collusion_percent"] == pytest.approx(0.0, abs=1e-9)
    other = played["outbid by a step"]
    assert other.score < 100.0
    assert other.cost_eur == other.terms["exploitability_eur"]


def test_arenas_and_tasks_judge_alike_and_parts_are_parts(tmp_path):
    from flexgym.train.task import VALIDATION_SEED

    arena = CompetitionArena(Setting("competition", "herding", 12), VALIDATION_SEED, tmp_path)
    assert {c.kind for c in arena.contenders.values()} == {"rule", "exact"}
    whole = arena.play(Outbid(), slice(0, 12))
    parts = [arena.play(Outbid(), slice(a, b)).cost_eur for a, b in ((0, 5), (5, 12))]
    np.testing.assert_array_equal(whole.cost_eur, np.concatenate(parts))
    task = CompetitionTask("ppo", SMALL, {})
    task.prepare(12, None, 1)
    assert task._play(Outbid()).exploitability_eur == pytest.approx(whole.cost_eur)
    drawn = [arena.contenders["random"].make(seed) for seed in (0, 1)]
    one, two = (arena.play(policy, slice(0, 12)).cost_eur for policy in drawn)
    assert (one != two).any()

    def outbid(seen):
        return np.minimum(seen[:, 3:4] + 0.5, 1.0)

    own = arena.play(arena.observed(outbid, "own"), slice(0, 12))
    np.testing.assert_array_equal(own.cost_eur, whole.cost_eur)


def test_what_does_not_fit_is_named(tmp_path):
    with pytest.raises(ScenarioError, match="herding or loose"):
        train("competition", tmp_path / "run", options={"scenario": "calm"})
    file = file_of(tmp_path, env_kwargs={"share": "local"})
    with pytest.raises(ScenarioError, match="env_kwargs"):
        train("competition", tmp_path / "run", config=file)
    assert not (tmp_path / "run" / "config.yaml").exists()
