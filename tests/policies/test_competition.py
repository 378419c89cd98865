"""Strategies of the contest by turns: rules do what they say, and are worth what it says."""

from dataclasses import replace

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from flexgym.baselines.aggregator_market.duopoly import (
    alternating_equilibrium,
    best_response,
    cartel,
    exploitability,
    play,
    worth_to,
)
from flexgym.envs import bus_competition_v0
from flexgym.envs.aggregator_market.competition import Duopoly
from flexgym.envs.aggregator_market.duopoly_games import DuopolyGames, forgetful
from flexgym.envs.errors import ActionError, RunError, ScenarioError
from flexgym.evaluate.competition import earnings, places, reference
from flexgym.policies.competition import (
    Ahead,
    Equilibrium,
    Outbid,
    RandomOffers,
    StandStill,
    Turn,
    competition_rules,
    strategy,
)
from flexgym.policies.learned_competition import LearnedCompetitor

GAME = Duopoly(offers=(0.5, 0.6, 0.7, 0.8), herding=0.15, outside=0.6, buses=6, revisions=2, days=6)
PLACES = places(GAME, 200, 0)


def judged(policy):
    return earnings(reference(GAME), strategy(policy, GAME), PLACES)


def test_a_turn_shows_what_games_show():
    """Every state of a day as the batch of games shows it to the one whose turn it is."""
    games = DuopolyGames(GAME, Turn(GAME, 0).n)
    for day in (0, 3):
        turn, mover = Turn(GAME, day), day % 2
        games.day = day
        buses = GAME.members.repeat(4, axis=0)
        games.buses[:, mover], games.buses[:, 1 - mover] = buses.T
        games.buses[:, 2] = 6 - buses.sum(axis=1)
        games.positions[:, 1 - mover] = turn.rival
        games.positions[:, mover] = np.arange(turn.n) % 3  # makes no difference
        np.testing.assert_array_equal(turn.observe(), games.observe()[:, mover])
        assert (turn.observe()[:, 5] == 1.0).all()


def test_rules_offer_what_they_say():
    rival = np.arange(4)
    assert (strategy(StandStill(), GAME) == 2).all()
    np.testing.assert_array_equal(strategy(Outbid(), GAME)[3, 5], [1, 2, 3, 3])
    found = alternating_equilibrium(GAME)
    np.testing.assert_array_equal(strategy(Equilibrium(), GAME), found.choice)
    myopic, ahead = strategy(Ahead(1, "myopic"), GAME), strategy(Ahead(4, "ahead"), GAME)
    for day in range(GAME.days):
        np.testing.assert_array_equal(myopic[day], found.choice[-1])
    np.testing.assert_array_equal(ahead[2:], found.choice[2:])
    np.testing.assert_array_equal(ahead[0], found.choice[2])
    drawn = strategy(RandomOffers(1), GAME)
    np.testing.assert_array_equal(drawn, strategy(RandomOffers(1), GAME))
    assert (drawn != strategy(RandomOffers(2), GAME)).any()
    assert set(rival) == set(np.unique(drawn))


def test_myopic_offers_are_best_for_a_day():
    game = replace(GAME, days=1)
    choice = strategy(Ahead(1, "myopic"), GAME)[:1]
    best = play(game, choice).mover_eur
    for p in range(4):
        assert (play(game, np.full_like(choice, p)).mover_eur <= best + 1e-12).all()


def test_the_equilibrium_earns_most_against_itself_and_cannot_be_exploited():
    best = judged(Equilibrium())
    np.testing.assert_allclose(best.exploitability_eur, 0.0, atol=1e-9)
    assert best.collusion_percent == pytest.approx(0.0, abs=1e-9)
    assert best.against_percent == pytest.approx(100.0)
    assert judged(StandStill()).against_percent == pytest.approx(0.0, abs=1e-9)
    for policy in (*competition_rules(), RandomOffers(0)):
        found = judged(policy)
        assert (found.first_eur <= best.first_eur + 1e-9).all()
        assert (found.second_eur <= best.second_eur + 1e-9).all()
        assert (found.exploitability_eur >= -1e-9).all()
        assert found.exploitability_eur.mean() > 0.1


