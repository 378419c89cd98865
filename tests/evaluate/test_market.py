"""``flexgym evaluate market``: tables, references, the phase transition, and bad input."""

import csv
import json
import math
from functools import partial

import numpy as np
import pytest

from flexgym.cli import main
from flexgym.envs.errors import RunError, ScenarioError
from flexgym.evaluate.market import evaluate
from flexgym.evaluate.market_paper import BALANCED, SHIFTABLE, paper_rows
from flexgym.evaluate.market_phase import TEMPERATURES, phase_rows
from flexgym.evaluate.market_pictures import phase_picture
from flexgym.evaluate.market_play import idle_days, play_market
from flexgym.evaluate.market_tables import is_exact, market_rows
from flexgym.evaluate.score import bootstrap, normal_interval, paired_score

POLICY = """
from flexgym.policies.market_rules import Quoting
def dear(role):
    return Quoting("learned dear", lambda market: 46.0)
"""


@pytest.fixture(scope="module")
def phase():
    return phase_rows(np.random.default_rng(1), groups=80)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("market")
    document = folder / "market.md"
    document.write_text("before\n<!-- market -->\n<!-- end market -->\nafter\n")
    (folder / "dear_market.py").write_text(POLICY)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setattr("flexgym.evaluate.market.PAPER_DAYS", 4)
        fewer = partial(phase_rows, groups=10)
        patch.setattr("flexgym.evaluate.market_phase.phase_rows", fewer)
        code = main([
            "evaluate", "market", "--scenario", "ordered,lattice", "--days", "200", "--seed", "7",
            "--policy", "dear_market:dear", "--out", str(folder), "--document", str(document),
        ])  # fmt: skip
    assert code == 0
    return folder, json.loads((folder / "results.json").read_text()), document.read_text()


def rows_of(results, scenario, role):
    found = [r for r in results["rows"] if (r["scenario"], r["role"]) == (scenario, role)]
    return {row["policy"]: row for row in found}


def test_every_table_runs_from_0_to_100_with_its_reference_beside(written):
    _, results, _ = written
    assert (results["schema"], results["seed"]) == (1, 7)
    for scenario in ("ordered", "lattice"):
        for role in ("aggregator", "dso", "buses"):
            rows = rows_of(results, scenario, role)
            assert rows["uncontrolled"]["score"]["mean"] == pytest.approx(0.0)
            exact = scenario == "ordered" or role == "buses"
            best = rows["exact" if exact else "best known"]
            assert best["score"] == pytest.approx(dict.fromkeys(best["score"], 100.0))
            assert best["cost_eur"]["mean"] == pytest.approx(-best["earned_eur"]["mean"])
            wide, narrow = best["earned_99_eur"], best["earned_eur"]
            assert wide["low"] < narrow["low"] < narrow["high"] < wide["high"]
            assert ("value_inside" in best) == exact
            if exact:
                assert best["value_inside"]
                assert abs(best["value_eur"] - narrow["mean"]) < wide["high"] - wide["low"]
            assert all(0.75 < r["lowest_pu"] < 1.0 for r in rows.values() if "lowest_pu" in r)
            # Who earns nothing by definition is not played, and the DSO's zero is.
            played = rows["uncontrolled"]["rms_magnetisation"] > 0.0
            assert played == (role == "dso")


def test_policies_of_each_level_are_there_and_in_order(written):
    _, results, _ = written
    rows = rows_of(results, "ordered", "aggregator")
    assert list(rows) == [
        "uncontrolled", "random", "flat", "cap", "share of price", "table price", "tuned linear",
        "learned dear", "exact",
    ]  # fmt: skip
    # 46 is never allowed, so it is the cap.
    assert rows["learned dear"]["earned_eur"] == rows["cap"]["earned_eur"]
    score = {name: row["score"]["mean"] for name, row in rows.items()}
    assert score["cap"] < 0.0 < score["flat"] < score["tuned linear"] < 100.0
    paid = {name: row["customers_eur"] for name, row in rows.items()}
    assert paid["cap"] > paid["flat"] > paid["exact"] > 0.0
    assert {"random", "MH", "CMH", "selfish", "exact"} < set(rows_of(results, "ordered", "buses"))


