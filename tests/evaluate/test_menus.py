"""Scores on the feeder, and the rival of the clearing benchmark."""

import pytest

from flexgym.evaluate.bench import reactive
from flexgym.evaluate.bench.clearing import dispatch_rows
from flexgym.evaluate.feeder import evaluate
from flexgym.evaluate.feeder_tables import markdown_tables


def test_unmanaged_scores_0_and_the_centralised_optimum_100(tmp_path):
    names = ("unmanaged", "price-threshold", "centralised")
    results = evaluate(tmp_path, scenario="winter_evening", policies=names, feeder_days=2)
    rows = {row["policy"]: row for row in results["rows"]}
    assert rows["unmanaged"]["score"]["mean"] == 0.0
    assert rows["centralised"]["score"]["mean"] == pytest.approx(100.0)
    assert rows["price-threshold"]["score"]["mean"] < 100.0
    assert rows["centralised"]["kind"] == "bound"
    assert rows["centralised"]["days_any_percent"]["mean"] == 0.0
    assert "| 0 (0 to 0) |" in markdown_tables(results)


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


def test_a_day_of_menus_is_drawn(tmp_path):
    names = ("menus-constant", "unmanaged")
    results = evaluate(tmp_path, scenario="winter_evening", policies=names, feeder_days=2)
    assert (tmp_path / "menus.png").stat().st_size > 50_000
    menus, unmanaged = results["rows"]
    assert menus["days_any_percent"]["mean"] == 0.0 < unmanaged["days_any_percent"]["mean"]
    assert menus["unclean_periods"] == 0.0
    assert "| menus-constant |" in markdown_tables(results)
