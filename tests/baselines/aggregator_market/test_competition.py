"""Contests for buses: the reference's outcomes, and deviations that do not pay."""

import numpy as np
import pytest

from flexgym.baselines.aggregator_market.duopoly import (
    Duopoly,
    alternating_equilibrium,
    best_response,
    exploitability,
    offers_paid,
    play,
)
from flexgym.baselines.aggregator_market.membership import OFFERS, membership
from flexgym.envs.errors import ScenarioError


def of(got, place):
    return got.offers[list(place)], got.earned_eur[tuple(place)]


def test_one_contest_without_outside_option():
    got = membership(outside=None)
    assert len(got.equilibria) == 1
    offers, earned = of(got, got.equilibria[0])
    np.testing.assert_allclose(offers, 0.85)
    np.testing.assert_allclose(earned, 16.1, atol=0.05)
    offers, earned = of(got, got.cartel)
    np.testing.assert_allclose(offers, 0.50)
    np.testing.assert_allclose(earned, 53.7, atol=0.05)


def test_tastes_that_hardly_differ_drive_offers_to_the_cap():
    got = membership(noise=0.05, outside=None)
    np.testing.assert_array_equal(got.equilibria, [[len(OFFERS) - 1] * 3])


def test_one_contest_with_outside_option():
    got = membership(noise=0.1, outside=0.7)
    assert len(got.equilibria) == 2
    offers, earned = of(got, got.equilibria[0])
    np.testing.assert_allclose(offers, 0.85)
    np.testing.assert_allclose(earned, 15.0, atol=0.05)
    assert got.regret_eur[got.least_regret] == 0.0
    offers, earned = of(got, got.cartel)
    np.testing.assert_allclose(offers, 0.67)
    np.testing.assert_allclose(earned, 24.5, atol=0.06)


def test_the_regret_is_what_a_deviation_gains():
    got = membership(np.linspace(0.5, 0.9, 6), 0.08, 0.6, trust=(0.0, 0.05, -0.02))
    phi = got.offers

    def earned(profile, k):
        pull = np.exp(np.add(profile, (0.0, 0.05, -0.02)) / 0.08)
        share = pull / (pull.sum() + np.exp(0.6 / 0.08))
        return 322.291 * (1 - profile[k]) * share[k]

    rng = np.random.default_rng(0)
    for _ in range(20):
        place = rng.integers(6, size=3)
        gains = [
            earned([*phi[place[:k]], other, *phi[place[k + 1 :]]], k) - earned(phi[place], k)
            for k in range(3)
            for other in phi
        ]
        assert got.regret_eur[tuple(place)] == pytest.approx(max(gains), abs=1e-9)


# market-design.md 2(d): J/Jc, mean offer of days 3-20, even start, start with 28 of 32.
@pytest.mark.parametrize(
    ("herding", "offer", "even", "ahead"),
    [
        (0.0, 0.52, (79, 74), (82, 71)),
        (0.2, 0.55, (78, 68), (81, 64)),
        (0.3, 0.67, (68, 39), (89, 33)),
    ],
)
def test_the_repeated_duopoly_of_the_reference(herding, offer, even, ahead):
    game = Duopoly(herding=herding)
    standing = game.offers.index(0.70)
    found = alternating_equilibrium(game)
    for buses, values in (((16, 16), even), ((28, 4), ahead)):
        s = game.state(*buses)
        daily = np.array([found.mover_eur[s, standing], found.other_eur[s, standing]]) / 30
        np.testing.assert_allclose(daily, values, atol=0.55)
    paid = offers_paid(game, found.choice, game.state(16, 16), standing)
    assert paid[3:20].mean() == pytest.approx(offer, abs=0.01)


SMALL = Duopoly(
    offers=(0.5, 0.6, 0.7, 0.8), herding=0.15, outside=0.6, buses=6, revisions=2, days=6
)


