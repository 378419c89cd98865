"""``flexgym describe forecasts``: its numbers are the estimates, its pictures are readable."""

import csv
import datetime as dt
import json

import numpy as np
import pytest

from flexgym.cli import main
from flexgym.envs.forecasts.estimate import estimate
from flexgym.envs.forecasts.forecast_file import load_forecasts
from flexgym.envs.forecasts.generator import ForecastGenerator
from flexgym.envs.forecasts.record import ForecastRecord
from flexgym.evaluate.forecast_pictures import future

HOUR = dt.timedelta(hours=1)
START = dt.datetime(2023, 5, 1)


def forecast_file(path, hours=80, leads=5):
    """A file of forecasts whose updates are independent."""
    rng = np.random.default_rng(0)
    generator = ForecastGenerator(0.01 * rng.normal(size=(50, leads)))
    table = generator.draw(np.full(hours, 0.25), rng)
    lines = []
    for t, row in enumerate(table):
        for k, value in enumerate(row):
            issued, target = START + (t - k) * HOUR, START + t * HOUR
            lines.append(f"{issued.isoformat()},{target.isoformat()},{value:.17g}")
    path.write_text("issued,target,price_eur_per_kwh\n" + "\n".join(lines) + "\n")
    return path


def test_a_file_of_forecasts(tmp_path, capsys, monkeypatch, drawn, crowded):
    monkeypatch.setenv("COLUMNS", "40")  # which a file has none of
    mine = forecast_file(tmp_path / "mine.csv")
    document = tmp_path / "page.md"
    document.write_text("# Page\n<!-- forecasts -->\nold\n<!-- end forecasts -->\n")
    out = tmp_path / "out"
    command = ["describe", "forecasts", "--prices", str(mine), "--out", str(out)]
    assert main([*command, "--document", str(document)]) == 0
    printed = capsys.readouterr().out
    assert "Forecasts of mine.csv" in printed
    (head,) = [line for line in printed.splitlines() if "bias" in line and "update" in line][:1]
    assert all(name in head for name in ("95 %", "chain", "rev.", "ser."))
    assert "the file's own forecasts" in printed
    results = json.loads((out / "results.json").read_text())
    record = load_forecasts(mine)
    found = estimate(record)
    assert results["scenario"]["hours"] == record.periods == 80
    assert [row["lead_h"] for row in results["rows"]] == [1, 2, 3, 4, 5]
    for k, row in enumerate(results["rows"]):
        assert row["error_sd_eur_per_kwh"] == found.error.sd[k]
        assert row["error_q95_eur_per_kwh"] == found.error.quantiles[-1, k]
        assert row["update_sd_eur_per_kwh"] == found.update.sd[k]
        assert row["serial_z"] == found.martingale.serial_z[k]
    assert results["rows"][-1]["revision_z"] is None
    assert results["martingale_p"] == found.martingale.p_value
    with (out / "histograms.csv").open() as file:
        counted = list(csv.DictReader(file))
    for quantity, lead in (("price", 0), ("error", 3), ("update", 5)):
        rows = [r for r in counted if r["quantity"] == quantity and int(r["lead_h"]) == lead]
        assert sum(int(r["count"]) for r in rows) == 80
        # the histogram's mean is the sample's, to half a bar
        middle = [0.5 * (float(r["low_eur_per_kwh"]) + float(r["high_eur_per_kwh"])) for r in rows]
        width = float(rows[0]["high_eur_per_kwh"]) - float(rows[0]["low_eur_per_kwh"])
        values = {
            "price": record.price_eur_per_kwh,
            "error": record.forecast[:, 3] - record.forecast[:, 0],
            "update": record.forecast[:, 4] - record.forecast[:, 5],
        }[quantity]
        mean = np.average(middle, weights=[int(r["count"]) for r in rows])
        assert mean == pytest.approx(values.mean(), abs=0.5 * width)
    page = document.read_text()
    assert page.startswith("# Page\n<!-- forecasts -->\n| h | bias | sd |")
    assert f"| 5 | {round(100 * found.error.mean[4], 2) + 0.0:.2f} |" in page
    assert (out / "results.csv").read_text().count("\n") == 6
    assert len(drawn) == 2
    for figure in drawn:
        assert crowded(figure) == []


def test_the_synthetic_year(tmp_path, capsys, drawn, crowded):
    out = tmp_path / "out"
    assert main(["describe", "forecasts", "--out", str(out), "--leads", "30"]) == 0
    assert "synthetic day-ahead" in capsys.readouterr().out
    results = json.loads((out / "results.json").read_text())
    assert len(results["rows"]) == 30
    assert 0.0 < results["signals"]["persistence"] < 1.0
    assert results["signals"]["misfit"] < 0.1
    for name in ("histograms.png", "fan.png"):
        assert (out / name).read_bytes()[:4] == b"\x89PNG"
    for figure in drawn:
        assert crowded(figure) == []


def test_perfect_forecasts_are_drawn_too(tmp_path, drawn):
    lines = [
        f"{(START + (t - k) * HOUR).isoformat()},{(START + t * HOUR).isoformat()},{0.1 + t % 3}"
        for t in range(40)
        for k in (0, 1)
    ]
    mine = tmp_path / "perfect.csv"
    mine.write_text("issued,target,price_eur_per_kwh\n" + "\n".join(lines) + "\n")
    command = ["describe", "forecasts", "--prices", str(mine), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    assert len(drawn) == 2


def test_what_may_follow_has_the_updates_errors():
    """Drawn prices around a forecast spread as the generator says, and share what is learnt."""
    vectors = 0.01 * np.random.default_rng(1).normal(size=(400, 4))
    generator = ForecastGenerator.of(
        ForecastRecord(
            START, ForecastGenerator(vectors).draw(np.zeros(900), np.random.default_rng(2)), ""
        )
    )
    apart = future(generator, np.random.default_rng(3), 40_000)
    assert not apart[:, 0].any()
    np.testing.assert_allclose(apart[:, 1:].std(axis=0), generator.error_sd_eur_per_kwh, rtol=0.03)
    # prices one and two hours ahead share the updates of the first hour
    shared = generator.covariance[0, 1]
    assert np.mean(apart[:, 1] * apart[:, 2]) == pytest.approx(shared, abs=2e-6)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--leads 0", "leads is 0"),
        ("--bins 0", "bins is 0"),
        ("--prices nowhere.csv", "nowhere.csv"),
        ("--document nowhere.md", "nowhere.md"),
    ],
)
def test_bad_options_end_with_2(options, says, tmp_path, capsys):
    assert main(["describe", "forecasts", "--out", str(tmp_path), *options.split()]) == 2
    assert says in capsys.readouterr().err
