"""``flexgym evaluate trader``: scores, files, trained policies, pictures, bad input."""

import csv
import json

import numpy as np
import pytest
from stable_baselines3 import PPO

from flexgym.cli import main
from flexgym.envs.errors import ScenarioError
from flexgym.envs.trader.scenario import TraderScenario
from flexgym.envs.trader.simulation import TraderSimulation
from flexgym.envs.trader.vector_env import TraderVectorEnv
from flexgym.evaluate.contract_picture import cash_flow_picture
from flexgym.evaluate.report import published
from flexgym.evaluate.trader import markdown_table, play_trader
from flexgym.evaluate.trader_picture import cash_flows
from flexgym.policies.trader import OptimalTrader, SpotOnly
from flexgym.train.vec_env import BatchedVecEnv


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small.zip"
    model = PPO("MlpPolicy", BatchedVecEnv(TraderVectorEnv(16)), n_steps=18, batch_size=96, seed=0)
    model.learn(16 * 18)
    model.save(path)
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory, trained):
    folder = tmp_path_factory.mktemp("trader")
    document = folder / "market.md"
    document.write_text("before\n<!-- trader -->\n<!-- end trader -->\nafter\n")
    code = main([
        "evaluate", "trader", "--episodes", "1500", "--seed", "7", "--policy", str(trained),
        "--out", str(folder), "--document", str(document),
    ])  # fmt: skip
    assert code == 0
    return folder, json.loads((folder / "results.json").read_text()), document.read_text()


def test_scores_run_from_spot_to_the_optimum(written):
    _, results, _ = written
    rows = {row["policy"]: row for row in results["rows"]}
    assert rows["spot only"]["score"]["mean"] == pytest.approx(0.0)
    assert rows["optimal"]["score"] == pytest.approx(dict.fromkeys(("mean", "low", "high"), 100.0))
    assert rows["perfect foresight"]["kind"] == "bound"
    assert rows["perfect foresight"]["score"]["low"] > 100.0
    for name in ("forward at once", "options at once", "below value", "learned small"):
        assert rows[name]["score"]["low"] < 100.0
    cost = rows["optimal"]["cost_eur"]
    half = cost["high"] - cost["mean"]
    assert abs(cost["mean"] - results["value_eur"]["optimal"]) < 2.0 * half
    for row in rows.values():
        if row["kind"] == "policy":
            terms = sum(row[f"{n}_eur"] for n in ("forward", "premium", "exercise", "spot"))
            assert row["cost_eur"]["mean"] == pytest.approx(terms)
            assert 6 * (8 - row["forward_lots"]) == pytest.approx(
                row["exercised_lots"] + row["spot_lots"]
            )


def test_files_and_document(written):
    folder, results, document = written
    for name in ("scores.png", "cash_flows.png"):
        assert (folder / name).stat().st_size > 20_000
    with (folder / "results.csv").open() as stream:
        assert [row["policy"] for row in csv.DictReader(stream)] == [
            row["policy"] for row in results["rows"]
        ]
    assert (
        f"<!-- trader -->\n{published(markdown_table(results), results)}\n<!-- end trader -->"
        in document
    )


def test_an_episode_is_that_of_the_seeded_environment():
    scenario = TraderScenario.create(split="test")
    three, one = (play_trader(SpotOnly(), scenario, n, seed) for n, seed in ((3, 5), (1, 7)))
    assert three.cost_eur[2] == one.cost_eur[0]


def test_cash_flows_add_up_to_the_cost():
    scenario = TraderScenario.create(split="test")
    simulation = TraderSimulation(scenario, 20)
    simulation.begin([np.random.default_rng(i) for i in range(20)])
    policy, hours = OptimalTrader(), []
    policy.begin(simulation)
    while not simulation.done:
        hours.append(simulation.step(policy.act(simulation)))
    outcomes = np.stack(hours, axis=1)
    for i in range(20):
        flows, spot = cash_flows(simulation, outcomes[i], i)
        assert sum(x.sum() for x in flows.values()) == pytest.approx(simulation.cost_eur[i])
        price = simulation.episodes.price_eur_per_kwh[i, 12:].sum()
        assert spot.sum() == pytest.approx(8 * 0.5 * price)


def test_cash_flow_pictures_of_anything(tmp_path):
    path = tmp_path / "flows.png"
    flows = {"spot": [0.1, -0.2, 0.3], "forwards": np.array([-0.1, 0.0, 0.2])}
    cash_flow_picture(path, flows, "Three hours", ("utility", [0.2, 0.2, 0.2]))
    assert path.stat().st_size > 10_000
    for bad in ({}, {"spot": [0.1], "forwards": [0.1, 0.2]}, {"spot": 0.1}):
        with pytest.raises(ScenarioError, match="expected"):
            cash_flow_picture(path, bad, "bad")


def test_bad_input(tmp_path, trained, capsys):
    out = ["--out", str(tmp_path / "out")]
    for arguments in (
        ["--episodes", "1"], ["--split", "holiday"], ["--policy", "nowhere:none"],
        ["--policy", str(tmp_path / "none.zip")], ["--document", str(tmp_path / "none.md")],
        ["--prices", str(tmp_path / "none.csv")],
    ):  # fmt: skip
        assert main(["evaluate", "trader", *arguments, *out]) == 2
        assert "flexgym: error:" in capsys.readouterr().err
    from flexgym.envs.household.vector_env import HouseholdVectorEnv

    other = PPO("MlpPolicy", BatchedVecEnv(HouseholdVectorEnv(2)), n_steps=8, batch_size=16)
    other.save(tmp_path / "house.zip")
    played = ["--policy", str(tmp_path / "house.zip"), "--episodes", "8"]
    assert main(["evaluate", "trader", *played, *out]) == 2
    assert "expects observations of shape" in capsys.readouterr().err
