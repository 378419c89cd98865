"""The operator in the benchmark: references, own policies, runs."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box

from flexgym.envs.errors import RunError
from flexgym.envs.feeder.operator_env import TERMS
from flexgym.evaluate import operator_play
from flexgym.evaluate.benchmark.arena import Setting, arena_class
from flexgym.policies.operator import ExactClearing, LearnedOperator, OwnChoices


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Two quarter-hours stand for a day: planning it takes seconds, a day of clearing many."""
    monkeypatch.setattr(operator_play, "STEPS_PER_DAY", 2)


@pytest.fixture(scope="module")
def arena():
    return arena_class("operator")(Setting("operator", "stress", 2, parts=2), 4, Path())


def idle(seen):
    return np.zeros((len(seen), 43))


def test_what_moves_nobody_is_everybodys_own_choice(arena):
    zero = arena.contenders[arena.zero].make(0)
    own = arena.play(zero, slice(0, 2))
    mine = arena.play(arena.observed(idle, "idle"), slice(1, 2))
    assert own.cost_eur.shape == own.violation.shape == (2,)
    np.testing.assert_array_equal(mine.cost_eur, own.cost_eur[1:])
    assert set(own.terms) == set(TERMS)
    np.testing.assert_allclose(sum(own.terms.values()), own.cost_eur)
    np.testing.assert_array_equal(own.terms["harm_eur"], 0.0)
    assert own.step_s >= 0.0


def test_a_price_of_nothing_is_no_price(arena):
    priced = SimpleNamespace(predict=idle, settings={"control": "price"})
    found = arena.play(arena.observed(priced, "priced"), slice(0, 1))
    np.testing.assert_array_equal(found.cost_eur, arena.play(OwnChoices(), slice(0, 1)).cost_eur)


def test_the_clearing_costs_no_more_than_own_choices(arena, monkeypatch):
    # In the first period both find the same menus; later their pasts differ.
    monkeypatch.setattr(operator_play, "STEPS_PER_DAY", 1)
    own, best = (
        arena.play(policy(), slice(0, 1)).cost_eur for policy in (OwnChoices, ExactClearing)
    )
    assert best <= own + 1e-6


class Still:
    """A model that moves nobody."""

    def __init__(self, seen):
        self.observation_space = Box(-np.inf, np.inf, (seen,))
        self.action_space = Box(-1.0, 1.0, (43,))

    def predict(self, observation, *, deterministic=False):
        assert deterministic
        return np.zeros(43, dtype=np.float32), None


def test_a_trained_policy_is_played_where_it_fits(arena):
    from flexgym.envs.feeder.operator_env import FeederOperatorEnv

    env = FeederOperatorEnv(scenario="stress", n_vertices=3)
    (size,) = env.observation_space.shape
    policy = LearnedOperator(Still(size), "still", {"n_vertices": 3, "uncertainty": "markov"})
    assert policy.settings == {"n_vertices": 3}
    found = arena.play(policy, slice(0, 1))
    np.testing.assert_array_equal(found.cost_eur, arena.play(OwnChoices(), slice(0, 1)).cost_eur)
    with pytest.raises(RunError, match="still expects observations"):
        arena.play(LearnedOperator(Still(size), "still", {}), slice(0, 1))


def test_runs_play_in_the_scenario_they_were_trained_for(arena):
    run = {"environment": "flexgym/Operator-v0", "algorithm": "ppo", "hyperparameters": {}}
    stress = Setting("operator", "stress", 1)
    assert arena.fits(stress, run)
    assert arena.fits(stress, {**run, "scenario": "stress"})
    assert not arena.fits(stress, {**run, "scenario": "calm"})


def test_settings_of_an_operator_leave_the_world_as_it_is():
    class Elsewhere(OwnChoices):
        settings: Mapping[str, Any] = {"scenario": "calm"}

    with pytest.raises(RunError, match="has the settings scenario"):
        operator_play.play_operator(Elsewhere(), 1, 0, {"scenario": "stress"})
