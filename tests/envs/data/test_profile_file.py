"""A user's profile file: what is read, and every way in which it can be wrong."""

import datetime as dt

import numpy as np
import pytest

from flexgym.envs.data import load_profiles, load_profiles_csv
from flexgym.envs.errors import ProfileDataError
from flexgym.envs.household.params import Load

HEADER = "time,pv,Miller"
QUARTER = dt.timedelta(minutes=15)
LEAP, ORDINARY = 366 * 96, 365 * 96


def stamps(start="2023-05-01T00:00", count=192, step=QUARTER):
    first = dt.datetime.fromisoformat(start)
    return [(first + i * step).isoformat() for i in range(count)]


def rows(times, powers="0.5,0.25"):
    return [f"{time},{powers}" for time in times]


@pytest.fixture
def read(tmp_path):
    def _read(lines, header=HEADER):
        file = tmp_path / "profiles.csv"
        file.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
        return load_profiles_csv(file)

    return _read


def fails(read, lines, match, **options):
    with pytest.raises(ProfileDataError, match=match):
        read(lines, **options)


def test_the_extract_survives_the_round_trip(read):
    year = load_profiles()
    names = list(year.load)
    table = np.stack([year.pv, *year.load.values()]).T.tolist()
    lines = [
        f"{time},{','.join(map(repr, values))}"
        for time, values in zip(stamps("2016-01-01T00:00", LEAP), table, strict=True)
    ]
    again = read(lines, ",".join(["time", "pv", *names]))
    assert list(again.load) == names
    assert again.start == year.start
    np.testing.assert_array_equal(again.pv, year.pv)
    for name in names:
        np.testing.assert_allclose(again.load[name], year.load[name], rtol=1e-14)
        assert again.energy_kwh[name] == pytest.approx(1.0, rel=1e-14)


def test_normalisation_and_the_level_of_each_load(read):
    rng = np.random.default_rng(0)
    pv_kw, a_kw, b_w = rng.uniform(0, 8, LEAP), rng.uniform(0, 3, LEAP), rng.uniform(0, 900, LEAP)
    values = zip(stamps("2024-01-01T00:00", LEAP), b_w, pv_kw, a_kw, strict=True)
    lines = [f"{float(b)!r},{time},{float(p)!r},{float(a)!r}" for time, b, p, a in values]
    profiles = read(lines, "the Smiths (W), time , pv,Miller")
    assert list(profiles.load) == ["the Smiths (W)", "Miller"]
    assert profiles.pv.max() == 1.0
    np.testing.assert_allclose(profiles.pv, pv_kw / pv_kw.max(), rtol=1e-14)
    for row in profiles.load.values():
        assert row.shape == (LEAP,)
        assert row.sum() * 0.25 == pytest.approx(1.0, rel=1e-12)
    assert profiles.energy_kwh["Miller"] == pytest.approx(a_kw.sum() / 4, rel=1e-12)
    load = Load("Miller", energy_kwh=profiles.energy_kwh["Miller"])
    np.testing.assert_allclose(load.energy_kwh * profiles.load[load.profile], a_kw, rtol=1e-12)
    # Watts taken for kW: the shape is right, the energy is a thousand times too high.
    np.testing.assert_allclose(
        profiles.energy_kwh["the Smiths (W)"] / 1000 * profiles.load["the Smiths (W)"],
        b_w / 1000,
        rtol=1e-12,
    )


def test_the_extract_has_no_level_of_its_own():
    assert dict(load_profiles().energy_kwh) == {}


def test_everything_is_read_only(read):
    profiles = read(rows(stamps("2023-01-01T00:00", ORDINARY)))
    for array in (profiles.pv, *profiles.load.values()):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
    for mapping in (profiles.load, profiles.energy_kwh):
        with pytest.raises(TypeError):
            mapping["Miller"] = 0.0


def test_a_column_that_never_changes(read):
    profiles = read(rows(stamps("2023-01-01T00:00", ORDINARY)))
    assert set(profiles.pv) == {1.0}
    np.testing.assert_allclose(profiles.load["Miller"], 1 / (366 * 24), rtol=1e-12)
    assert profiles.energy_kwh["Miller"] == 0.25 * 366 * 24


