"""Trader-v0: interface, money against a clearing house, batches, saved states, bad input."""

import copy

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import flexgym  # noqa: F401
from flexgym.envs.errors import ActionError, ResetNeededError, ScenarioError, StateError
from flexgym.envs.forecasts.signals import SignalProcess
from flexgym.envs.local_market.clearing_house import ClearingHouse
from flexgym.envs.local_market.contracts import Forward, Option, PriceFormula
from flexgym.envs.trader.env import TraderEnv
from flexgym.envs.trader.params import TraderTerms
from flexgym.envs.trader.scenario import TraderScenario
from flexgym.envs.trader.simulation import COST_TERMS, OUTCOME_NAMES, TraderSimulation
from flexgym.envs.trader.vector_env import TraderVectorEnv
from flexgym.envs.uncertainty import MarkovChain

ID = "flexgym/Trader-v0"
NOISY = SignalProcess(
    [0.3, 0.7], [[0.6, 0.4], [0.2, 0.8]], np.linspace(-0.1, 0.6, 16).reshape(8, 2),
    [-0.05, 0.05], [0.5, 0.5],
)  # fmt: skip
SMALL = TraderTerms(need_lots=5, lot_kwh=0.4, first_delivery=5, delivery_hours=3, strike_ratio=0.9)
OPTIONS = [
    {},
    {"split": "test", "uncertainty": "markov"},
    {"days": [3, 200], "uncertainty": "none"},
    {"terms": SMALL, "uncertainty": NOISY},
    {"terms": TraderTerms(forward_depth=0, need_lots=1), "uncertainty": "autoregressive"},
]


def make(**options):
    return gym.make(ID, **options).unwrapped


@pytest.mark.parametrize("options", OPTIONS)
def test_gymnasium_and_sb3_accept_it(options):
    check_env(make(**options), skip_render_check=True)
    sb3_check_env(make(**options), warn=True)


