"""Contests for buses as environments: they pay what the exact solutions say, and no more."""

from dataclasses import replace

import numpy as np
import pettingzoo
import pytest
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test

import flexgym  # noqa: F401
from flexgym.baselines.aggregator_market.duopoly import (
    alternating_equilibrium,
    best_response,
    play,
)
from flexgym.baselines.aggregator_market.membership import every_profile
from flexgym.envs import bus_competition_v0
from flexgym.envs.aggregator_market.competition import Contest, Duopoly, revise, revision
from flexgym.envs.errors import ActionError, PriceBoundError, ScenarioError, StateError

SMALL = Duopoly(
    offers=(0.5, 0.6, 0.7, 0.8), herding=0.15, outside=0.6, buses=6, revisions=2, days=6
)
START, STANDING, GAMES = (3, 2), 3, 500
Z99 = 2.576


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("outside", [None, 0.7])
def test_pettingzoo(repeated, outside):
    def options(kind):
        return lambda: kind(repeated, outside=outside)

    parallel_api_test(options(bus_competition_v0.parallel_env)(), num_cycles=70)
    parallel_seed_test(options(bus_competition_v0.parallel_env), num_cycles=30)
    api_test(options(bus_competition_v0.env)(), num_cycles=70)
    seed_test(options(bus_competition_v0.env), 30)


def test_registered():
    if hasattr(pettingzoo, "register"):
        env = pettingzoo.make("parallel", "flexgym/bus-competition-v0", repeated=True)
        assert env.possible_agents == ["aggregator_1", "aggregator_2"]
        env = pettingzoo.make("aec", "flexgym/bus-competition-v0")
        assert len(env.possible_agents) == 3


def shot(env, place, seed=0):
    env.reset(seed=seed)
    actions = {a: env.as_action(p) for a, p in zip(env.agents, place, strict=True)}
    return env.step(actions)


@pytest.mark.parametrize("trust", [(0.0, 0.0, 0.0), (0.05, -0.02)])
def test_the_equilibrium_pays_what_the_reference_says_and_nobody_gains_by_leaving(trust):
    env = bus_competition_v0.parallel_env(trust=trust)
    found = every_profile(env.game)
    place = found.least_regret
    assert found.regret_eur[place] == 0.0
    _, rewards, over, _, infos = shot(env, place)
    np.testing.assert_allclose(list(rewards.values()), found.earned_eur[place], rtol=1e-12)
    assert all(over.values())
    assert env.agents == []
    for k, agent in enumerate(env.possible_agents):
        for p in range(len(found.offers)):
            other = (*place[:k], p, *place[k + 1 :])
            assert shot(env, other)[1][agent] <= rewards[agent] + 1e-12
    money = sum(info["earned_eur"] + info["paid_eur"] for info in infos.values())
    share = sum(info["share"] for info in infos.values())
    assert money == pytest.approx(env.game.worth_eur * share, rel=1e-12)
    assert 0.5 < share < 1.0


def test_drawn_buses_agree_with_the_expectation():
    expected = bus_competition_v0.parallel_env(buses=8)
    sampled = bus_competition_v0.parallel_env(buses=8, sampled=True)
    place = (20, 30, 38)
    mean = np.array(list(shot(expected, place)[1].values()))
    sampled.reset(seed=5)
    drawn = np.array([list(shot(sampled, place, seed=None)[1].values()) for _ in range(2000)])
    half = Z99 * drawn.std(axis=0, ddof=1) / np.sqrt(len(drawn))
    assert (half > 0.0).all()
    assert (np.abs(drawn.mean(axis=0) - mean) <= half).all()


def test_what_an_aggregator_sees_of_one_shot():
    env = bus_competition_v0.parallel_env(trust=(0.1, 0.2, 0.3))
    seen, _ = env.reset(seed=0)
    np.testing.assert_allclose(seen["aggregator_2"], [1, 0, 0, 0.2, 0.3, 0.1], rtol=1e-6)
    assert len(env.observation_names("aggregator_2")) == 6
    seen, *_, infos = shot(env, (0, 0, 40))
    shares = [info["share"] for info in infos.values()]
    np.testing.assert_allclose(seen["aggregator_3"][:3], [0, shares[2], 1 - sum(shares)], atol=1e-6)


def test_in_turns_nobody_sees_an_offer_before_all_are_made():
    env = bus_competition_v0.env()
    env.reset(seed=0)
    before = env.observe("aggregator_3")
    env.step(np.array([1.0], dtype=np.float32))
    env.step(np.array([-1.0], dtype=np.float32))
    np.testing.assert_array_equal(env.observe("aggregator_3"), before)