@pytest.mark.parametrize("start", ["2023-01-01T00:00", "2022-07-01T00:00", "2023-03-01T00:00"])
def test_an_ordinary_year_repeats_28_february(read, start):
    """Also one that passes New Year, or ends on 28 February of a leap year."""
    first = dt.datetime.fromisoformat(start)
    times = [first + i * QUARTER for i in range(ORDINARY)]

    def kw(time):
        return time.month + time.day / 100 + time.hour / 1e4 + time.minute / 1e6

    profiles = read([f"{time.isoformat()},{kw(time)!r},{kw(time)!r}" for time in times])
    year = [profiles.start + i * QUARTER for i in range(LEAP)]
    expected = [kw(t.replace(day=28) if (t.month, t.day) == (2, 29) else t) for t in year]
    assert profiles.energy_kwh["Miller"] == pytest.approx(sum(expected) / 4, rel=1e-12)
    np.testing.assert_allclose(
        profiles.load["Miller"] * profiles.energy_kwh["Miller"], expected, rtol=1e-12
    )
    np.testing.assert_allclose(profiles.pv, np.array(expected) / max(expected), rtol=1e-12)


def test_constant_offset_spaces_and_byte_order_mark(tmp_path):
    lines = ["\ufeffMiller, time ,pv"]
    lines += [f" 0.2,{t.replace('T', ' ')}+01:00, 0.1" for t in stamps("2024-01-01T00:00", LEAP)]
    file = tmp_path / "mark.csv"
    file.write_text("\n".join(lines), encoding="utf-8")
    assert list(load_profiles_csv(str(file)).load) == ["Miller"]


def test_missing_file(tmp_path):
    with pytest.raises(ProfileDataError, match=r"nothing\.csv cannot be read.*Check the path"):
        load_profiles_csv(tmp_path / "nothing.csv")
    with pytest.raises(ProfileDataError, match="cannot be read"):
        load_profiles_csv(tmp_path)


@pytest.mark.parametrize(
    "header",
    ["time,Miller", "pv,Miller", "time,pv", "time;pv;Miller", "time,pv,", "time,pv,A,A", "a,b,c"],
)
def test_wrong_columns(read, header):
    match = (
        r"line 1: the columns are .*expected time,pv,<load profile>\[,\.\.\.\], separated by "
        r"commas\. Name every column once, and one load profile or more besides\."
    )
    fails(read, rows(stamps()), match, header=header)


def test_empty(tmp_path, read):
    file = tmp_path / "empty.csv"
    file.write_text("")
    with pytest.raises(ProfileDataError, match=r"is empty; expected the header time,pv,<load"):
        load_profiles_csv(file)
    fails(read, [], "empty below its header; expected one row a quarter-hour")


def test_wrong_number_of_values(read):
    lines = rows(stamps())
    lines[3] = "2023-05-01T00:45,0,5,0,25"
    fails(read, lines, "line 5: 5 values; expected 3.*decimal comma")


@pytest.mark.parametrize("number", ["", "abc", "0.3 kW", "0;3"])
def test_unreadable_number(read, number):
    lines = rows(stamps())
    lines[1] = f"2023-05-01T00:15,0.5,{number}"
    fails(read, lines, r"line 3: Miller is .*expected a number such as 0\.412")


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999"])
def test_not_finite(read, number):
    lines = rows(stamps())
    lines[1] = f"2023-05-01T00:15,{number},0.25"
    fails(read, lines, "line 3: pv is .*finite number. Fill the gap, or leave out the column")


def test_negative(read):
    lines = rows(stamps())
    lines[7] = "2023-05-01T01:45,0.5,-0.25"
    fails(read, lines, r"line 9: Miller is -0\.25; expected consumption from 0 .*net power")
    lines[7] = "2023-05-01T01:45,-0.004,0.25"
    fails(read, lines, r"line 9: pv is -0\.004; expected solar generation from 0 .*Write 0 for")


def test_beyond_every_house(read):
    lines = rows(stamps())
    lines[7] = "2023-05-01T01:45,0.5,2e9"
    fails(read, lines, r"line 9: Miller is 2e\+09; expected consumption from 0 to 1e\+09")


