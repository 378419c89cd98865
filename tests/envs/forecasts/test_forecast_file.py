"""Forecasts from a user's file: what is read, and every way in which it can be wrong."""

import datetime as dt

import numpy as np
import pytest

from flexgym.envs.errors import ForecastError, PriceDataError
from flexgym.envs.forecasts.forecast_file import load_forecasts, read_record
from flexgym.envs.forecasts.forecaster import Forecaster

HEADER = "issued,target,price_eur_per_kwh"
START = dt.datetime(2023, 5, 1)
HOUR = dt.timedelta(hours=1)


def rows(hours=5, leads=2, zone=""):
    """All forecasts issued in these hours; the value says hour and lead time."""
    return [
        f"{(START + s * HOUR).isoformat()}{zone},{(START + (s + k) * HOUR).isoformat()}{zone},"
        f"{0.1 + 0.01 * (s + k) + 0.001 * k}"
        for s in range(hours)
        for k in range(leads + 1)
    ]


@pytest.fixture
def write(tmp_path):
    def _write(lines, header=HEADER):
        path = tmp_path / "mine.csv"
        path.write_text("\n".join([header, *lines]) + "\n")
        return path

    return _write


@pytest.mark.parametrize("zone", ["", "Z", "+01:00"])
def test_the_table(write, zone):
    record = load_forecasts(write(rows(5, 2, zone)))
    # hours 0 and 1 lack forecasts from before the file, hours 5 and 6 are not realised
    assert record.start == START + 2 * HOUR
    t, k = np.arange(2, 5)[:, None], np.arange(3)
    np.testing.assert_allclose(record.forecast, 0.1 + 0.01 * t + 0.001 * k)
    assert record.name == "mine.csv"
    assert record.time(1) == START + 3 * HOUR
    assert record.hour_of_day.tolist() == [2, 3, 4]


def test_rows_in_any_order_and_fewer_leads(write):
    mixed = list(np.random.default_rng(0).permutation(rows(6, 3)))
    whole = load_forecasts(write(mixed))
    assert whole.forecast.shape == (3, 4)
    short = load_forecasts(write(mixed), leads=1)
    assert short.start == START + HOUR
    assert short.forecast.shape == (5, 2)
    np.testing.assert_array_equal(short.forecast[2:], whole.forecast[:, :2])


def without(lines, index):
    return lines[:index] + lines[index + 1 :]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (without(rows(), 7), "2023-05-01T03:00:00 lacks the lead times 1; expected every lead"),
        (rows(8)[:9] + rows(8)[15:], "2023-05-01T03:00:00 lacks the lead times 0; expected"),
        (
            [row for i, row in enumerate(rows()) if i % 3 != 1],
            "no hour has all lead times 0 to 2: .*; expected every lead time from 0 to 2 in one",
        ),
        # one wrong year in a file that is long enough to hold it
        (
            [*rows(40, 4), "0023-05-01T05:00,2023-05-02T05:00,0.1"],
            "lacks the lead times 5, 6, 7, 8, 9, 10, ...; expected .*Correct line 202 if its",
        ),
        ([row for i, row in enumerate(rows()) if i % 3 == 0], "longest lead time is 0"),
        ([*rows(), rows()[4]], "line 17: a second forecast of 2023-05-01T02:00:00, 1 hours"),
        ([*rows(), "2024-05-01T00:00,2024-05-01T00:00,0.1"], "16 rows cover 8785 hours"),
        ([*rows(), "2023-05-01T05:00,2023-05-01T04:00,0.1"], "line 17: issued .* is after its"),
        ([*rows(), "2023-05-01T05:00,2023-05-01T05:00,nan"], "line 17: price_eur_per_kwh is nan"),
        ([*rows(), "2023-05-01T05:00,2023-05-01T05:00,"], "expected a number"),
        ([*rows(), "2023-05-01T05:00,2023-05-01T05:00,31.5"], "line 17: .*EUR/MWh.*or ct/kWh"),
        ([*rows(), "2023-05-01T05:15,2023-05-01T06:00,0.1"], "line 17: .* a full hour"),
        ([*rows(), "2023-05-01T05:00Z,2023-05-01T05:00Z,0.1"], "line 17: .*another time zone"),
        ([*rows(), "01.05.2023,2023-05-01T05:00,0.1"], "ISO time stamp"),
        ([], "empty below its header"),
    ],
)
def test_bad_files_are_named(write, lines, says):
    with pytest.raises(ForecastError, match=says):
        load_forecasts(write(lines))


def test_the_kind_of_file_is_told_by_its_header(write, tmp_path):
    assert read_record(write(rows())).leads == 2
    quarters = [
        f"{(START + i * dt.timedelta(minutes=15)).isoformat()},{0.2 + 0.001 * (i % 96)},0.05"
        for i in range(96 * 17)
    ]
    prices = write(quarters, "time,import_eur_per_kwh,export_eur_per_kwh")
    record = read_record(prices, 5, forecaster=Forecaster(7))
    assert record.forecast.shape == (17 * 24 - 14 * 24 - 5, 6)
    # the mean of four quarter-hours
    assert record.price_eur_per_kwh[0] == pytest.approx(0.2 + 0.001 * (5 * 4 + 1.5))
    assert "7 days" in record.forecaster
    with pytest.raises(PriceDataError, match="has 408 hours"):
        read_record(prices)
    with pytest.raises(ForecastError, match="cannot be read"):
        read_record(tmp_path / "nowhere.csv")
    both = "columns are a, b, c; expected issued,target,.* or time,import_eur_per_kwh"
    with pytest.raises(ForecastError, match=both):
        read_record(write(rows(), "a,b,c"))
    with pytest.raises(ForecastError, match="columns are none"):
        read_record(write([], ""))
    with pytest.raises(PriceDataError, match="expected time,import_eur_per_kwh"):
        read_record(write(rows(), "Time,import_eur_per_kwh,export_eur_per_kwh"))
    assert read_record(write(rows(), '"issued", target,"price_eur_per_kwh"')).leads == 2
    for header in ("Issued,Target,price_eur_per_kwh", "issued;target;price_eur_per_kwh"):
        with pytest.raises(ForecastError, match="separated by commas"):
            read_record(write(rows(), header))
    with pytest.raises(ForecastError, match="columns"):
        read_record(write(rows(), "issued,target,price"))


@pytest.mark.parametrize("read", [load_forecasts, read_record])
def test_bad_arguments_are_named(write, read):
    path = write(rows())
    for leads in ("2", 1.5, True, 0, -1, 10**30):
        with pytest.raises(ForecastError, match="leads is"):
            read(path, leads)
    for most in ("x", None, [3.0], True, -1.0, np.nan):
        with pytest.raises(ForecastError, match="max_eur_per_kwh is"):
            read(path, max_eur_per_kwh=most)
    for wrong in (None, 3, ["mine.csv"]):
        with pytest.raises(ForecastError, match="path is"):
            read(wrong)
    with pytest.raises(ForecastError, match="leads is 3 and the file's longest lead time 2"):
        read(path, 3)
    assert read(str(path), np.int64(1)).leads == 1