@pytest.mark.parametrize("outside", [None, 0.6])
def test_a_revision_is_one_bus_that_thinks_again(outside):
    """Against a sum over single buses, each asked in turn."""
    game = Duopoly(SMALL.offers, 0.15, 0.1, outside, buses=6, revisions=2, days=6)
    offers = np.array([0.6, 0.8])
    for mine, yours in game.members:
        at = [0] * mine + [1] * yours + [2] * (6 - mine - yours)
        expected = np.zeros((3, 3))
        for b, here in enumerate(at):
            others = np.bincount(at[:b] + at[b + 1 :], minlength=3) / 5
            worth = np.array([0.6, 0.8, -np.inf if outside is None else outside]) + 0.15 * others
            chance = np.exp(worth / 0.1)
            expected[here] += chance / chance.sum() / 6
        got = revision(game, offers, np.bincount(at, minlength=3))
        np.testing.assert_allclose(got, expected, atol=1e-14)


def test_draws_follow_the_chances():
    """Over a fine grid of draws, each move happens as often as it should."""
    counts, offers = np.array([3, 2, 1]), np.array([0.6, 0.8])
    draws = (np.arange(20_000) + 0.5) / 20_000
    once = revise(SMALL, np.tile(offers, (20_000, 1)), np.tile(counts, (20_000, 1)), draws[:, None])
    assert (once.sum(axis=1) == 6).all()
    moves = revision(SMALL, offers, counts)
    for i in range(3):
        for j in range(3):
            if i != j:
                happened = (once - counts == np.eye(3)[j] - np.eye(3)[i]).all(axis=1).mean()
                assert happened == pytest.approx(moves[i, j], abs=1e-4)


def worth_from(game, strategy):
    """Worth of the strategies from each day on, to the mover and the other, (days + 1, s, g, 2)."""
    worth = np.zeros((game.days + 1, len(game.members), len(game.offers), 2))
    for d in range(game.days):
        rest = play(replace(game, days=game.days - d), strategy[d:])
        worth[d] = np.stack([rest.mover_eur, rest.other_eur], axis=-1)
    return worth


def day_by_day(env, strategy, games, worth, seed):
    """What both earn, less the luck of every day, in many games: shape (games, 2).

    The luck is what a day earned and promises more than was expected in the morning. Its mean is
    zero if, and only if, the solver expects what the environment does.
    """
    game, luck, totals = env.game, np.zeros((games, 2)), np.zeros((games, 2))
    for i in range(games):
        env.reset(seed=seed if i == 0 else None)
        for d in range(game.days):
            me, you = d % 2, 1 - d % 2
            assert env.mover == env.possible_agents[me]
            s = game.state(*env.buses[[me, you]])
            expected = worth[d, s, env.positions[you]]
            moved = env.as_action(strategy[d, s, env.positions[you]])
            ignored = env.as_action(i % len(game.offers))
            actions = (moved, ignored) if me == 0 else (ignored, moved)
            _, rewards, *_ = env.step(dict(zip(env.possible_agents, actions, strict=True)))
            earned = np.array(list(rewards.values()))
            tomorrow = worth[d + 1, game.state(*env.buses[[you, me]]), env.positions[me]]
            totals[i] += earned
            luck[i, [me, you]] += earned[[me, you]] + tomorrow[::-1] - expected
    return totals, luck


def in_interval(samples, mean):
    half = Z99 * samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    return (np.abs(samples.mean(axis=0) - mean) <= half).all()


@pytest.mark.parametrize("outside", [None, 0.6])
def test_perfect_play_is_worth_what_the_solver_says(outside):
    game = replace(SMALL, outside=outside)
    start = START if outside else (3, 3)
    env = bus_competition_v0.parallel_env(True, game=game, start=start, standing=0.8)
    found = alternating_equilibrium(game)
    worth = worth_from(game, found.choice)
    place = game.state(*start), STANDING
    value = np.array([found.mover_eur[place], found.other_eur[place]])
    np.testing.assert_allclose(worth[(0, *place)], value, rtol=1e-12)
    totals, luck = day_by_day(env, found.choice, GAMES, worth, seed=1)
    assert in_interval(totals, value)
    assert in_interval(luck, 0.0)


