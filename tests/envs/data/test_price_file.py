"""A user's price file: what is read, and every way in which it can be wrong."""

import datetime as dt

import numpy as np
import pytest

from flexgym.envs.data import (
    HourlyPrices,
    load_hourly_prices,
    load_prices,
    synthetic_prices,
)
from flexgym.envs.errors import PriceDataError

HEADER = "time,import_eur_per_kwh,export_eur_per_kwh"
QUARTER = dt.timedelta(minutes=15)


def stamps(start="2023-05-01T00:00", count=192, step=QUARTER):
    first = dt.datetime.fromisoformat(start)
    return [(first + i * step).isoformat() for i in range(count)]


def rows(times, price="0.30,0.07"):
    return [f"{time},{price}" for time in times]


@pytest.fixture
def read(tmp_path):
    def _read(lines, header=HEADER, **options):
        file = tmp_path / "prices.csv"
        file.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
        return load_prices(file, **options)

    return _read


def fails(read, lines, match, **options):
    with pytest.raises(PriceDataError, match=match):
        read(lines, **options)


def test_two_days(read):
    prices = read(rows(stamps()))
    assert prices.covered_days().tolist() == [121]  # 1 May of the leap year 2016
    assert prices.name == "prices.csv"
    known = np.isfinite(prices.import_eur_per_kwh)
    assert known.sum() == 192
    assert set(prices.import_eur_per_kwh[known]) == {0.3}
    assert set(prices.export_eur_per_kwh[known]) == {0.07}


def test_values_land_on_their_quarter_hour(read):
    prices = read([f"{t},{0.2 + i / 1000},0.01" for i, t in enumerate(stamps())])
    np.testing.assert_allclose(
        prices.import_eur_per_kwh[121 * 96 : 123 * 96], 0.2 + np.arange(192) / 1000
    )


def test_columns_in_any_order_spaces_utc_and_byte_order_mark(tmp_path):
    lines = ["\ufeffexport_eur_per_kwh, time ,import_eur_per_kwh"]
    lines += [f"0.07, {t.replace('T', ' ')}Z,0.30" for t in stamps()]
    file = tmp_path / "mark.csv"
    file.write_text("\n".join(lines), encoding="utf-8")
    assert load_prices(str(file)).covered_days().tolist() == [121]


def test_a_synthetic_year_survives_the_round_trip(read):
    year = synthetic_prices()
    values = zip(
        stamps("2016-01-01T00:00", 35136),
        year.import_eur_per_kwh.tolist(),
        year.export_eur_per_kwh.tolist(),
        strict=True,
    )
    again = read([f"{t},{a!r},{b!r}" for t, a, b in values])
    np.testing.assert_array_equal(again.import_eur_per_kwh, year.import_eur_per_kwh)
    np.testing.assert_array_equal(again.export_eur_per_kwh, year.export_eur_per_kwh)


def test_an_ordinary_year_leaves_29_february_open(read):
    prices = read(rows(stamps("2023-01-01T00:00", 365 * 96)))
    assert sorted(set(range(365)) - set(prices.covered_days().tolist())) == [58, 59]


def test_across_new_year(read):
    prices = read(rows(stamps("2022-12-30T00:00", 4 * 96)))
    assert prices.covered_days().tolist() == [0, 364]


def test_missing_file(tmp_path):
    with pytest.raises(PriceDataError, match=r"nothing\.csv cannot be read.*Check the path"):
        load_prices(tmp_path / "nothing.csv")
    with pytest.raises(PriceDataError, match="cannot be read"):
        load_prices(tmp_path)


def test_not_text(tmp_path):
    file = tmp_path / "binary.csv"
    file.write_bytes(b"\xff\xfe\x00t")
    with pytest.raises(PriceDataError, match="UTF-8"):
        load_prices(file)


@pytest.mark.parametrize("header", ["time,price", "a;b;c", HEADER + ",note", "time," * 3])
def test_wrong_columns(read, header):
    fails(read, rows(stamps()), f"line 1: the columns are .*expected {HEADER}", header=header)


def test_empty(tmp_path, read):
    file = tmp_path / "empty.csv"
    file.write_text("")
    with pytest.raises(PriceDataError, match="is empty; expected the header"):
        load_prices(file)
    fails(read, [], "empty below its header")


def test_wrong_number_of_values(read):
    lines = rows(stamps())
    lines[3] = "2023-05-01T00:45,0,30,0,07"
    fails(read, lines, "line 5: 5 values; expected 3.*decimal comma")


@pytest.mark.parametrize("number", ["", "abc", "0.3 EUR", "0;3"])
def test_unreadable_number(read, number):
    lines = rows(stamps())
    lines[1] = f"2023-05-01T00:15,{number},0.07"
    fails(read, lines, "line 3: import_eur_per_kwh is .*expected a number")


@pytest.mark.parametrize("number", ["nan", "NaN", "inf", "-inf", "1e999"])
def test_not_finite(read, number):
    lines = rows(stamps())
    lines[1] = f"2023-05-01T00:15,0.30,{number}"
    fails(read, lines, "line 3: export_eur_per_kwh is .*finite")


@pytest.mark.parametrize(
    "time",
    ["01.05.2023 00:15", "05/01/2023 00:15", "2023-W18-1", "2023-05-01", "2023-13-01T00:15", ""],
)
def test_bad_or_ambiguous_time_stamp(read, time):
    lines = rows(stamps())
    lines[1] = f"{time},0.30,0.07"
    fails(read, lines, "line 3: time is .*ISO time stamp")


