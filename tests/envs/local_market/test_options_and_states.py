"""Seats in any order, batches with contracts, states of other options, and bad calls."""

import numpy as np
import pytest

from flexgym.envs import local_market_v0
from flexgym.envs.errors import ActionError, ContractError, OrderError, ScenarioError, StateError
from flexgym.envs.local_market.contract_trade import ContractTerms
from flexgym.envs.local_market.contracts import PriceFormula
from flexgym.envs.local_market.hierarchy import Hierarchy
from flexgym.envs.local_market.params import HOURS, Limits
from flexgym.envs.local_market.play import LocalMarketPlay, names
from flexgym.envs.local_market.vector_env import LocalMarketVectorEnv, ParticipantRowsVectorEnv


def test_learners_in_another_order_are_themselves():
    order = ["participant_3", "participant_1", "participant_2"]
    usual = local_market_v0.parallel_env(participants=3)
    mixed = local_market_v0.parallel_env(participants=3, learners=order)
    rows = ParticipantRowsVectorEnv(1, participants=3, learners=order)
    assert mixed.possible_agents == order
    first, _ = usual.reset(seed=2)
    second, _ = mixed.reset(seed=2)
    of_rows, _ = rows.reset(seed=2)
    rng = np.random.default_rng(0)
    for _ in range(HOURS):
        for k, name in enumerate(order):
            np.testing.assert_array_equal(first[name], second[name])
            np.testing.assert_array_equal(first[name], of_rows[k])
        played = {name: rng.uniform(-1.0, 1.0, 2) for name in names(3)}
        first, reward, _, _, infos = usual.step(played)
        second, other, _, _, others = mixed.step(played)
        of_rows, row_reward, *_ = rows.step(np.stack([played[name] for name in order]))
        assert reward == other
        assert infos == others
        assert row_reward.tolist() == [reward[name] for name in order]
        if usual.agents == []:
            break


def test_a_batch_with_contracts_plays_what_single_markets_play():
    options = {
        "participants": 5, "learners": 3,
        "contracts": ContractTerms(lead=2, supplement=PriceFormula(0.0, -0.1, 1.0)),
    }  # fmt: skip
    batch = LocalMarketVectorEnv(3, **options)
    singles = [local_market_v0.parallel_env(**options) for _ in range(3)]
    batch.reset(seed=5)
    for i, single in enumerate(singles):
        single.reset(seed=5 + i)
    rng, moved = np.random.default_rng(1), 0.0
    for _ in range(HOURS - 1):
        played = rng.uniform(-1.0, 1.0, (3, 3, 7))
        seen, _, _, _, info = batch.step(played)
        for i, single in enumerate(singles):
            own, reward, _, _, infos = single.step(dict(zip(single.agents, played[i], strict=True)))
            np.testing.assert_array_equal(np.concatenate(list(own.values())), seen[i])
            np.testing.assert_array_equal(list(reward.values()), info["agent_reward_eur"][i])
            moved += abs(infos["participant_1"]["contract_kwh"])
    assert moved > 0.1


BASE = {"participants": 6, "neighbourhoods": 2, "wholesale_margin_eur_per_kwh": 0.05}
WITH = {**BASE, "contracts": ContractTerms(lead=3)}


@pytest.mark.parametrize(
    ("made", "other"),
    [
        (BASE, {**BASE, "rule": "mid-price"}), (BASE, {**BASE, "position": 0.2}),
        (BASE, {**BASE, "neighbourhoods": 3}), (BASE, {**BASE, "fee_eur_per_kwh": 0.01}),
        (BASE, {**BASE, "wholesale_margin_eur_per_kwh": 0.06}), (BASE, {**BASE, "split": "test"}),
        (BASE, {**BASE, "limits": Limits(prosumer_share=0.2)}), (BASE, {**BASE, "days": [3]}),
        (BASE, {**BASE, "uncertainty": "none"}), (BASE, {**BASE, "learners": 2}), (BASE, WITH),
        (BASE, {**BASE, "learners": names(6)[::-1]}),
        (BASE, {**BASE, "neighbourhoods": Hierarchy((-1, 0, 0), (0.0,) * 3, (1, 1, 1, 2, 2, 2))}),
        (WITH, BASE), (WITH, {**BASE, "contracts": ContractTerms(lead=3, strike_share=0.4)}),
        (WITH, {**BASE, "contracts": ContractTerms(3, 0.5, PriceFormula(0.0, 0.1, 1.0))}),
    ],
)  # fmt: skip
def test_a_state_of_other_options_is_refused(made, other):
    env = local_market_v0.parallel_env(**made)
    env.reset(seed=0)
    wrong, right = local_market_v0.parallel_env(**other), local_market_v0.parallel_env(**made)
    with pytest.raises(StateError, match="same options"):
        wrong.restore_state(env.save_state())
    right.restore_state(env.save_state())
    np.testing.assert_array_equal(right.state(), env.state())


