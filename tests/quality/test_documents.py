"""What the documents show is run, and the numbers they print come from results on file."""

import json
import re
from pathlib import Path

import pytest

from flexgym.envs.errors import RunError
from flexgym.evaluate import (
    appliance_tables,
    forecasts,
    local_market_tables,
    market_tables,
    privacy_tables,
    trader,
)
from flexgym.evaluate.bench import figures as bench
from flexgym.evaluate.bench import grid
from flexgym.evaluate.benchmark import tables as benchmark_tables
from flexgym.evaluate.benchmark.cards import BLOCK, card_scores
from flexgym.evaluate.feeder_tables import markdown_tables
from flexgym.evaluate.ising import tables as ising_tables
from flexgym.evaluate.report import markdown_table, published, update_block
from flexgym.policies import zoo

ROOT = Path(__file__).parents[2]
BENCHMARK = ROOT / "docs" / "results" / "benchmark" / "results.json"
"""Written by ``flexgym benchmark``; the leaderboard and the cards' scores are made of it."""


def python_blocks():
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for k, block in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)):
            yield pytest.param(block, id=f"{path.name}-{k}")


@pytest.mark.parametrize("block", python_blocks())
def test_examples_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "example", "exec"), {"__name__": "example"})


@pytest.mark.parametrize(
    ("block", "folder", "table", "document"),
    [
        ("household", "household", markdown_table, "README.md"),
        ("bench", "bench-household", bench.markdown_table, "README.md"),
        ("feeder", "feeder-stress", markdown_tables, "docs/feeder.md"),
        ("feeder", "feeder-menus", markdown_tables, "docs/menus.md"),
        ("privacy", "privacy", privacy_tables.markdown_tables, "docs/privacy.md"),
        ("bench-clearing", "bench-clearing", bench.markdown_table, "docs/menus.md"),
        ("bench-feeder", "bench-feeder", bench.markdown_table, "docs/feeder.md"),
        ("bench-grid", "bench-grid", grid.markdown_table, "docs/feeder.md"),
        ("bench-ising", "bench-ising", bench.markdown_table, "docs/market.md"),
        ("bench-market", "bench-market", bench.markdown_table, "docs/market.md"),
        ("bench-menus", "bench-menus", bench.markdown_table, "docs/learning.md"),
        ("bench-training", "bench-training", bench.markdown_table, "docs/learning.md"),
        ("market", "market", market_tables.markdown_tables, "docs/market.md"),
        ("ising", "ising", ising_tables.markdown_tables, "docs/market.md"),
        ("appliance", "appliance", appliance_tables.markdown_tables, "docs/appliance.md"),
        ("forecasts", "forecasts", forecasts.markdown, "docs/appliance.md"),
        ("trader", "trader", trader.markdown_table, "docs/trader.md"),
        ("bench-contracts", "bench-contracts", bench.markdown_table, "docs/local-market.md"),
        (
            "local-market",
            "local-market",
            local_market_tables.markdown_tables,
            "docs/local-market.md",
        ),
    ],
)
def test_tables_are_those_on_file(block, folder, table, document):
    results = json.loads((ROOT / "docs" / "results" / folder / "results.json").read_text())
    shown = f"<!-- {block} -->\n{published(table(results), results)}\n<!-- end {block} -->"
    assert shown in (ROOT / document).read_text()


@pytest.mark.skipif(not BENCHMARK.exists(), reason="no benchmark is published")
def test_the_leaderboard_is_that_on_file():
    tables = benchmark_tables.markdown_tables(json.loads(BENCHMARK.read_text()))
    shown = f"<!-- leaderboard -->\n{tables}\n<!-- end leaderboard -->"
    assert shown in (ROOT / "docs" / "leaderboard.md").read_text()


@pytest.mark.skipif(not BENCHMARK.exists(), reason="no benchmark is published")
@pytest.mark.parametrize("name", zoo.names())
def test_scores_of_cards_are_those_on_file(name):
    scores = card_scores(json.loads(BENCHMARK.read_text()), name)
    assert f"<!-- {BLOCK} -->\n{scores}\n<!-- end {BLOCK} -->" in zoo.shipped(name).card


def test_links_lead_somewhere():
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


@pytest.mark.parametrize("old", ["old\n", "old\nlines\n", ""])
def test_a_block_is_replaced_and_nothing_else(old, tmp_path):
    document = tmp_path / "a.md"
    document.write_text(f"before\n<!-- x -->\n{old}<!-- end x -->\nafter\n")
    update_block(document, "x", "new\nlines")
    assert document.read_text() == "before\n<!-- x -->\nnew\nlines\n<!-- end x -->\nafter\n"
    with pytest.raises(RunError, match="lacks the marks"):
        update_block(document, "y", "new")