def test_gap(read):
    lines = rows(stamps(count=288))
    del lines[100]
    fails(read, lines, "line 102: 2023-05-02T01:15:00 follows .*a gap of 0:15:00.*Fill the gap")


def test_missing_hour_on_a_weekday_is_a_gap(read):
    lines = rows(stamps("2023-03-27T00:00", 288))  # a Monday
    del lines[8:12]
    fails(read, lines, "line 10: .*a gap of 1:00:00")


def test_duplicate(read):
    lines = rows(stamps())
    lines.insert(5, lines[4])
    fails(read, lines, "line 7: duplicate time stamp 2023-05-01T01:00:00")


def test_unordered(read):
    lines = rows(stamps())
    lines[10], lines[11] = lines[11], lines[10]
    fails(read, lines, "line 12: .*a gap")
    fails(read, rows(stamps())[::-1], "line 3: .*out of order.*Sort the rows")


@pytest.mark.parametrize("minutes", [60, 30, 5])
def test_not_quarter_hourly(read, minutes):
    lines = rows(stamps(step=dt.timedelta(minutes=minutes), count=600))
    fails(read, lines, "line 3: the rows are .* apart; expected 0:15:00")


def test_spring_forward(read):
    lines = rows(stamps("2023-03-25T00:00", 288))
    del lines[96 + 8 : 96 + 12]  # 26 March 2023, 02:00 to 03:00
    fails(read, lines, "line 106: .*daylight-saving day of 92 quarter-hours.*UTC or in standard")


def test_fall_back(read):
    times = stamps("2023-10-28T00:00", 288)
    times[96 + 12 : 96 + 12] = times[96 + 8 : 96 + 12]  # 29 October 2023, 02:00 twice
    fails(read, rows(times), "line 110: .*daylight-saving day of 100 quarter-hours")


def test_changing_offset_is_daylight_saving(read):
    times = [f"{t}+01:00" for t in stamps("2023-03-26T00:00", 8)]
    times += [f"{t}+02:00" for t in stamps("2023-03-26T03:00", 180)]
    fails(read, rows(times), "line 10: .*daylight-saving day of 92")


def test_mixed_zones(read):
    times = stamps()
    times[50] += "Z"
    fails(read, rows(times), "line 52: .*ambiguous")


@pytest.mark.parametrize("price", ["85.2,60", "28.5,7", "0.3,-50", "3.01,0"])
def test_wrong_unit(read, price):
    lines = rows(stamps())
    lines[7] = f"2023-05-01T01:45,{price}"
    fails(read, lines, "line 9: a price of .*EUR/MWh .*ct/kWh")


def test_limit_can_be_raised(read):
    assert read(rows(stamps(), "3.5,0.1"), max_eur_per_kwh=4.0).covers(121)
    with pytest.raises(PriceDataError, match=r"at most 0\.2"):
        read(rows(stamps()), max_eur_per_kwh=0.2)


def test_export_above_import(read):
    lines = rows(stamps())
    lines[7] = "2023-05-01T01:45,0.10,0.11"
    fails(read, lines, "line 9: the export price 0.11 is above the import price 0.1")


@pytest.mark.parametrize(
    ("start", "count"),
    [("2023-05-01T00:15", 192), ("2023-05-01T00:00", 191), ("2023-05-01T00:00", 96)],
)
def test_whole_days_two_at_least(read, start, count):
    fails(read, rows(stamps(start, count)), "whole days .* two at least")


def test_a_single_row(read):
    fails(read, rows(stamps(count=1)), "whole days")


def test_more_than_a_year(read):
    lines = rows(stamps("2022-01-01T00:00", 366 * 96))
    fails(read, lines, "line 35042: 2023-01-01T00:00:00 .*at most one year")


def test_hourly_means_keep_dates_and_years(tmp_path):
    file = tmp_path / "two years.csv"
    times = stamps("2023-02-27T00:00", 367 * 96)  # meets its first dates again
    lines = [f"{t},{0.1 + 0.001 * (i % 8)},0.05" for i, t in enumerate(times)]
    file.write_text("\n".join([HEADER, *lines]))
    hourly = load_hourly_prices(file)
    assert hourly.start == dt.datetime(2023, 2, 27)
    assert hourly.price_eur_per_kwh.shape == (367 * 24,)
    np.testing.assert_allclose(hourly.price_eur_per_kwh[:3], [0.1015, 0.1055, 0.1015])
    with pytest.raises(PriceDataError, match="had"):
        load_prices(file)


def test_hourly_means_of_the_year_need_all_of_it(read):
    year = synthetic_prices()
    hourly = HourlyPrices.of_year(year)
    assert hourly.price_eur_per_kwh[1] == pytest.approx(year.import_eur_per_kwh[4:8].mean())
    assert hourly.name == year.name
    with pytest.raises(PriceDataError, match="2016-01-01T00:00:00 is nan"):
        HourlyPrices.of_year(read(rows(stamps())))


def test_hourly_prices_are_checked_like_the_others(tmp_path):
    file = tmp_path / "prices.csv"
    file.write_text("\n".join([HEADER, *rows(stamps(), "30,7")]))
    with pytest.raises(PriceDataError, match="ct/kWh"):
        load_hourly_prices(file)
