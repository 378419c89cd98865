"""Scores on the feeder, and the rival of the clearing benchmark."""

import pytest

from flexgym.evaluate.bench import reactive
from flexgym.evaluate.bench.clearing import dispatch_rows
from flexgym.evaluate.feeder import evaluate, markdown_table


def test_unmanaged_scores_0_and_the_centralised_optimum_100(tmp_path):
    names = ("unmanaged", "price-threshold", "centralised")
    results = evaluate(tmp_path, scenario="winter_evening", policies=names, feeder_days=2)
    rows = {row["policy"]: row for row in results["rows"]}
    assert rows["unmanaged"]["score"]["mean"] == 0.0
    assert rows["centralised"]["score"]["mean"] == pytest.approx(100.0)
    assert rows["price-threshold"]["score"]["mean"] < 100.0
    assert rows["centralised"]["kind"] == "bound"
    assert rows["centralised"]["days_any_percent"]["mean"] == 0.0
    assert "| score | 0 (0 to 0) |" in markdown_table(results)


def test_the_rival_finds_the_same_costs():
    rows = {row["what"]: row["value"] for row in dispatch_rows(repeats=1, seed=0)}
    assert rows["largest difference of the two costs, EUR"] <= 1e-7
    assert rows["limits that bind, most in a period"] >= 2


def test_the_rival_finds_the_same_costs_of_menus_in_active_and_reactive_power(monkeypatch):
    monkeypatch.setattr(reactive, "PERIODS", 12)
    rows = {row["what"]: row["value"] for row in reactive.dispatch_rows(repeats=1, seed=0)}
    assert rows["largest difference of the two costs of P-Q menus, EUR"] <= 1e-7
    assert rows["limits that bind on P-Q menus, most in a period"] >= 1
    assert rows["vertices of a P-Q menu, mean"] > 20