@pytest.mark.parametrize("options", OPTIONS)
def test_same_seed_same_trajectory_and_rewards_add_up(options):
    def play(seed):
        env = make(**options)
        env.action_space.seed(1)
        seen = [env.reset(seed=seed)]
        for _ in range(2):
            done, total, terms = False, 0.0, 0.0
            while not done:
                obs, reward, done, truncated, info = env.step(env.action_space.sample())
                assert obs in env.observation_space
                assert not truncated
                assert set(info) == set(OUTCOME_NAMES)
                assert reward == -info["cost_eur"]
                total += reward
                terms += sum(info[name] for name in COST_TERMS)
                seen.append((obs, reward, done, info))
            assert total == pytest.approx(-terms, abs=1e-12)
            assert env.simulation.cost_eur[0] == pytest.approx(-total, abs=1e-12)
            seen.append(env.reset())
        return seen

    first, second = play(11), play(11)
    assert len(first) == 2 * make(**options).simulation.terms.hours + 3
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a[0], b[0])
        assert a[1:] == b[1:]
    other = [play(seed) for seed in (12, 13, 14)]
    assert any(a[1:] != b[1:] for seen in other for a, b in zip(first, seen, strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_the_cost_is_what_a_clearing_house_would_settle(seed):
    """Every purchase becomes real contracts with a dealer; at the end cash is minus the cost."""
    env = make(terms=SMALL, uncertainty=NOISY)
    _, start = env.reset(seed=seed)
    simulation, terms = env.simulation, SMALL
    house = ClearingHouse()
    for name in ("trader", "dealer"):
        house.join(name)
    house.quote(0.0, 0.0)
    rng, count = np.random.default_rng(seed), 0
    hours = range(terms.first_delivery, terms.hours)
    held = {h: [] for h in hours}
    while not simulation.done:
        t, trading = simulation.t, simulation.trading
        quotes = [float(q[0]) for q in simulation.quoted] if trading else []
        *_, info = env.step(rng.uniform(-1.0, 1.0, 3))
        if trading:
            for h in hours:
                count += 1
                kwh = info["forward_lots"] * terms.lot_kwh
                price = PriceFormula(quotes[0])
                house.strike(Forward(f"f{count}", "dealer", "trader", h, kwh, price))
                kwh = info["option_lots"] * terms.lot_kwh
                call = Option(
                    f"o{count}", "dealer", "trader", h, h, kwh, start["strike_eur_per_kwh"],
                    quotes[1],
                )  # fmt: skip
                house.sell(call)
                held[h].append(call)
            house.close({})
            continue
        left = info["exercised_lots"] * terms.lot_kwh
        for call in held[t]:
            part = min(left, call.volume_kwh)
            house.exercise(call.id, "trader", part)
            left -= part
        assert left == pytest.approx(0.0, abs=1e-12)
        house.settle({"dealer": 100.0})
        spot = info["spot_lots"] * terms.lot_kwh
        house.trade("dealer", "trader", spot, info["price_eur_per_kwh"])
        need = terms.need_lots * terms.lot_kwh
        assert house.ledger.energy_kwh["trader"] == pytest.approx(need)
        house.close({"trader": need, "dealer": -need})
    assert house.ledger.cash_eur["trader"] == pytest.approx(-simulation.cost_eur[0], abs=1e-12)
    assert house.ledger.cash_eur["utility"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("options", OPTIONS)
def test_a_row_of_the_batch_is_the_single_environment(options):
    batch = gym.make_vec(ID, num_envs=4, vectorization_mode="vector_entry_point", **options)
    singles = [make(**options) for _ in range(4)]
    rng = np.random.default_rng(0)
    seen, info = batch.reset(seed=20)
    for i, env in enumerate(singles):
        obs, own = env.reset(seed=20 + i)
        assert np.array_equal(seen[i], obs)
        assert own["day"] == info["day"][i]
    for _ in range(2 * singles[0].simulation.terms.hours):
        action = rng.uniform(-1.0, 1.0, (4, 3))
        seen, reward, done, _, info = batch.step(action)
        for i, env in enumerate(singles):
            obs, own, over, _, each = env.step(action[i])
            last = info["final_info"] if over else info
            assert all(last[name][i] == each[name] for name in OUTCOME_NAMES)
            assert (own, over) == (reward[i], done[i])
            assert np.array_equal(info["final_obs"][i] if over else seen[i], obs)
            if over:
                assert np.array_equal(env.reset()[0], seen[i])


def test_saved_and_restored():
    env, rng = make(), np.random.default_rng(3)
    env.reset(seed=5)
    for _ in range(9):
        env.step(rng.uniform(-1, 1, 3))
    saved = copy.deepcopy(env.save_state())
    actions = rng.uniform(-1, 1, (9, 3))

    def rest(env):
        steps = [env.step(action)[:3] for action in actions]
        return [*steps, env.reset()]

    first = rest(env)
    other = make()
    other.reset(seed=77)
    other.restore_state(saved)
    for a, b in zip(first, rest(other), strict=True):
        assert np.array_equal(a[0], b[0])
        assert a[1:] == b[1:]
    batch = TraderVectorEnv(3)
    batch.reset(seed=1)
    batch.step(np.zeros((3, 3)))
    kept = copy.deepcopy(batch.save_state())
    ahead = [batch.step(np.full((3, 3), 0.5))[:2] for _ in range(20)]
    twin = TraderVectorEnv(3)
    twin.restore_state(kept)
    for a, b in zip(ahead, [twin.step(np.full((3, 3), 0.5))[:2] for _ in range(20)], strict=True):
        assert np.array_equal(a[0], b[0])
        assert np.array_equal(a[1], b[1])
    for wrong in (
        None, {}, {**saved, "t": 40}, {**saved, "covered": np.zeros(2)}, {**saved, "rng": None},
        {**saved, "rng": [1]}, {**saved, "t": 3.5}, {**saved, "t": True},
        {**saved, "covered": np.array([9])}, {**saved, "covered": np.array([-1])},
        {**saved, "covered": np.array([0.5])}, {**saved, "optioned": np.array([8])},
        {**saved, "signal": saved["signal"] + 99}, {**saved, "row": np.array([10_000])},
        {**saved, "quote": saved["quote"] - 99}, {**saved, "day": saved["day"] + 1},
        {**saved, "price_eur_per_kwh": saved["price_eur_per_kwh"] * np.nan},
        {**saved, "outcome": saved["outcome"] + np.inf}, {**saved, "cost_eur": ["x"]},
        {k: v for k, v in saved.items() if k != "quote"}, kept,
    ):  # fmt: skip
        with pytest.raises(StateError, match=r"expected|damaged"):
            other.restore_state(wrong)
    with pytest.raises(StateError):
        make(terms=SMALL).restore_state(saved)


def test_lots_and_actions_are_inverse_and_never_leave_the_need():
    simulation = TraderSimulation(TraderScenario.create(), 300)
    simulation.begin([np.random.default_rng(i) for i in range(300)])
    rng, N = np.random.default_rng(0), simulation.terms.need_lots
    while not simulation.done:
        open_lots = N - simulation.covered - simulation.optioned
        wanted = np.zeros((3, 300), dtype=int)
        if simulation.trading:
            wanted[0] = rng.integers(0, np.minimum(2, open_lots) + 1)
            wanted[1] = rng.integers(0, np.minimum(2, open_lots - wanted[0]) + 1)
        else:
            wanted[2] = rng.integers(0, simulation.optioned + 1)
        out = simulation.step(simulation.action(*wanted).astype(np.float32))
        np.testing.assert_array_equal(out[:, :3].T, wanted)
        assert (simulation.covered + simulation.optioned <= N).all()
    full = np.ones((300, 3))
    simulation.begin([np.random.default_rng(i) for i in range(300)])
    while simulation.trading:
        simulation.step(full)
    np.testing.assert_array_equal(simulation.covered + simulation.optioned, N)


def test_quotes_are_the_value_times_their_factor():
    scenario = TraderScenario.create(SMALL, uncertainty=NOISY)
    quotes, (forward, option) = scenario.quotes, scenario.quote_factors
    block = np.nanmean([NOISY.forecasts[:5, :, h] for h in (5, 6, 7)], axis=0)
    np.testing.assert_allclose(quotes.block[0], block)
    np.testing.assert_allclose(quotes.forward[0], block[..., None] * forward + 0.004)
    # at the last hour of trading by hand: one step to the first hour of delivery
    later = [NOISY.transition[4]]
    for h in (5, 6):
        later.append(later[-1] @ NOISY.transition[h])
    strike = 0.9 * np.mean([NOISY.marginal[h] @ NOISY.price_eur_per_kwh[h] for h in (5, 6, 7)])
    assert quotes.strike[0] == pytest.approx(strike)
    gain = [(NOISY.price_eur_per_kwh[h] - strike).clip(0) for h in (5, 6, 7)]
    call = np.mean([step @ each for step, each in zip(later, gain, strict=True)], axis=0)
    np.testing.assert_allclose(quotes.call[0, 4], call)
    np.testing.assert_allclose(quotes.premium[0, 4], call[:, None] * option + 0.001)


def test_what_a_trader_sees_by_hand():
    env = make(terms=SMALL, uncertainty=NOISY)
    env.reset(seed=3)
    simulation, quotes = env.simulation, env.simulation.scenario.quotes
    for action in ([1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]):
        seen, *_ = env.step(np.array(action))
    t, s = 2, int(simulation.episodes.signal[0, 2])
    q, strike = int(simulation.episodes.quote[0, 2]), quotes.strike[0]
    forward, option = simulation.scenario.quote_factors
    block, call = quotes.block[0, t, s], quotes.call[0, t, s]
    expected = [
        2 / 8, 3 / 5, 0.0, (NOISY.price_eur_per_kwh[t, s] - strike) / 0.1, (block - strike) / 0.1,
        call / 0.1, (block * (forward[q] - 1) + 0.004) / 0.01,
        (call * (option[q] - 1) + 0.001) / 0.01, strike / 0.1, 2 / 5, 2 / 5, 1 / 5,
    ]  # fmt: skip
    np.testing.assert_allclose(seen, expected, rtol=1e-6)
    for _ in range(3):
        seen, *_ = env.step(np.full(3, -1.0))
    s = int(simulation.episodes.signal[0, 5])
    price = (NOISY.price_eur_per_kwh[5, s] - strike) / 0.1
    expected = [5 / 8, 0.0, 1.0, price, 0.0, 0.0, 0.0, 0.0, strike / 0.1, 0.4, 0.4, 0.2]
    np.testing.assert_allclose(seen, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"split": "holiday"}, {"days": 400}, {"days": []}, {"days": [1.5]}, {"prices": 0.3},
        {"uncertainty": "fuzzy"}, {"uncertainty": lambda curve: curve}, {"terms": {"need_lots": 3}},
        {"uncertainty": NOISY}, {"uncertainty": NOISY, "days": 3, "terms": SMALL},
        {"uncertainty": lambda curve: SignalProcess.autoregressive(curve, curve[0], 0.1)},
    ],
)  # fmt: skip
def test_bad_options_are_refused(options):
    with pytest.raises(ScenarioError, match="expected"):
        make(**options)


def test_only_pictures_as_arrays_are_rendered():
    with pytest.raises(ScenarioError, match="expected None or"):
        TraderEnv(render_mode="human")


@pytest.mark.parametrize(
    "terms",
    [
        {"need_lots": 0}, {"need_lots": 1.5}, {"lot_kwh": 0.0}, {"lot_kwh": np.nan},
        {"first_delivery": 0}, {"delivery_hours": 0}, {"forward_depth": -1},
        {"option_depth": True}, {"spread_eur_per_kwh": -0.1}, {"strike_ratio": np.inf},
        {"forward_quote": (1.0,)},
    ],
)  # fmt: skip
def test_bad_terms_are_refused(terms):
    with pytest.raises(ScenarioError, match="expected"):
        TraderTerms(**terms)


def test_numpy_s_numbers_are_numbers():
    terms = TraderTerms(need_lots=np.int32(8), lot_kwh=np.float32(0.5), strike_ratio=1)
    assert repr(terms) == repr(TraderTerms())


def test_bad_calls_are_refused():
    env = make()
    with pytest.raises(ResetNeededError):
        _ = env.simulation.covered
    with pytest.raises(ActionError):
        env.step(np.zeros(3))
    env.reset(seed=0)
    for action in (np.zeros(2), np.full(3, 1.1), np.full(3, np.nan), ["a"] * 3, np.zeros((1, 3))):
        with pytest.raises(ActionError, match="expected"):
            env.step(action)
    for options in (
        "abc",
        3,
        {"soc": 1},
        {1: 2, "x": 3},
        {"day": 1.5},
        {"day": [1, 2]},
        {"day": 3000},
    ):
        with pytest.raises(ScenarioError, match="expected"):
            env.reset(options=options)
    assert (
        env.reset(options={"day": int(env.simulation.scenario.days[4])})[1]["day"]
        == (env.simulation.scenario.days[4])
    )
    for lots in ((3, 0, 0), (0, 0, 1), (-1, 0, 0)):
        with pytest.raises(ActionError, match="expected 0 to"):
            env.simulation.action(*lots)
    for number in (0, True, 1.5):
        with pytest.raises(ScenarioError):
            TraderVectorEnv(number)


def test_the_picture_shows_the_day_so_far():
    env = make(render_mode="rgb_array")
    env.reset(seed=1)
    before = env.render()
    for _ in range(15):
        env.step(np.full(3, 0.4))
    after = env.render()
    assert before.shape == after.shape
    assert (before != after).mean() > 0.01
    assert make().render() is None


def test_one_quote_only_and_no_depth():
    still = MarkovChain((1.0,), ((1.0,),))
    terms = TraderTerms(forward_quote=still, option_quote=still, option_depth=0)
    env = make(terms=terms)
    env.reset(seed=0)
    *_, info = env.step(np.ones(3))
    assert (info["forward_lots"], info["option_lots"]) == (2.0, 0.0)