def test_the_reference_game_is_worth_what_the_solver_says():
    game = Duopoly(herding=0.2, outside=0.7, days=8, offers=(0.5, 0.6, 0.7, 0.8, 0.9))
    env = bus_competition_v0.parallel_env(True, game=game)
    found = alternating_equilibrium(game)
    place = game.state(16, 16), 2
    totals, luck = day_by_day(env, found.choice, 150, worth_from(game, found.choice), seed=2)
    assert in_interval(totals, [found.mover_eur[place], found.other_eur[place]])
    assert in_interval(luck, 0.0)


@pytest.mark.parametrize("player", [0, 1])
def test_no_deviation_beats_the_reference(player):
    """Against a perfect rival, nothing earns more through the environment than perfect play."""
    found = alternating_equilibrium(SMALL)
    place = SMALL.state(*START), STANDING
    best = best_response(SMALL, found.choice, player)
    earn = ("mover_eur", "other_eur")[player]
    reference = getattr(found, earn)[place]
    assert getattr(best, earn)[place] == pytest.approx(reference, rel=1e-12)
    env = bus_competition_v0.parallel_env(True, game=SMALL, start=START, standing=0.8)
    rng = np.random.default_rng(player)
    for deviation in ("random", *range(len(SMALL.offers))):
        mine = found.choice.copy()
        days = mine[player::2]
        days[:] = rng.integers(4, size=days.shape) if deviation == "random" else deviation
        worth = worth_from(SMALL, mine)
        _, luck = day_by_day(env, mine, 150, worth, seed=3)
        # What the environment pays in the mean is the exact worth of the deviation.
        assert in_interval(luck[:, player], 0.0)
        assert worth[(0, *place)][player] <= reference + 1e-9


def test_a_fixed_rival_is_exploited_as_far_as_the_best_response_says():
    """The most that a learner can earn; perfect play against perfect rivals earns less here."""
    rival = np.zeros((SMALL.days, len(SMALL.members), len(SMALL.offers)), dtype=np.int8)
    best = best_response(SMALL, rival, 1)
    place = SMALL.state(*START), STANDING
    assert best.other_eur[place] > play(SMALL, rival).other_eur[place] + 1.0
    env = bus_competition_v0.parallel_env(True, game=SMALL, start=START, standing=0.8)
    totals, luck = day_by_day(env, best.choice, 200, worth_from(SMALL, best.choice), seed=4)
    assert in_interval(totals, [best.mover_eur[place], best.other_eur[place]])
    assert in_interval(luck, 0.0)


def test_turns_and_parallel_are_one_game():
    parallel = bus_competition_v0.parallel_env(True, herding=0.2)
    turns = bus_competition_v0.env(True, herding=0.2)
    rng = np.random.default_rng(0)
    seen, _ = parallel.reset(seed=7)
    turns.reset(seed=7)
    sums = dict.fromkeys(parallel.possible_agents, 0.0)
    for d in range(30):
        mover = f"aggregator_{d % 2 + 1}"
        assert turns.agent_selection == mover
        for k, agent in enumerate(parallel.possible_agents):
            np.testing.assert_array_equal(turns.observe(agent), seen[agent])
            assert parallel.observation_space(agent).contains(seen[agent])
            np.testing.assert_allclose(seen[agent][4:], [1 - d / 30, k == d % 2], rtol=1e-6)
        actions = {a: rng.uniform(-1.0, 1.0, 1) for a in parallel.agents}
        seen, rewards, over, _, infos = parallel.step(actions)
        turns.step(actions[mover])
        assert turns.rewards == rewards
        for agent in sums:
            sums[agent] += rewards[agent]
        money = sum(info["earned_eur"] + info["paid_eur"] for info in infos.values())
        assert money == pytest.approx(322.291 * (1.0 - parallel.buses[2] / 32), rel=1e-12)
        assert parallel.buses.sum() == 32
    assert all(over.values())
    assert all(turns.terminations.values())
    for agent, total in sums.items():
        assert infos[agent]["totals"]["earned_eur"] == pytest.approx(total, rel=1e-12)


