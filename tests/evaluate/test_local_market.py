"""``flexgym evaluate local-market``: tables, references, pictures, and bad input."""

import csv
import json

import numpy as np
import pytest

from flexgym.baselines.local_market.deviations import best_deviation
from flexgym.cli import main
from flexgym.envs.local_market.dynamics import actions_from_orders, orders_from_actions
from flexgym.envs.local_market.params import RULES
from flexgym.envs.local_market.scenario import LocalMarketScenario
from flexgym.evaluate.local_market import PARTICIPANTS
from flexgym.evaluate.local_market_play import (
    LEARNER,
    begun,
    best_orders,
    best_response,
    best_welfare,
    gini,
    jain,
    play,
    truth_gap_percent,
)
from flexgym.policies.local_market import Shading, Truthful, UtilityOnly


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    document = folder / "local-market.md"
    document.write_text("before\n<!-- local-market -->\n<!-- end local-market -->\nafter\n")
    code = main([
        "evaluate", "local-market", "--participants", "12", "--neighbourhoods", "3",
        "--days", "12", "--response-days", "3", "--seed", "5",
        "--policy", "flexgym.policies.local_market:Truthful",
        "--out", str(folder), "--document", str(document),
    ])  # fmt: skip
    assert code == 0
    return folder, json.loads((folder / "results.json").read_text()), document.read_text()


def test_scores_run_from_0_to_100_under_every_rule(written):
    _, results, _ = written
    assert (results["schema"], results["seed"]) == (1, 5)
    rows = results["rows"]
    for scenario, who in (
        ("flat", "everybody"), ("hierarchy", "everybody"), ("flat", "one among truthful others")
    ):  # fmt: skip
        for rule in RULES:
            found = {
                row["policy"]: row
                for row in rows
                if (row["scenario"], row["who"], row["rule"]) == (scenario, who, rule)
            }
            assert found["utility only"]["score"]["mean"] == pytest.approx(0.0, abs=1e-9)
            assert found["zero intelligence"]["score"]["mean"] < 100.0
            assert max(row["score"]["mean"] for row in found.values()) <= 100.0 + 1e-3
            truth = found["truthful"]["score"]["mean"]
            if who == "everybody":
                assert abs(found["truthful"]["imbalance_eur"]) <= 1e-9
                assert 0.0 < found["truthful"]["jain"] <= 1.0
                bound = found["linear program"]
                assert bound["gain_eur"]["mean"] >= found["truthful"]["gain_eur"]["mean"] - 1e-9
                if scenario == "flat":
                    assert truth == pytest.approx(100.0, abs=1e-7)
                    assert found["truthful"]["truth_gap_percent"] >= 0.0
                else:
                    assert 50.0 < truth < 100.0
                    assert found["truthful"]["fee_eur"] > 0.0
            else:
                assert found["best response"]["score"]["mean"] == pytest.approx(100.0)


def test_rules_differ_in_who_gains_not_in_how_much(written):
    _, results, _ = written
    truth = [
        row
        for row in results["rows"]
        if (row["scenario"], row["policy"], row["who"]) == ("flat", "truthful", "everybody")
    ]
    gains = {row["rule"]: row["gain_eur"]["mean"] for row in truth}
    assert len({round(gain, 9) for gain in gains.values()}) == 1
    shares = {row["rule"]: row["consumers_percent"] for row in truth}
    # Buyers keep all of the surplus if they pay what is asked.
    assert shares["pay-as-bid"] > shares["uniform"]