@pytest.mark.parametrize("outside", [None, 0.6])
def test_nobody_gains_by_leaving_the_equilibrium(outside):
    game = Duopoly(SMALL.offers, 0.15, 0.1, outside, buses=6, revisions=2, days=6)
    found = alternating_equilibrium(game)
    again = play(game, found.choice)
    np.testing.assert_allclose(again.mover_eur, found.mover_eur, rtol=1e-12)
    np.testing.assert_allclose(again.other_eur, found.other_eur, rtol=1e-12)
    for gain in exploitability(game, found.choice):
        np.testing.assert_allclose(gain, 0.0, atol=1e-9)
    shy = np.zeros_like(found.choice)
    assert max(gain.max() for gain in exploitability(game, shy)) > 1.0


def test_a_best_response_beats_every_strategy_against_the_same_rival():
    rng = np.random.default_rng(3)
    shape = (SMALL.days, len(SMALL.members), len(SMALL.offers))
    rival = rng.integers(len(SMALL.offers), size=shape).astype(np.int8)
    best = best_response(SMALL, rival, 0)
    for _ in range(5):
        mine = rival.copy()
        mine[::2] = rng.integers(len(SMALL.offers), size=mine[::2].shape)
        played = play(SMALL, mine)
        assert (played.mover_eur <= best.mover_eur + 1e-9).all()
    np.testing.assert_array_equal(best.choice[1::2], rival[1::2])


def test_values_equal_a_simulation_of_single_buses():
    game, rng = SMALL, np.random.default_rng(7)
    found = alternating_equilibrium(game)
    offers, games = np.array(game.offers), 1200
    total = np.zeros((games, 2))
    for i in range(games):
        at, standing = np.array([0, 0, 0, 1, 1, 2]), [3, 3]
        for d in range(game.days):
            me, you = d % 2, 1 - d % 2
            state = game.state(int((at == me).sum()), int((at == you).sum()))
            standing[me] = int(found.choice[d, state, standing[you]])
            for _ in range(game.revisions):
                bus = rng.integers(6)
                share = np.bincount(np.delete(at, bus), minlength=3) / 5
                appeal = np.append(offers[standing], game.outside) + game.herding * share
                chance = np.exp(appeal / game.noise)
                at[bus] = rng.choice(3, p=chance / chance.sum())
            for k in (0, 1):
                total[i, k] += 322.291 * (1 - offers[standing[k]]) * (at == k).mean()
    s = game.state(3, 2)
    expected = np.array([found.mover_eur[s, 3], found.other_eur[s, 3]])
    half = 2.8 * total.std(axis=0, ddof=1) / np.sqrt(games)
    assert (np.abs(total.mean(axis=0) - expected) <= half).all()


def test_bad_games_are_refused():
    with pytest.raises(ScenarioError, match="noise"):
        membership(noise=0.0)
    with pytest.raises(ScenarioError, match="profiles"):
        membership(np.linspace(0.5, 0.9, 200))
    with pytest.raises(ScenarioError, match="ascending"):
        Duopoly((0.6, 0.5))
    with pytest.raises(ScenarioError, match="buses"):
        Duopoly(buses=0)
    for name, value in (
        ("noise", "loud"), ("noise", np.nan), ("noise", [0.1, 0.2]), ("outside", "home"),
        ("worth_eur", None), ("trust", "x"), ("trust", [[0.0]]), ("offers", "cheap"),
    ):  # fmt: skip
        with pytest.raises(ScenarioError, match=name):
            membership(**{name: value})
    for name in ("buses", "revisions", "days"):
        for value in (1.5, "two", True, None):
            with pytest.raises(ScenarioError, match=name):
                Duopoly(**{name: value})
    with pytest.raises(ScenarioError, match="herding"):
        Duopoly(herding="much")
    with pytest.raises(ScenarioError, match="together"):
        Duopoly().state(16, 15)
    with pytest.raises(ScenarioError, match="player"):
        best_response(SMALL, np.zeros(1), 2)
    with pytest.raises(ScenarioError, match="choice"):
        play(SMALL, np.zeros((1, 2, 3), np.int8))
    with pytest.raises(ScenarioError, match="positions"):
        play(SMALL, np.full((SMALL.days, len(SMALL.members), 4), 4, np.int8))