def test_all_that_is_seen_are_the_buses_offers_days_and_turn():
    env = bus_competition_v0.parallel_env(True, start=(20, 8), standing=0.80)
    seen, _ = env.reset(seed=0)
    np.testing.assert_allclose(seen["aggregator_1"], [20 / 32, 0.25, 0.5, 0.5, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(seen["aggregator_2"], [0.25, 20 / 32, 0.5, 0.5, 1, 0], rtol=1e-6)
    assert len(env.observation_names("aggregator_1")) == 6
    before = env.state()
    env.step({a: env.as_action(0) for a in env.agents})
    assert env.positions == [0, env.game.offers.index(0.80)]
    assert not np.array_equal(env.state(), before)


def test_random_starts_cover_states_and_offers():
    env = bus_competition_v0.parallel_env(True, game=SMALL, start="random")
    starts = set()
    for i in range(300):
        env.reset(seed=3 if i == 0 else None)
        starts.add((SMALL.state(*env.buses[:2]), env.positions[0]))
        assert env.buses.sum() == SMALL.buses
    assert len(starts) > 0.8 * len(SMALL.members) * len(SMALL.offers)


@pytest.mark.parametrize("kind", [bus_competition_v0.parallel_env, bus_competition_v0.raw_env])
def test_a_saved_game_goes_on_identically(kind):
    env = kind(True, herding=0.2)
    env.reset(seed=11)

    def go(env):
        if kind is bus_competition_v0.parallel_env:
            env.step({a: env.as_action(5) for a in env.agents})
        else:
            env.step(env.as_action(5))
        return env.state()

    for _ in range(7):
        go(env)
    saved = env.save_state()
    on = [go(env) for _ in range(5)]
    other = kind(True, herding=0.2)
    other.restore_state(saved)
    assert other.mover == "aggregator_2"
    np.testing.assert_array_equal([go(other) for _ in range(5)], on)
    with pytest.raises(StateError, match="rules"):
        kind(True, game=SMALL).restore_state(saved)
    with pytest.raises(StateError, match="rng"):
        other.restore_state({key: saved[key] for key in saved if key != "rng"})


def test_seeds():
    env = bus_competition_v0.parallel_env(True)

    def game(seed):
        env.reset(seed=seed)
        return [env.step({a: env.as_action(9) for a in env.agents})[1] for _ in range(30)]

    first = game(3)
    assert game(3) == first
    assert game(4) != first
    assert game(None) != game(None)


def test_bad_input_is_refused():
    for rules, error, match in [
        ({"offers": (0.5, 0.95)}, PriceBoundError, "0.9091"),
        ({"offers": (-0.1, 0.5)}, PriceBoundError, "from 0"),
        ({"offers": (0.6, 0.5)}, ScenarioError, "ascending"),
        ({"noise": 0.0}, ScenarioError, "noise"),
        ({"outside": np.nan}, ScenarioError, "outside"),
        ({"worth_eur": -1.0}, ScenarioError, "worth"),
        ({"buses": 0}, ScenarioError, "bus"),
        ({"cap": 1.0}, ScenarioError, "some of"),
        ({"render_mode": "human"}, ScenarioError, "render_mode"),
        ({"game": SMALL, "noise": 0.2}, ScenarioError, "rules"),
    ]:
        for repeated in (False, True):
            with pytest.raises(error, match=match):
                bus_competition_v0.parallel_env(repeated, **rules)
    for rules, match in [
        ({"start": "even"}, "start"),
        ({"start": (30, 3)}, "together"),
        ({"start": (10, 10, 12)}, "start"),
        ({"standing": 0.71}, "standing"),
        ({"game": Contest()}, "Duopoly"),
        ({"herding": np.inf}, "herding"),
    ]:
        with pytest.raises(ScenarioError, match=match):
            bus_competition_v0.parallel_env(True, **rules)
    with pytest.raises(ScenarioError, match="trust"):
        bus_competition_v0.parallel_env(trust=(0.0, np.nan))


@pytest.mark.parametrize("repeated", [False, True])
def test_bad_actions_are_refused(repeated):
    env = bus_competition_v0.parallel_env(repeated)
    with pytest.raises(ActionError, match="reset"):
        env.step({})
    env.reset(seed=0)
    good = {a: env.as_action(0) for a in env.agents}
    for bad in (np.zeros(2), np.array([1.01]), np.array([np.nan]), ["high"]):
        with pytest.raises(ActionError):
            env.step({**good, "aggregator_2": bad})
    with pytest.raises(ActionError, match="one of each"):
        env.step({"aggregator_1": np.zeros(1)})
    with pytest.raises(ActionError, match="position"):
        env.as_action(99)
    env.step(good)
    turns = bus_competition_v0.raw_env(True)
    turns.reset(seed=0)
    with pytest.raises(ActionError, match="aggregator_1"):
        turns.step(np.array([2.0]))
    turns.step(np.zeros(1))
    assert turns.agent_selection == "aggregator_2"
