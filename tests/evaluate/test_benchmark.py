"""The benchmark on a tiny suite: interrupted, resumed, changed; its tables and its report."""

import json
import re
import shutil
import sys
from html.parser import HTMLParser

import pytest

from flexgym.cli import main
from flexgym.envs.errors import RunError
from flexgym.evaluate.benchmark import cell as cells
from flexgym.evaluate.benchmark.arena import Setting
from flexgym.evaluate.benchmark.command import benchmark
from flexgym.evaluate.benchmark.pictures import overview_picture, setting_picture
from flexgym.evaluate.benchmark.tables import markdown_tables, settings_of

TINY = (
    Setting("trader", "evening", 96, parts=2, without=("forward at once",)),
    Setting("appliance", "mixed", 64, without=("acceptance, tuned",)),
)


def numbers(folder):
    """What must be the same whenever and however it is computed."""
    results = json.loads((folder / "results.json").read_text())
    return {key: results[key] for key in ("rows", "scenario", "seed", "environment")}


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.glob("cells/**/*.json")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    benchmark(folder, settings=TINY, suite="tiny")
    return folder


class KilledError(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("k", [1, 7])
def test_an_interrupted_run_goes_on_with_identical_numbers(whole, tmp_path, monkeypatch, k):
    played, original = [], cells.play_cell

    def killing(cell, fingerprint, folder):
        if len(played) == k:
            # Also a file that was being written.
            path = cells.path_of(cell, folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".{path.name}.1.part").write_text('{"schema"')
            raise KilledError
        original(cell, fingerprint, folder)
        played.append(cell)

    monkeypatch.setattr(cells, "play_cell", killing)
    with pytest.raises(KilledError):
        benchmark(tmp_path, settings=TINY, suite="tiny")
    assert len(files(tmp_path)) == k
    assert not (tmp_path / "results.json").exists()
    before = files(tmp_path)

    monkeypatch.setattr(cells, "play_cell", original)
    benchmark(tmp_path, settings=TINY, suite="tiny")
    assert numbers(tmp_path) == numbers(whole)
    after = files(tmp_path)
    assert all(after[path] == time for path, time in before.items())
    assert len(after) == len(files(whole))


def test_finished_cells_are_not_played_again_and_damaged_ones_are(whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    before = files(tmp_path)
    first, second = list(before)[:2]
    first.write_text(first.read_text()[:50])
    content = json.loads(second.read_text())
    content["episodes"]["cost_eur"].pop()
    second.write_text(json.dumps(content))
    changed = files(tmp_path)
    benchmark(tmp_path, settings=TINY, suite="tiny")
    after = files(tmp_path)
    assert {path for path in after if after[path] != changed[path]} == {first, second}
    assert numbers(tmp_path) == numbers(whole)


POLICY = """
import numpy as np

class Mine:
    def predict(self, observation):
        return np.full((len(observation), 3), {number})

def idle(observation):
    return -np.ones((len(observation), 3)), None

def many(observation):
    return np.zeros((1, 3))
"""


def test_a_changed_policy_plays_its_own_cells_anew(tmp_path):
    file, out = tmp_path / "mine.py", tmp_path / "out"
    setting = TINY[:1]

    def play(number, *names):
        file.write_text(POLICY.format(number=number))
        # A new process would import it anew.
        for name in [n for n in sys.modules if n.startswith("flexgym_policy_")]:
            del sys.modules[name]
        code = [f"trader/*={file}:{name}" for name in names]
        return benchmark(out, settings=setting, code=code, suite="tiny")

    results = play(-1.0, "Mine", "idle")
    found = {row["policy"]: row for row in results["rows"]}
    # Buying nothing, but never exercising either, is everything at spot.
    for name in ("Mine", "idle"):
        assert found[name]["score"]["mean"] == pytest.approx(0.0, abs=1e-9)
        assert found[name]["kind"] == "own"
    before = files(out)
    again = {row["policy"]: row for row in play(0.5, "Mine")["rows"]}
    after = files(out)
    mine = {path for path in after if path.name.startswith("Mine-")}
    assert len(mine) == 2
    assert {path for path in after if after[path] != before[path]} == mine
    assert again["Mine"]["score"]["mean"] != pytest.approx(0.0, abs=1.0)
    assert "idle" not in again
    with pytest.raises(RunError, match=r"many.*row of actions"):
        play(0.5, "many")


FAILING = """
import sys

def leaves(observation):
    sys.exit(0)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_an_own_policy_that_fails_is_heard_of_before_others_play(whole, tmp_path, workers):
    (tmp_path / "failing.py").write_text(FAILING)
    with pytest.raises(RunError, match=r"SystemExit\(0\)"):
        benchmark(
            tmp_path / "out", settings=TINY, code=[f"appliance/*={tmp_path}/failing.py:leaves"],
            workers=workers,
        )  # fmt: skip
    # Side by side the other process plays on until the failure is heard of.
    assert len(files(tmp_path / "out")) <= (0 if workers == 1 else len(files(whole)) - 1)


CHEATING = """
import numpy as np

class Cheat:
    name = "Cheat"
    settings = {}

    def begin(self, simulation):
        pass

    def act(self, simulation):
        simulation.soc_kwh[:] = 100.0
        return -np.ones((simulation.n, 1))
"""


def test_who_costs_less_than_the_bound_is_marked(tmp_path, capsys):
    (tmp_path / "cheating.py").write_text(CHEATING)
    setting = Setting("household", "no-car", 16)
    results = benchmark(tmp_path / "o", settings=[setting], code=[f"{tmp_path}/cheating.py:Cheat"])
    marked = [row["policy"] for row in results["rows"] if row["impossible"]]
    assert marked == ["Cheat"]
    assert "| Cheat (costs less than the bound" in markdown_tables(results)
    report = (tmp_path / "o" / "report.html").read_text()
    assert "costs less than the bound" in report
    assert "best policy: optimal" in report
    told = capsys.readouterr().out
    assert "household/no-car, Cheat: costs less than the bound" in told
    assert told.count("Cheat") == 1
    # Nor does a picture hang on its score.
    row = next(row for row in results["rows"] if row["impossible"])
    for score in (110.0, 1e6):
        row["score"] = dict.fromkeys(("low", "mean", "high"), score)
        settings = list(settings_of(results))
        overview_picture(tmp_path / f"overview-{score}.png", settings)
        setting_picture(tmp_path / f"setting-{score}.png", *settings[0])
    for what in ("overview", "setting"):
        one, other = (path.read_bytes() for path in tmp_path.glob(f"{what}-*.png"))
        assert one == other


def test_processes_side_by_side_find_the_same(whole, tmp_path):
    results = benchmark(tmp_path, settings=TINY[:1], suite="tiny", workers=2)
    alone = json.loads((whole / "results.json").read_text())["rows"]
    assert results["rows"] == [row for row in alone if row["environment"] == "trader"]


class Links(HTMLParser):
    """Collects what a page refers to, and whether its tags fit."""

    def __init__(self):
        super().__init__()
        self.outside, self.open, self.alts, self.ids, self.anchors = [], [], [], set(), set()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.ids.add(found.get("id"))
        for name in ("src", "href", "srcset", "data", "action", "poster", "background"):
            value = found.get(name)
            if value and value.startswith("#"):
                self.anchors.add(value[1:])
            elif value and not value.startswith("data:image/png;base64,"):
                self.outside.append(value)
        if tag == "img":
            self.alts.append(found.get("alt"))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_report_needs_no_network(whole):
    assert (whole / "overview.png").stat().st_size > 10_000
    page = (whole / "report.html").read_text()
    found = Links()
    found.feed(page)
    assert found.outside == []
    assert found.open == []
    assert found.anchors == {"trader-evening", "appliance-mixed"} <= found.ids
    assert len(found.alts) == 1 + len(TINY)
    assert all(found.alts)
    assert not re.search(r"<script|@import|url\(|https?://|<link|<iframe", page)
    assert '<html lang="en">' in page
    assert page.count("<caption>") == page.count("<table>") == len(TINY)
    assert len(page) < 1_000_000


def test_tables_are_those_of_the_results(whole, tmp_path):
    results = json.loads((whole / "results.json").read_text())
    text = markdown_tables(results)
    assert (whole / "leaderboard.md").read_text() == text + "\n"
    rows = [row for row in results["rows"] if row["environment"] == "trader"]
    assert "forward at once" not in {row["policy"] for row in rows}
    by_name = {row["policy"]: row for row in rows}
    assert by_name["spot only"]["score"]["mean"] == 0.0
    assert by_name["optimal"]["score"]["mean"] == pytest.approx(100.0)
    assert by_name["perfect foresight"] == rows[-1]
    for row in rows:
        line = next(x for x in text.splitlines() if x.startswith(f"| {row['policy']} |"))
        assert f"| {row['cost_eur']['mean']:.3f} | {row['score']['mean']:.1f} |" in line


def test_the_document_gets_its_block(tmp_path, capsys):
    document = tmp_path / "board.md"
    arguments = ["benchmark", "--only", "appliance/mixed", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--document", str(document)]) == 2
    document.write_text("a\n<!-- leaderboard -->\n<!-- end leaderboard -->\nb\n")
    assert main([*arguments, "--document", str(document)]) == 0
    shown = (tmp_path / "out" / "leaderboard.md").read_text()
    assert document.read_text() == (
        f"a\n<!-- leaderboard -->\n{shown}<!-- end leaderboard -->\nb\n"
    )
    assert re.search(r"\b(\d+) of \1 cells played", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "huge"], "huge.*small, full"),
        (["--only", "nowhere/*"], "nowhere.*household/car"),
        (["--run", "nothing"], "no run in nothing"),
        (["--policy", "no_such_module:x", "--only", "trader/*"], "no_such_module"),
        (["--policy", "household/*=numpy:sum", "--only", "trader/*"], "fits none"),
    ],
)
def test_bad_options_are_named(arguments, message, tmp_path, capsys):
    assert main(["benchmark", "--out", str(tmp_path / "out"), *arguments]) == 2
    assert re.search(message, capsys.readouterr().err)
