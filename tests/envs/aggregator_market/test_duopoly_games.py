"""The native batch of contests by turns plays what single environments play."""

import numpy as np
import pytest
from gymnasium.spaces import Discrete

from flexgym.envs import bus_competition_v0
from flexgym.envs.aggregator_market.competition import Duopoly
from flexgym.envs.aggregator_market.duopoly_games import (
    SCENARIOS,
    DuopolyGames,
    DuopolyRowsVectorEnv,
    forgetful,
    scenario,
)
from flexgym.envs.errors import ActionError, ScenarioError

SMALL = Duopoly(
    offers=(0.5, 0.6, 0.7, 0.8), herding=0.15, outside=0.6, buses=6, revisions=2, days=6
)
GAMES, SEED = 5, 11


@pytest.mark.parametrize("start", [None, (4, 1), "random"])
@pytest.mark.parametrize("game", [SMALL, SCENARIOS["herding"]])
def test_rows_play_what_single_environments_play(game, start):
    start = start if start != (4, 1) or game is SMALL else (20, 9)
    batch = DuopolyRowsVectorEnv(GAMES, game=game, start=start, standing=0.8)
    single = [
        bus_competition_v0.parallel_env(True, game=game, start=start, standing=0.8)
        for _ in range(GAMES)
    ]
    rng = np.random.default_rng(0)
    assert batch.single_action_space == Discrete(len(game.offers))
    seen, _ = batch.reset(seed=SEED)
    # Two games: the second goes on with the same generators.
    for seeds in ([SEED + i for i in range(GAMES)], [None] * GAMES):
        theirs = [env.reset(seed=s)[0] for env, s in zip(single, seeds, strict=True)]
        totals = np.zeros(2 * GAMES)
        for day in range(game.days):
            expected = np.array([list(one.values()) for one in theirs]).reshape(-1, 6)
            np.testing.assert_array_equal(seen, forgetful(expected))
            played = rng.integers(len(game.offers), size=2 * GAMES)
            seen, reward, over, cut, info = batch.step(played)
            for i, env in enumerate(single):
                actions = {a: env.as_action(played[2 * i + k]) for k, a in enumerate(env.agents)}
                theirs[i], rewards, *_, infos = env.step(actions)
                np.testing.assert_allclose(reward[2 * i : 2 * i + 2], list(rewards.values()))
                paid = (info.get("final_info") or info)["paid_eur"][2 * i : 2 * i + 2]
                np.testing.assert_allclose(paid, [one["paid_eur"] for one in infos.values()])
            totals += reward
            assert over.all() == (day == game.days - 1)
            assert not cut.any()
        last = np.array([list(one.values()) for one in theirs]).reshape(-1, 6)
        np.testing.assert_array_equal(info["final_obs"], last)
        np.testing.assert_allclose(info["final_info"]["totals"]["earned_eur"], totals)


def test_at_its_turn_nobody_sees_its_own_old_offer():
    games = DuopolyGames(SMALL, 1, standing=0.8)
    assert games.observe()[0, :, 2].tolist() == [0.0, 1.0]
    games.step(np.array([[0, 3]]))
    assert games.observe()[0, :, 2].tolist() == [-1.0, 0.0]
    assert games.observe()[0, :, 3].tolist() == [1.0, -1.0]


def test_bad_input_is_refused():
    batch = DuopolyRowsVectorEnv(2, game=SMALL)
    batch.reset(seed=0)
    for action in (-1, 4, 0.5, np.nan):
        with pytest.raises(ActionError):
            batch.step(np.full(4, action))
    with pytest.raises(ActionError, match="shape"):
        batch.step(np.zeros(2))
    games = DuopolyGames(SMALL, 1)
    for _ in range(SMALL.days):
        games.step(np.zeros((1, 2)))
    with pytest.raises(ActionError, match="end of a game"):
        games.step(np.zeros((1, 2)))
    with pytest.raises(ScenarioError, match="herding or loose"):
        scenario("calm")
    with pytest.raises(ScenarioError, match="start"):
        DuopolyRowsVectorEnv(2, game=SMALL, start="anywhere")
    with pytest.raises(ScenarioError, match="standing"):
        DuopolyRowsVectorEnv(2, game=SMALL, standing=0.55)
    with pytest.raises(ScenarioError, match="num_envs"):
        DuopolyRowsVectorEnv(0)