def test_files_and_document(written):
    folder, results, document = written
    rows = list(csv.DictReader((folder / "results.csv").read_text().splitlines()))
    assert len(rows) == len(results["rows"])
    for picture in ("scores.png", "book.png", "contracts.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    assert document.startswith("before\n<!-- local-market -->\none market of 12, everybody:")
    assert "3 neighbourhoods, 1 ct/kWh to leave one, everybody:" in document
    assert document.endswith("<!-- end local-market -->\nafter\n")


def test_the_references_are_what_play_comes_to():
    scenario = LocalMarketScenario.create(participants=8, split="test")
    nothing = play(UtilityOnly(), scenario, "mid-price", 4, seed=2)
    truth = play(Truthful(), scenario, "mid-price", 4, seed=2)
    gain = (truth.reward_eur - nothing.reward_eur).sum(axis=1)
    np.testing.assert_allclose(gain, best_welfare(scenario, 4, seed=2), atol=1e-9)
    best = best_response(scenario, "mid-price", 4, seed=2).reward_eur[:, LEARNER]
    for policy in (UtilityOnly(), Truthful(), Shading(0.2), Shading(0.6)):
        alone = play(policy, scenario, "mid-price", 4, seed=2, alone=True)
        assert (alone.reward_eur[:, LEARNER] <= best + 1e-4).all()
    assert truth_gap_percent(scenario, "mid-price", 2) > truth_gap_percent(scenario, "uniform", 2)


@pytest.mark.parametrize("rule", RULES)
def test_the_best_response_can_be_posted_by_actions(rule):
    """Within one's own tariffs, and worth the same when it is played through the action map."""
    scenario = LocalMarketScenario.create(participants=8, split="test")
    market, posted = begun(scenario, rule, 3, 4), begun(scenario, rule, 3, 4)
    while not market.done:
        hour = market.hour
        price, share = best_orders(hour, rule)
        action = actions_from_orders(hour, price, share)
        again, volume = orders_from_actions(hour, action)
        np.testing.assert_allclose(again, price, rtol=1e-12)
        np.testing.assert_allclose(volume, share * hour.position_kwh, atol=1e-12)
        got = posted.post(price, share)
        np.testing.assert_allclose(market.step(action)[:, LEARNER], got[:, LEARNER], atol=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_the_grid_of_the_best_response_is_fine_enough(rule):
    """A benchmark marks who is better than it by a thousandth of its gain."""
    scenario = LocalMarketScenario.create(PARTICIPANTS, "test")
    market, gained, missed = begun(scenario, rule, 2, 4), 0.0, 0.0
    while not market.done:
        hour = market.hour
        price, share = best_orders(hour, rule)
        for r in np.flatnonzero(hour.position_kwh[:, LEARNER]):
            limits, volumes = hour.limit[r], hour.position_kwh[r]
            ends = hour.feed_in[r, LEARNER], hour.retail[r, LEARNER]
            coarse, fine = (
                best_deviation(limits, volumes, LEARNER, rule, prices=prices, shares=shares)
                for prices, shares in (
                    (price[r, LEARNER], share[r, LEARNER]),
                    (np.linspace(*ends, 4001), np.linspace(0.0, 1.0, 6)),
                )
            )
            gained += coarse.surplus_eur
            missed += max(0.0, fine.surplus_eur - coarse.surplus_eur)
        market.post(price, share)
    assert gained > 0.0
    assert missed <= 1e-3 * gained


def test_indices_of_fairness():
    assert jain(np.array([[1.0, 1.0, 1.0, 1.0]])) == pytest.approx(1.0)
    assert jain(np.array([[0.0, 0.0, 0.0, 3.0], [0.0, 0.0, 0.0, 0.0]])) == pytest.approx(0.25)
    assert gini(np.array([[2.0, 2.0, 2.0]])) == pytest.approx(0.0)
    assert gini(np.array([[0.0, 0.0, 0.0, 5.0]])) == pytest.approx(0.75)
    assert gini(np.array([[1.0, 3.0]])) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rule", "vickrey"], "rule is vickrey"),
        (["--days", "1"], "days is 1"),
        (["--days", "8", "--response-days", "9"], "response_days 9"),
        (["--participants", "0"], "participants"),
        (["--neighbourhoods", "60"], "neighbourhoods"),
        (["--split", "holiday"], "split"),
        (["--policy", "nowhere:policy", "--days", "2", "--response-days", "2"], "nowhere"),
        (["--document", "missing.md"], "missing.md"),
    ],
)
def test_bad_input_ends_with_one_line(options, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "local-market", "--out", "x", *options]) == 2
    text = capsys.readouterr().err
    assert message in text
    assert text.count("\n") == 1
