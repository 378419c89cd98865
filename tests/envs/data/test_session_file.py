"""A user's file of car sessions: what is read, and every way in which it can be wrong."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexgym.envs import Session
from flexgym.envs.data import EPISODES, date, feeder43, load_sessions, synthetic_sessions
from flexgym.envs.errors import SessionDataError

HEADER = "arrival,departure,arrival_kwh,needed_kwh"
QUARTER = dt.timedelta(minutes=15)
GOOD = "2023-05-01T18:00,2023-05-02T05:30,20,40"
MAY_1 = 121  # 1 May of the leap year 2016
FEBRUARY_28, FEBRUARY_29, MARCH_1 = 58, 59, 60


def write(folder, lines, header=HEADER):
    file = folder / "cars.csv"
    file.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return file


@pytest.fixture
def read(tmp_path):
    def _read(lines, header=HEADER, **options):
        if isinstance(lines, str):
            lines = [lines]
        return load_sessions(write(tmp_path, lines, header), **options)

    return _read


def fails(read, lines, match, **options):
    with pytest.raises(SessionDataError, match=match):
        read(lines, **options)


def line(session, day, year=2016, car=None):
    start = dt.datetime.combine(date(day).replace(year=year), dt.time(6))
    times = (start + period * QUARTER for period in (session.arrival, session.departure))
    text = [time.isoformat() for time in times]
    text += [repr(session.arrival_kwh), repr(session.needed_kwh)]
    return ",".join(text if car is None else [*text, car])


def test_one_session(read):
    sessions = read(GOOD)
    assert sessions.name == "cars.csv"
    assert sessions.by_car == ({MAY_1: (Session(48, 94, 20.0, 40.0),)},)
    assert sessions.of(3, MAY_1) == (Session(48, 94, 20.0, 40.0),)


def test_columns_in_any_order_spaces_utc_and_byte_order_mark(tmp_path):
    lines = "\ufeffneeded_kwh, arrival ,departure,arrival_kwh\n"
    lines += "40, 2023-05-01 18:00:00Z,2023-05-02 05:30Z , 20\n\n"
    file = tmp_path / "mark.csv"
    file.write_text(lines, encoding="utf-8")
    assert load_sessions(str(file)).by_car == ({MAY_1: (Session(48, 94, 20.0, 40.0),)},)


def test_one_offset_is_dropped(read):
    times = "2023-05-01T18:00+01:00,2023-05-02T05:30+0100"
    assert read(f"{times},20,40").by_car == read(GOOD).by_car


def test_several_visits_of_a_day_in_any_order(read):
    lines = [
        "2023-05-02T02:00,2023-05-02T06:00,30,40",
        "2023-05-01T18:00,2023-05-01T22:00,20,30",
        "2023-05-01T06:00,2023-05-01T18:00,10,30",
        "2023-05-02T06:00,2023-05-02T06:15,40,40",
    ]
    first = (Session(0, 48, 10, 30), Session(48, 64, 20, 30), Session(80, 96, 30, 40))
    assert read(lines).by_car == ({MAY_1: first, MAY_1 + 1: (Session(0, 1, 40, 40),)},)


def test_cars_in_order_of_first_appearance(read):
    lines = [f"{GOOD},red", f"{GOOD},a 2nd one", GOOD.replace("05-0", "06-0") + ",red"]
    sessions = read(lines, header=HEADER + ",car")
    assert [sorted(days) for days in sessions.by_car] == [[MAY_1, MAY_1 + 31], [MAY_1]]
    assert [bool(sessions.of(i, MAY_1 + 31)) for i in range(4)] == [True, False, True, False]


def test_a_synthetic_year_survives_the_round_trip(read):
    made = synthetic_sessions(feeder43(0, "stress")[:3])
    lines = [
        line(session, day, car=f"car {i}")
        for i, days in enumerate(made.by_car)
        for day in days
        for session in made.of(i, day)
    ]
    assert read(lines, header=HEADER + ",car").by_car == made.by_car


def paired(periods):
    first = iter(sorted(periods))
    return [Session(a, b, 1.5, 2.5) for a, b in zip(first, first, strict=False)]


visits = st.lists(st.integers(0, 96), min_size=2, max_size=8, unique=True).map(paired)


@given(
    days=st.dictionaries(st.integers(0, EPISODES - 1), visits, max_size=6, min_size=1),
    order=st.randoms(use_true_random=False),
)
@settings(max_examples=50, deadline=None)
def test_whatever_is_written_is_read(tmp_path_factory, days, order):
    lines = [line(session, day) for day, sessions in days.items() for session in sessions]
    order.shuffle(lines)
    file = write(tmp_path_factory.mktemp("any"), lines)
    assert load_sessions(file).by_car == ({day: tuple(days[day]) for day in days},)


def test_29_february(read):
    leap = "2024-02-29T18:00,2024-03-01T06:00,20,40"
    assert set(read(leap).by_car[0]) == {FEBRUARY_29}
    night = "2024-03-01T02:00,2024-03-01T06:00,20,40"
    assert set(read(night).by_car[0]) == {FEBRUARY_29}


def test_a_night_into_march_of_an_ordinary_year_stays_with_28_february(read):
    lines = [
        "2023-02-28T18:00,2023-03-01T01:00,20,40",
        "2023-03-01T02:00,2023-03-01T06:00,20,40",
        "2023-03-01T18:00,2023-03-02T06:00,20,40",
    ]
    nights = (Session(48, 76, 20, 40), Session(80, 96, 20, 40))
    assert read(lines).by_car == ({FEBRUARY_28: nights, MARCH_1: (Session(48, 96, 20, 40),)},)


def test_across_new_year(read):
    lines = [
        "2022-12-30T18:00,2022-12-31T05:00,20,40",
        "2023-01-01T06:00,2023-01-01T08:00,20,40",
    ]
    assert set(read(lines).by_car[0]) == {364, 0}


@pytest.mark.parametrize(
    "time", ["2022-12-31T06:00", "2022-12-31T23:45", "2023-01-01T00:00", "2023-01-01T05:45"]
)
def test_the_night_of_new_year_has_no_episode(read, time):
    text = f"{time},2023-01-01T06:00,20,40"
    fails(read, [GOOD, text], f"line 3: the arrival {time}:00 lies .*none. Leave out the session")


def test_past_the_end_of_the_episode(read):
    text = "2023-05-01T18:00,2023-05-02T07:30,20,40"
    match = "line 2: the session .* runs past 2023-05-02T06:00:00; expected .*Pass cut_at_end=True"
    fails(read, text, match)
    assert read(text, cut_at_end=True).by_car == ({MAY_1: (Session(48, 96, 20, 40),)},)


def test_a_cut_weekend_belongs_to_its_first_episode(read):
    lines = [
        "2023-05-05T18:00,2023-05-08T07:00,20,40",
        "2023-05-08T18:00,2023-05-09T07:00,30,40",
    ]
    days = read(lines, cut_at_end=True).by_car[0]
    assert days == {125: (Session(48, 96, 20, 40),), 128: (Session(48, 96, 30, 40),)}


def test_an_early_arrival_must_leave_by_six(read):
    fails(read, "2023-05-02T05:45,2023-05-02T06:15,20,40", "runs past 2023-05-02T06:00:00")


def test_missing_file(tmp_path):
    with pytest.raises(SessionDataError, match=r"nothing\.csv cannot be read.*Check the path"):
        load_sessions(tmp_path / "nothing.csv")
    with pytest.raises(SessionDataError, match="cannot be read"):
        load_sessions(tmp_path)


def test_not_text(tmp_path):
    file = tmp_path / "binary.csv"
    file.write_bytes(b"\xff\xfe\x00t")
    with pytest.raises(SessionDataError, match="UTF-8"):
        load_sessions(file)


@pytest.mark.parametrize(
    "header",
    ["arrival,departure", "a;b;c", HEADER + ",note", HEADER + ",car,car", HEADER + ",needed_kwh"],
)
def test_wrong_columns(read, header):
    match = rf"line 1: the columns are .*expected {HEADER}\[,car\].*Rename the columns"
    fails(read, GOOD, match, header=header)


def test_empty(tmp_path, read):
    file = tmp_path / "empty.csv"
    file.write_text("")
    with pytest.raises(
        SessionDataError, match=r"is empty; expected the header .* one row a session"
    ):
        load_sessions(file)
    fails(read, [], "empty below its header; expected one row a session")


def test_wrong_number_of_values(read):
    fails(read, [GOOD, GOOD + ",5"], "line 3: 5 values; expected 4.*decimal comma")
    fails(read, [GOOD], "line 2: 4 values; expected 5", header=HEADER + ",car")


@pytest.mark.parametrize("column", [2, 3])
@pytest.mark.parametrize(
    ("number", "match"),
    [
        ("", "expected a number such as 12.5"),
        ("20 kWh", "expected a number"),
        ("nan", "expected a finite number. .*leave out the session"),
        ("inf", "expected a finite number"),
        ("-0.5", "-0.5; expected .*kWh >= 0"),
    ],
)
def test_bad_energies(read, column, number, match):
    fields = GOOD.split(",")
    fields[column] = number
    name = HEADER.split(",")[column]
    fails(read, [GOOD, ",".join(fields)], f"line 3: {name} is .*{match}")


@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.parametrize(
    "time", ["01.05.2023 18:00", "05/01/2023 18:00", "2023-W18-1", "2023-05-01", "18:00", ""]
)
def test_bad_or_ambiguous_time_stamp(read, column, time):
    fields = GOOD.split(",")
    fields[column] = time
    name = HEADER.split(",")[column]
    fails(read, [GOOD, ",".join(fields)], f"line 3: {name} is .*ISO time stamp")


@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.parametrize("time", ["2023-05-01T18:07", "2023-05-01T18:15:30"])
def test_not_on_a_quarter_hour(read, column, time):
    fields = GOOD.split(",")
    fields[column] = time
    name = HEADER.split(",")[column]
    fails(read, ",".join(fields), f"line 2: {name} is {time}.*quarter-hour .*Round arrivals up")


@pytest.mark.parametrize("departure", ["2023-05-01T18:00", "2023-05-01T17:45", "2022-05-02T05:30"])
def test_departure_must_follow_arrival(read, departure):
    text = f"2023-05-01T18:00,{departure},20,40"
    fails(read, [text], f"line 2: the departure {departure}.* is not after the arrival")


def test_overlap(read):
    later = "2023-05-02T05:15,2023-05-02T06:00,20,40"
    match = "the car arrives at 2023-05-02T05:15:00, before it leaves at 2023-05-02T05:30:00 in"
    fails(read, [GOOD, later], f"line 3: {match} line 2; .*Merge")
    fails(read, [later, GOOD], f"line 2: {match} line 3")
    fails(read, [GOOD, GOOD], "line 3: .*overlap")
    header = HEADER + ",car"
    fails(read, [f"{GOOD},a", f"{later},a"], "line 3: car a arrives", header=header)
    assert len(read([f"{GOOD},a", f"{later},b"], header=header).by_car) == 2


def test_overlap_beyond_the_cut(read):
    lines = [
        "2023-05-01T18:00,2023-05-02T08:00,20,40",
        "2023-05-02T07:00,2023-05-02T09:00,20,40",
    ]
    fails(read, lines, "line 3: .*before it leaves", cut_at_end=True)


def test_a_date_of_two_years(read):
    lines = [GOOD, GOOD.replace("2023", "2024")]
    fails(read, lines, "line 3: the episode of 2024-05-01 .*already in 2023.*Split the file")
    other_visit = "2024-05-01T08:00,2024-05-01T09:00,20,40"
    fails(read, [GOOD, other_visit], "line 3: .*at most one year")
    two_cars = read([f"{GOOD},a", f"{lines[1]},b"], header=HEADER + ",car")
    assert two_cars.by_car[0] == two_cars.by_car[1]


def test_changing_offset_is_daylight_saving(read):
    lines = [
        "2023-10-27T18:00+02:00,2023-10-28T05:30+02:00,20,40",
        "2023-10-28T18:00+02:00,2023-10-29T05:30+01:00,20,40",
    ]
    fails(read, lines, r"line 3: .*UTC\+02:00 to UTC\+01:00, as with daylight saving.*in UTC or in")


@pytest.mark.parametrize("lines", [[GOOD, GOOD.replace(":00,", ":00Z,")], None])
def test_mixed_zones(read, lines):
    lines = lines or [GOOD, "2023-05-02T18:00Z,2023-05-03T05:30Z,20,40"]
    fails(read, lines, "line 3: time stamps with and without a time zone .*ambiguous")


def test_empty_label(read):
    fails(read, f"{GOOD}, ", "line 2: car is empty; expected a label", header=HEADER + ",car")


@pytest.mark.parametrize("year", ["0001", "9999"])
def test_the_first_and_last_year_there_are(read, year):
    text = GOOD.replace("2023", year)
    np.testing.assert_array_equal(list(read(text).by_car[0]), [MAY_1])
    fails(read, f"{year}-01-01T02:00,{year}-01-01T05:00,20,40", "line 2: .*is none")
    fails(read, f"{year}-12-31T18:00,{year}-12-31T19:00,20,40", "line 2: .*is none")