def test_a_damaged_state_is_refused_and_changes_nothing():
    env = local_market_v0.parallel_env(**WITH)
    env.reset(seed=0)
    for _ in range(3):
        env.step({agent: np.zeros(7) for agent in env.agents})
    saved, before = env.save_state(), env.state()
    bad = [
        {"t": 3.5}, {"t": True}, {"t": 25}, {"t": None}, {"seats": [0]}, {"made_of": None},
        {"uniform": saved["uniform"] + 1.0}, {"uniform": saved["uniform"] * np.nan},
        {"last": saved["last"] * np.nan}, {"last": "x"}, {"totals": saved["totals"] + np.inf},
        {"day": saved["day"] + 1000}, {"day": saved["day"] + 0.5}, {"memory": None},
        {"memory": {"x": "y"}}, {"memory": {"x": np.array([np.nan])}}, {"contracts": None},
        {"contracts": {**saved["contracts"], "prices": saved["contracts"]["prices"] * np.nan}},
        {"contracts": {**saved["contracts"], "forward_kwh": "x"}},
    ]  # fmt: skip
    for change in bad:
        with pytest.raises(StateError):
            env.restore_state({**saved, **change})
        np.testing.assert_array_equal(env.state(), before)


def test_a_refused_post_delivers_nothing():
    env = local_market_v0.parallel_env(**WITH)
    env.reset(seed=0)
    market, rng = env.play.market, np.random.default_rng(0)
    for _ in range(5):
        market.step(rng.uniform(-1.0, 1.0, (1, 6, 7)))
    before, good = market.contracts.save(), market.hour.limit
    assert before["forward_kwh"][market.t].any()
    for arguments, error in (
        ((good * np.nan,), OrderError), ((good[0],), OrderError), (("x",), OrderError),
        ((good[:, :3],), OrderError), ((good, "x"), ActionError), ((good, [0.5, 0.5]), ActionError),
        ((good, np.nan), ActionError), ((good, 1.0, [1, 2]), ActionError),
        ((good, 1.0, "x"), ActionError),
    ):  # fmt: skip
        with pytest.raises(error):
            market.post(*arguments)
    for name, array in before.items():
        np.testing.assert_array_equal(market.contracts.save()[name], array)


def test_bad_calls():
    env = local_market_v0.parallel_env(participants=3)
    for options in ("abc", 3, ["day"]):
        with pytest.raises(ScenarioError, match="mapping"):
            env.reset(options=options)
        with pytest.raises(ScenarioError, match="mapping"):
            LocalMarketVectorEnv(1, participants=3).reset(options=options)
    env.reset(seed=0)
    good = {agent: np.zeros(2) for agent in env.agents}
    for actions in (None, np.zeros((3, 2)), {**good, 1: np.zeros(2), "x": np.zeros(2)}):
        with pytest.raises(ActionError):
            env.step(actions)
    play = LocalMarketPlay(2, participants=3, learners=1)
    play.begin([np.random.default_rng(i) for i in range(2)])
    for actions in (np.zeros((2, 3)), np.zeros(4), np.zeros((4, 1)), "x"):
        with pytest.raises(ActionError):
            play.step(actions)
    for others in (
        lambda m: None, lambda m: (m.hour.limit, 1.0), lambda m: ("a", "b"), lambda: None,
        lambda m: (m.hour.limit[:1], m.hour.limit[:1]),
        lambda m: (m.hour.limit, 2.0 + 0.0 * m.hour.limit),
        lambda m: (np.nan * m.hour.limit, 0.0 * m.hour.limit),
    ):  # fmt: skip
        play = LocalMarketPlay(2, participants=3, learners=1, others=others)
        play.begin([np.random.default_rng(i) for i in range(2)])
        with pytest.raises(OrderError, match="expected"):
            play.step(np.zeros((2, 2)))
        assert play.market.t == 0


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"split": []}, ScenarioError), ({"position": "x"}, OrderError),
        ({"position": None}, OrderError), ({"rule": []}, OrderError),
        ({"wholesale_margin_eur_per_kwh": "x"}, ScenarioError),
        ({"fee_eur_per_kwh": "x"}, ScenarioError), ({"learners": [["a"]]}, ScenarioError),
        ({"others": "math:pi"}, ScenarioError), ({"limits": 0}, ScenarioError),
        ({"contracts": PriceFormula(0.0)}, (ScenarioError, ContractError)),
    ],
)  # fmt: skip
def test_bad_options(options, error):
    with pytest.raises(error, match="expected"):
        local_market_v0.parallel_env(participants=3, **options)