def test_earnings_are_those_of_the_solver():
    choice, solved = strategy(Outbid(), GAME), alternating_equilibrium(GAME)
    found, at = judged(Outbid()), (PLACES.state, PLACES.standing)
    first, second = solved.choice.copy(), solved.choice.copy()
    first[::2], second[1::2] = choice[::2], choice[1::2]
    np.testing.assert_allclose(found.first_eur, play(GAME, first).mover_eur[at], rtol=1e-12)
    np.testing.assert_allclose(found.second_eur, play(GAME, second).other_eur[at], rtol=1e-12)
    gains = [gain[at] for gain in exploitability(GAME, choice)]
    np.testing.assert_allclose(found.exploitability_eur, np.mean(gains, axis=0), rtol=1e-12)
    now = play(GAME, choice)
    np.testing.assert_allclose(found.together_eur, (now.mover_eur + now.other_eur)[at], rtol=1e-12)
    least, most = judged(StandStill()), judged(Equilibrium())
    earned = [float((one.first_eur + one.second_eur).sum()) for one in (least, found, most)]
    place = 100.0 * (earned[1] - earned[0]) / (earned[2] - earned[0])
    assert found.against_percent == pytest.approx(place)
    assert found.terms.keys() == vars(found).keys()
    assert {len(values) for values in found.terms.values()} == {200}
    for player, name in enumerate(("mover_eur", "other_eur")):
        alone = worth_to(GAME, choice, player)
        np.testing.assert_array_equal(alone, getattr(now, name))
        best = getattr(best_response(GAME, choice, player), name)
        np.testing.assert_allclose(gains[player], (best - alone)[at], rtol=1e-9, atol=1e-9)
    with pytest.raises(ScenarioError, match="player"):
        worth_to(GAME, choice, 2)


def test_nobody_earns_more_together_than_the_cartel():
    most = cartel(GAME)
    together = most.mover_eur + most.other_eur
    again = play(GAME, most.choice)
    np.testing.assert_allclose(together, again.mover_eur + again.other_eur, rtol=1e-12)
    for seed in range(5):
        drawn = play(GAME, strategy(RandomOffers(seed), GAME))
        assert (drawn.mover_eur + drawn.other_eur <= together + 1e-9).all()
    solved = alternating_equilibrium(GAME)
    assert (solved.mover_eur + solved.other_eur <= together + 1e-9).all()
    assert earnings(reference(GAME), most.choice, PLACES).collusion_percent == pytest.approx(100.0)


class Model:
    """Stands in for a network: answers with what was last seen of the rival, plus one."""

    observation_space = Box(-1.0, 1.0, (6,), np.float32)
    action_space = Discrete(4)

    def predict(self, seen, deterministic):
        assert deterministic
        assert not seen[seen[:, 5] > 0.5, 2].any()
        return np.minimum(np.rint((seen[:, 3] + 1.0) * 1.5).astype(int) + 1, 3), None


def test_learned_policies_play_in_the_environment_and_as_strategies():
    policy = LearnedCompetitor(Model(), "mine")
    np.testing.assert_array_equal(strategy(policy, GAME), strategy(Outbid(), GAME))
    env = bus_competition_v0.parallel_env(True, game=GAME, start=(3, 2), standing=0.5)
    seen, _ = env.reset(seed=0)
    for offer in (0.6, 0.7, 0.8):
        mover = env.mover
        actions = {agent: policy.respond(seen[agent][None])[0] for agent in env.agents}
        seen, *_, infos = env.step(actions)
        assert infos[mover]["offer"] == offer


def test_what_does_not_fit_is_refused():
    class Other(Model):
        observation_space = Box(-1.0, 1.0, (5,), np.float32)

    class Continuous(Model):
        action_space = Box(-1.0, 1.0, (1,), np.float32)

    for model in (Other(), Continuous()):
        with pytest.raises(RunError, match="flexgym train competition"):
            LearnedCompetitor(model, "mine")
    with pytest.raises(RunError, match="4 offers"):
        strategy(LearnedCompetitor(Model(), "mine"), Duopoly(outside=0.7))

    class Wild(StandStill):
        def act(self, turn):
            return np.full((turn.n, 1), 1.5)

    class Short(StandStill):
        def act(self, turn):
            return np.zeros((turn.n - 1, 1))

    for policy in (Wild(), Short()):
        with pytest.raises(ActionError, match="stand still"):
            strategy(policy, GAME)


def test_own_offers_are_forgotten_at_ones_turn_only():
    seen = np.arange(12, dtype=np.float32).reshape(2, 6)
    seen[:, 5] = [1.0, 0.0]
    found = forgetful(seen)
    np.testing.assert_array_equal(found[1], seen[1])
    np.testing.assert_array_equal(found[0], [0, 1, 0, 3, 4, 1])
    assert seen[0, 2] == 2.0