def test_two_numbers_are_given_where_the_optimum_is_not_known(written):
    _, results, _ = written
    lattice = rows_of(results, "lattice", "dso")
    guaranteed = {name: row["guaranteed"]["mean"] for name, row in lattice.items()
                  if "guaranteed" in row}  # fmt: skip
    assert guaranteed["uncontrolled"] == pytest.approx(0.0)
    assert 60.0 < guaranteed["best known"] < 80.0
    assert guaranteed["tuned linear"] < guaranteed["best known"]
    bound = lattice["fluid bound"]
    assert bound["kind"] == "bound"
    assert bound["earned_eur"]["mean"] == pytest.approx(1.102 * 322.291, rel=1e-3)
    for other in (("ordered", "dso"), ("lattice", "aggregator"), ("lattice", "buses")):
        assert not any("guaranteed" in row for row in rows_of(results, *other).values())


def test_files_hold_what_is_printed(written, capsys):
    folder, results, document = written
    with (folder / "results.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert [row["policy"] for row in table] == [row["policy"] for row in results["rows"]]
    assert all((folder / name).stat().st_size > 20_000 for name in ("scores.png", "phase.png"))
    assert document.startswith("before\n<!-- market -->\nordered, aggregator, 67 customers:")
    assert document.endswith("\n<!-- end market -->\nafter\n")
    assert "| exact | " in document
    assert "OUTSIDE" not in document
    assert len(results["phase"]) == len(TEMPERATURES)


def test_days_are_the_same_for_every_number_of_days_and_chunks(monkeypatch):
    from flexgym.envs.aggregator_market.scenario import MarketScenario
    from flexgym.policies.market_rules import Quoting

    world, flat = MarketScenario.create("ordered"), Quoting("flat", lambda market: 28.0)
    many = play_market(flat, world, 12, 5)
    monkeypatch.setattr("flexgym.evaluate.market_play._CHUNK", 5)
    done = []
    few = play_market(flat, world, 12, 5, progress=done.append)
    for name in ("earned_eur", "customers_eur", "settled_eur", "square", "totals"):
        np.testing.assert_array_equal(getattr(many, name), getattr(few, name))
    assert done == [5, 5, 2]
    np.testing.assert_array_equal(play_market(flat, world, 4, 9).totals, many.totals[4:8])
    money = many.customers_eur[:, 0] + many.earned_eur[:, 0] + many.settled_eur[:, 0]
    np.testing.assert_allclose(money, many.total("welfare_eur"), atol=1e-9)


def test_a_wrong_value_is_flagged():
    from flexgym.envs.aggregator_market.scenario import MarketScenario
    from flexgym.policies.market_rules import Exact

    world, exact = MarketScenario.create("ordered"), Exact("aggregators")
    played = [idle_days(300, 1, 1), play_market(exact, world, 300, power_flow=False)]
    assert market_rows(world, "aggregator", played, exact)[-1]["value_inside"]
    exact.value_eur = exact.value_eur + 10.0
    assert not market_rows(world, "aggregator", played, exact)[-1]["value_inside"]
    three = MarketScenario.create("three")
    assert is_exact(three, "aggregator")
    assert not is_exact(three, "dso")


def test_sweeps_show_hysteresis_that_shrinks_with_temperature(phase):
    """market-design.md section 3: 4.8, 2.8, 2.1, 1.2 EUR/MWh."""
    found = [row for row in phase if row["what"] == "summary"]
    widths = [row["loop_width_eur_per_mwh"] for row in found]
    np.testing.assert_allclose(widths, (4.8, 2.8, 2.1, 1.2), atol=0.4)
    up = [r for r in phase if r["what"] == "up" and r["temperature"] == 3.2]
    down = {r["x"]: r["magnetisation"] for r in phase
            if r["what"] == "down" and r["temperature"] == 3.2}  # fmt: skip
    assert (up[0]["x"], up[-1]["x"]) == (10.0, 46.0)
    assert all(down[r["x"]] >= r["magnetisation"] - 0.02 for r in up)
    assert max(down[r["x"]] - r["magnetisation"] for r in up) > 1.0


def test_ordered_consumers_rebound_in_cycles_without_a_leader(phase):
    """Section 3: rms 0.57, 0.25, 0.18, 0.13; autocorrelation at 5 h -0.89 to -0.12; 8-9 h."""
    found = {row["temperature"]: row for row in phase if row["what"] == "summary"}
    rms = [found[t]["rms_magnetisation"] for t in TEMPERATURES]
    np.testing.assert_allclose(rms, (0.57, 0.25, 0.18, 0.13), atol=0.05)
    later = [found[t]["autocorrelation_5_h"] for t in TEMPERATURES]
    np.testing.assert_allclose(later, (-0.89, -0.42, -0.25, -0.12), atol=0.08)
    assert found[3.2]["cycle_h"] in (8, 9)
    assert found[5.2]["cycle_h"] is None


def test_the_picture_is_drawn_from_rows_alone(phase, tmp_path, drawn, crowded):
    phase_picture(tmp_path / "phase.png", phase)
    (figure,) = drawn
    assert not crowded(figure)
    assert len(figure.axes) == 6
    title = figure.axes[-1].get_title(loc="left")
    assert "cycle of" in title


def test_days_of_the_paper_have_their_optima():
    rows = paper_rows(12, np.random.default_rng(0))
    days = {
        day: {row["policy"]: row for row in rows if row["day"] == day}
        for day in (SHIFTABLE, BALANCED)
    }
    shift, balance = days[SHIFTABLE], days[BALANCED]
    assert shift["exact (LP 31)"]["value"]["mean"] == pytest.approx(322.291, abs=5e-4)
    assert shift["exact, whole spins (MILP)"]["value"]["mean"] == pytest.approx(320.053, abs=5e-4)
    assert balance["exact (ILP 34)"]["value"]["mean"] == 16.0
    assert balance["MH"]["missed"] > 100.0 * balance["CMH (gate)"]["missed"] > 0.0
    for table in days.values():
        assert table["uncontrolled"]["score"] == 0.0
        for row in table.values():
            # A score only where the constraint holds; then nobody beats the optimum.
            assert (row["score"] is None) == (row["missed"] > 0.01)
            assert row["score"] is None or row["score"] <= 100.0
    led = shift["MH led by the price, projected"]
    assert led["missed"] == 0.0
    assert shift["MH, projected"]["score"] < 50.0 < led["score"] < shift["selfish"]["score"]


def test_paired_scores_agree_with_the_bootstrap():
    rng = np.random.default_rng(2)
    shared = rng.normal(0.0, 12.0, 3000)
    zero, best = shared * 0.1, 44.0 + shared + rng.normal(0.0, 3.0, 3000)
    policy = 0.7 * best + rng.normal(0.0, 2.0, 3000)
    found = paired_score(policy, zero, best)
    cost, score = bootstrap(-policy, -zero, -best)
    assert found.mean == pytest.approx(score.mean)
    assert found.low == pytest.approx(score.low, abs=0.1 * (score.high - score.low))
    assert found.high == pytest.approx(score.high, abs=0.1 * (score.high - score.low))
    normal = normal_interval(-policy)
    assert normal.low == pytest.approx(cost.low, abs=0.1 * (cost.high - cost.low))
    wide = normal_interval(-policy, 0.99)
    assert (wide.high - wide.low) / (normal.high - normal.low) == pytest.approx(1.314, abs=1e-3)
    assert math.isclose(paired_score(best, zero, best).low, 100.0)
    with pytest.raises(ScenarioError, match="something to gain"):
        paired_score(policy, best, zero)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scenarios": ["cold"]}, "scenario is cold"),
        ({"scenarios": []}, "scenario is empty"),
        ({"roles": ["bank"]}, "role is bank"),
        ({"days": 1}, "days is 1"),
    ],
)
def test_bad_requests_are_refused(tmp_path, change, message):
    with pytest.raises(ScenarioError, match=message):
        evaluate(tmp_path / "out", **change)
    assert not (tmp_path / "out").exists()


def test_policies_that_are_missing_or_fit_nowhere_are_named(tmp_path, monkeypatch, capsys):
    out = ["--out", str(tmp_path), "--days", "2", "--no-phase", "--no-paper"]
    short = ["evaluate", "market", "--scenario", "ordered", "--role", "dso", *out]
    assert main([*short, "--policy", str(tmp_path / "nothing")]) == 2
    assert "got no checkpoint" in capsys.readouterr().err
    (tmp_path / "dear_again.py").write_text(POLICY)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RunError, match="fits none"):
        evaluate(
            tmp_path, scenarios=["ordered"], roles=["dso"], days=2, learned=["dear_again:dear"],
            paper=False, phase=False,
        )  # fmt: skip
    assert main([*short, "--document", str(tmp_path / "none.md")]) == 2
