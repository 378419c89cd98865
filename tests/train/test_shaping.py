"""Shaped rewards: whatever is done, they differ from the return by what nobody can change."""

import numpy as np
import pytest

from flexgym.envs.errors import ScenarioError
from flexgym.policies.appliance import Normal, Optimal, Replanned
from flexgym.policies.local_market import Truthful, UtilityOnly, rules
from flexgym.policies.trader import BelowValue, ForwardAtOnce, OptimalTrader, SpotOnly
from flexgym.train.shaping import FairValue, GainOverTruth, PlanRegret
from flexgym.train.task import task_class


def batch(env, wrapper, rows, scenario=None, **parameters):
    task = task_class(env)("ppo", {"n_envs": rows, **parameters}, {"scenario": scenario})
    return wrapper(task.vec_env(11), scale=1.0)


def played(env, act, begin=True):
    """Shaped return and return of a day of each row."""
    if begin:
        env.reset()
    shaped, done = np.zeros(env.num_envs), np.zeros(env.num_envs, dtype=bool)
    while not done.all():
        _, reward, done, infos = env.step(act())
        shaped += reward
    return shaped, np.array([info["episode"]["r"] for info in infos])


def same_mean(differences):
    """Whether the means of paired samples agree within four standard errors."""
    for one in differences[1:]:
        gap = one - differences[0]
        assert abs(gap.mean()) < 4.0 * gap.std() / np.sqrt(len(gap))


@pytest.mark.parametrize("scenario", ["interruptible", "uninterruptible"])
def test_news_is_taken_out_of_an_appliances_cost_and_nothing_else(scenario):
    """Of each kW, what is saved beside the first plan has the same mean, whatever is done."""
    env = batch("appliance", PlanRegret, 2048, scenario)
    simulation, found = env.simulation, {}
    for policy in (Normal(), Replanned(), Optimal()):
        env.seed(11)
        env.reset()
        plan, power = env._before[0], simulation.episodes.jobs.power_kw.copy()
        policy.begin(simulation)
        shaped, total = played(env, lambda p=policy: p.act(simulation), begin=False)
        found[policy.name] = shaped, plan + total / power
    same_mean([shaped - saved for shaped, saved in found.values()])
    normal, replanned, optimal = (shaped for shaped, _ in found.values())
    assert normal.mean() < replanned.mean() < optimal.mean()
    for shaped, saved in found.values():
        assert abs((shaped - saved).mean()) < 4.0 * (shaped - saved).std() / np.sqrt(2048)
    assert optimal.std() < 0.5 * found["optimal"][1].std()


def test_following_the_first_plan_when_nothing_is_uncertain_regrets_nothing():
    task = task_class("appliance")("ppo", {"n_envs": 32, "env_kwargs": {"uncertainty": "none"}}, {})
    env = PlanRegret(task.vec_env(3))
    policy, simulation = Optimal(), env.simulation
    env.reset()
    policy.begin(simulation)
    for _ in range(24):
        _, reward, _, _ = env.step(policy.act(simulation))
        np.testing.assert_allclose(reward, 0.0, atol=1e-6)


def test_what_traders_cannot_change_is_taken_out_and_nothing_else():
    """The difference to the return has the same mean for all, within four standard errors."""
    env = batch("trader", FairValue, 4096)
    differences = []
    for policy in (SpotOnly(), ForwardAtOnce(), BelowValue(), OptimalTrader()):
        env.seed(11)
        env.reset()
        policy.begin(env.simulation)
        env.seed(11)
        shaped, total = played(env, lambda p=policy: p.act(env.simulation))
        differences.append(shaped - total)
        if isinstance(policy, SpotOnly):
            np.testing.assert_allclose(shaped, 0.0, atol=1e-9)
        else:
            assert shaped.std() < 0.5 * total.std()
    same_mean(differences)


def test_exercising_at_a_loss_costs_what_is_lost():
    env = batch("trader", FairValue, 16)
    env.reset()
    simulation = env.simulation
    while simulation.trading:
        env.step(np.tile([-1.0, 1.0, -1.0], (16, 1)))
    above = simulation.expected_eur_per_kwh - simulation.strike_eur_per_kwh
    held, kwh = simulation.optioned.copy(), simulation.terms.lot_kwh
    assert (held > 0).all()
    _, reward, _, _ = env.step(np.ones((16, 3)))
    np.testing.assert_allclose(reward, kwh * held * np.minimum(above, 0.0), atol=1e-6)


@pytest.mark.parametrize("scenario", ["learner-uniform", "learner-pay-as-bid", "welfare"])
def test_gains_are_those_beside_the_truth(scenario):
    from flexgym.envs.local_market.dynamics import actions_from_orders

    world = {"env_kwargs": {"participants": 8}}
    totals = {}
    for policy in (UtilityOnly(), Truthful(), rules()[1]):
        env = batch("local-market", GainOverTruth, 6, scenario, **world)
        play = env.simulation
        env.reset()
        policy.begin(play.market)

        def act(play=play, policy=policy):
            orders = actions_from_orders(play.market.hour, *policy.orders(play.market))
            return orders[:, play.seats].reshape(-1, 2)

        env.seed(11)
        totals[policy.name] = played(env, act)
    truthful, truth = totals["truthful"]
    np.testing.assert_allclose(truthful, 0.0, atol=1e-6)
    for shaped, total in totals.values():
        np.testing.assert_allclose(shaped, total - truth, atol=1e-5)
    assert totals["utility only"][0].sum() < -0.01


def test_contracts_are_refused():
    from flexgym.envs.local_market.vector_env import ParticipantRowsVectorEnv
    from flexgym.train.vec_env import BatchedVecEnv

    markets = ParticipantRowsVectorEnv(2, participants=4, contracts=True)
    with pytest.raises(ScenarioError, match="contracts"):
        GainOverTruth(BatchedVecEnv(markets))
