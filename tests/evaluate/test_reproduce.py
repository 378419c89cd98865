"""Figures and claims of the Ising paper: verdicts follow the data, files hold what was found."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from flexgym.cli import main
from flexgym.envs.errors import ScenarioError
from flexgym.evaluate import reproduce as command
from flexgym.evaluate.ising import robustness, spin_figures
from flexgym.evaluate.ising.checks import ASSIGNED, check_values
from flexgym.evaluate.ising.figure import CRITICAL, Effort, lattice
from flexgym.evaluate.ising.market_figures import balancing, rescaled, shifting
from flexgym.evaluate.ising.tables import markdown_tables

TINY = Effort(
    runs=20,
    settle=5_000,
    temperatures=(1.0, 3.0),
    herd_runs=30,
    herd_temperatures=(1.0, 10.0),
    herd_fields=(0.0, 0.2, 0.5),
    replicas=2,
    flipped=(1, 10, 100),
    hot=(1.0, 4.0),
    draws=2,
)


def plain(items, **_):
    return items


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ising")
    document = folder / "ising.md"
    document.write_text("before\n<!-- ising -->\n<!-- end ising -->\nafter\n")
    patch = pytest.MonkeyPatch()
    patch.setattr("flexgym.evaluate.ising.figure.QUICK", TINY)
    try:
        code = main([
            "reproduce", "ising", "--quick", "--seed", "3", "--out", str(folder),
            "--document", str(document),
        ])  # fmt: skip
    finally:
        patch.undo()
    assert code == 0
    return folder, json.loads((folder / "results.json").read_text()), document.read_text()


def test_every_figure_has_a_picture_its_data_and_claims(written):
    folder, results, document = written
    assert results["schema"] == 1
    assert results["seed"] == 3
    assert results["scenario"]["figures"] == [2, 3, 4, 5, 6, 7, 8]
    assert "synthetic" in results["scenario"]["prices"]
    assert results["scenario"]["effort"]["herd_runs"] == 30
    for number in range(2, 9):
        assert (folder / f"figure-{number}.png").read_bytes()[:4] == b"\x89PNG"
        with (folder / f"figure-{number}.csv").open() as stream:
            assert len(list(csv.DictReader(stream))) >= 7
        assert any(row["figure"] == number for row in results["rows"])
    for row in results["rows"]:
        assert row["agrees"] in ("yes", "partly", "no", "cannot be compared")
        assert row["claim"].endswith(".")
        assert row["claim"] in document
        assert row["found"] in document
    assert document.startswith("before\n")
    assert document.endswith("after\n")
    assert markdown_tables(results) in document


def test_check_values_come_out_and_a_wrong_one_fails(written, monkeypatch, tmp_path):
    _, results, _ = written
    assert all(row["agrees"] for row in results["checks"])
    names = " ".join(row["what"] for row in results["checks"])
    for part in ("(27)", "(31)", "(34), maximum", "(37), same", "(37), fixed", "(38), slack 2/3"):
        assert part in names
    monkeypatch.setitem(ASSIGNED, "2", -397.0)
    wrong = [row["what"] for row in check_values() if not row["agrees"]]
    assert wrong == ["(38), slack 2, EUR/day"]
    code = main(["reproduce", "ising", "--quick", "--figures", "3", "--out", str(tmp_path)])
    assert code == 1


def test_the_same_seed_gives_the_same_numbers():
    for compute in (spin_figures.herding, robustness.robustness):
        a, b = (compute(TINY, np.random.default_rng(5), plain) for _ in range(2))
        assert a.rows == b.rows
        other = compute(TINY, np.random.default_rng(6), plain)
        assert other.rows != a.rows


def test_figure_8_does_not_reproduce_as_worded_but_with_the_other_coupling():
    effort = replace(TINY, runs=150, temperatures=(1.0, 2.0, 3.0, 8.0))
    data = spin_figures.boundaries(effort, np.random.default_rng(0), plain)
    verdict = {claim.found.split(":")[0]: claim.agrees for claim in data.claims}
    cut = [name for name in verdict if name.startswith("cut")]
    assert len(cut) == 2
    assert all(verdict[name] == "no" for name in cut)
    assert verdict["map of (38), each feels all of its aggregator"] == "yes"
    bonds = {name: set(data.column("bonds", coupling=name)) for name in data.marks["names"]}
    assert bonds["free"] == bonds["rewired"] == {544}
    assert bonds["contiguous"] == {508}
    assert max(bonds["assigned"]) < 508
    # At T = 1 and at the critical temperature, as in the reference.
    free = data.column("mean", coupling="free")
    hot = data.column("temperature", coupling="free")
    assert free[hot == 1.0] == pytest.approx(0.997, abs=0.01)
    assert free[hot == CRITICAL] == pytest.approx(0.549, abs=0.1)


def test_figure_4_finds_the_field_of_the_fraction():
    effort = replace(TINY, herd_runs=300, herd_fields=(0.0, 0.1, 0.2, 0.3, 0.5))
    data = spin_figures.herding(effort, np.random.default_rng(0), plain)
    assert data.marks["wanted"] == pytest.approx(5 / 11)
    assert data.marks["field"] == pytest.approx(0.193, abs=0.02)
    assert [claim.agrees for claim in data.claims] == ["yes"] * 3
    m = data.column("mean", temperature=CRITICAL)
    np.testing.assert_allclose(m, [-0.55, -0.09, 0.50, 0.80, 0.91], atol=0.12)


def test_figure_4_without_a_field_that_suffices_says_so():
    effort = replace(TINY, herd_fields=(0.0, 0.01))
    claims = spin_figures.herding(effort, np.random.default_rng(0), plain).claims
    assert [claim.agrees for claim in claims][:2] == ["no", "no"]


def test_the_constraint_is_kept_and_the_ratio_is_large():
    found = robustness.disturbed(10, (1.0, 3.0), np.random.default_rng(1))
    for field in robustness.FIELDS:
        assert found["MH", field].mean() > 50.0 * found["CMH gate", field].mean()
        assert found["MH", field].mean() > found["CMH or", field].mean()
    still = robustness.disturbed(0, (1.0,), np.random.default_rng(1))
    # A feasible crowd stays feasible: the gate lets |g| never rise.
    assert still["CMH gate", 0.0] == 0.0


def test_trends_are_told_from_noise():
    rng = np.random.default_rng(0)
    level = np.array([1.0, 2.0, 3.0, 4.0])[:, None, None]
    noise = rng.normal(0.0, 0.1, (4, 30, 5))
    assert robustness._trend([level + noise]) == "yes"
    assert robustness._trend([level[::-1] + noise]) == "no"
    assert robustness._trend([level * 0.0 + noise]) == "no"
    assert robustness._trend([np.minimum(level, 2.0) + noise]) == "partly"
    assert robustness._trend([np.minimum(level, 3.0) - 2.0 * (level == 4.0) + noise]) == "partly"
    assert robustness._trend([level + noise, level[::-1] + noise]) == "no"
    x = np.arange(5.0)
    assert robustness._straight(x, 2.0 * x + 1.0) == pytest.approx(1.0)
    assert robustness._straight(x, np.abs(x - 2.0)) == pytest.approx(0.0, abs=1e-12)
    assert robustness._straight(x, np.ones(5)) == 0.0


def test_market_figures_hold_the_programs_answers():
    rng = np.random.default_rng(0)
    third = shifting(TINY, rng, plain)
    assert third.column("magnetisation")[13] == pytest.approx(5 / 11)
    assert {claim.agrees for claim in third.claims} == {"yes"}
    assert rescaled(np.array([2.0, 4.0, 3.0])).tolist() == [-1.0, 1.0, 0.0]
    fifth = balancing(TINY, rng, plain)
    assert {claim.agrees for claim in fifth.claims} == {"yes"}
    for sense in ("max", "min"):
        assert sorted(set(fifth.column("optimum", sense=sense))) == [0, 1, 2]


def test_figure_7_leaves_out_what_has_no_solution(written):
    folder, results, _ = written
    with (folder / "figure-7.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    feasible = [int(r["aggregators"]) for r in rows if r["slack"] == "0.0" and r["even"]]
    assert feasible == [1, 2, 4, 8, 16, 32]
    assert all((r["feasible"] == "True") == bool(r["even"]) == bool(r["random"]) for r in rows)
    claims = [row["agrees"] for row in results["rows"] if row["figure"] == 7]
    assert claims == ["yes"] * 4 + ["cannot be compared"]


def test_the_lattice_is_that_of_the_text():
    assert lattice().n == 289
    assert len(lattice().bonds) == 544


def test_bad_input(tmp_path, capsys):
    with pytest.raises(ScenarioError, match="expected some of 2, 3, 4, 5, 6, 7, 8"):
        command.reproduce(tmp_path, effort=TINY, figures=(1,))
    with pytest.raises(ScenarioError, match="expected some of"):
        command.reproduce(tmp_path, effort=TINY, figures=())
    assert main(["reproduce", "ising", "--figures", "two", "--out", str(tmp_path)]) == 2
    assert "whole numbers between commas" in capsys.readouterr().err
    (tmp_path / "bare.md").write_text("nothing\n")
    assert main(["reproduce", "ising", "--document", str(tmp_path / "bare.md")]) == 2
    assert "lacks the marks" in capsys.readouterr().err