@pytest.mark.parametrize("zero", ["0", "-0.0", "5e-324"])
def test_all_zero(read, zero):
    times = stamps("2023-01-01T00:00", ORDINARY)
    load = "column Miller is 0 in every row; expected .*Drop the column"
    fails(read, rows(times, "0.5,0"), load)
    lines = rows(times, "0,0.25")
    lines[0] = f"{times[0]},{zero},0.25"
    fails(read, lines, "column pv is 0 in every row; expected .*pv_kwp=0")


@pytest.mark.parametrize("time", ["01.05.2023 00:15", "2023-05-01", "2023-13-01T00:15", ""])
def test_bad_or_ambiguous_time_stamp(read, time):
    lines = rows(stamps())
    lines[1] = f"{time},0.5,0.25"
    fails(read, lines, "line 3: time is .*ISO time stamp")


def test_gap(read):
    lines = rows(stamps(count=288))
    del lines[100]
    match = "line 102: 2023-05-02T01:15:00 follows .*a gap of 0:15:00.*profiles cover the whole"
    fails(read, lines, match)


def test_a_leap_year_without_its_29_february_has_a_gap(read):
    lines = rows(stamps("2024-02-27T00:00", 384))
    del lines[192:288]
    fails(read, lines, "line 194: 2024-03-01T00:00:00 follows .*a gap of 1 day")


def test_duplicate(read):
    lines = rows(stamps())
    lines.insert(5, lines[4])
    fails(read, lines, "line 7: duplicate time stamp 2023-05-01T01:00:00")


def test_unordered(read):
    fails(read, rows(stamps())[::-1], "line 3: .*out of order.*Sort the rows")


def test_hourly(read):
    lines = rows(stamps("2023-01-01T00:00", 8760, dt.timedelta(hours=1)))
    fails(read, lines, "line 3: the rows are 1:00:00 apart; .*Repeat an hourly value four times")


def test_daylight_saving(read):
    spring = rows(stamps("2023-03-25T00:00", 288))
    del spring[96 + 8 : 96 + 12]  # 26 March 2023, 02:00 to 03:00
    fails(read, spring, "line 106: .*daylight-saving day of 92 quarter-hours.*UTC or in standard")
    autumn = stamps("2023-10-28T00:00", 288)
    autumn[96 + 12 : 96 + 12] = autumn[96 + 8 : 96 + 12]  # 29 October 2023, 02:00 twice
    fails(read, rows(autumn), "line 110: .*daylight-saving day of 100 quarter-hours")
    offsets = [f"{t}+01:00" for t in stamps("2023-03-26T00:00", 8)]
    offsets += [f"{t}+02:00" for t in stamps("2023-03-26T03:00", 180)]
    fails(read, rows(offsets), "line 10: .*daylight-saving day of 92")


def test_mixed_zones(read):
    times = stamps()
    times[50] += "Z"
    fails(read, rows(times), "line 52: .*ambiguous")


@pytest.mark.parametrize("start", ["2023-01-01T00:15", "2023-01-01T00:07", "2023-01-01T06:00"])
def test_ends_of_quarter_hours_or_a_part_of_a_day(read, start):
    """Stamps at the ends would otherwise pass for a year that is a quarter-hour late."""
    match = r"line 2: the first time stamp is .*expected 00:00 of a day.*15 minutes back"
    fails(read, rows(stamps(start, ORDINARY)), match)


@pytest.mark.parametrize(
    ("start", "count", "lacking", "first"),
    [
        ("2023-01-01T00:00", ORDINARY - 1, 1, "12-31T23:45"),
        ("2023-01-02T00:00", ORDINARY - 96, 96, "01-01T00:00"),
        ("2024-01-01T00:00", ORDINARY, 96, "12-31T00:00"),
        ("2023-03-01T00:00", ORDINARY + 1, 95, "02-29T00:15"),
        ("2023-05-01T00:00", 192, 363 * 96, "01-01T00:00"),
        ("2023-05-01T00:00", 1, ORDINARY - 1, "01-01T00:00"),
    ],
)
def test_less_than_a_year(read, start, count, lacking, first):
    match = f"lines 2 to {count + 1} run from {start}.* lack {lacking} quarter-hours of the year, "
    fails(read, rows(stamps(start, count)), match + f"the first at {first}; expected a whole year")


def test_more_than_a_year(read):
    lines = rows(stamps("2022-01-01T00:00", LEAP))
    fails(read, lines, "line 35042: 2023-01-01T00:00:00 .*at most one year")
