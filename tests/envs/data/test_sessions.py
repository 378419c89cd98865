"""The synthetic sessions follow their model, and Sessions refuses nonsense."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexgym.envs import Appliance, Car, House, Session
from flexgym.envs.data import (
    EPISODES,
    SCENARIOS,
    SessionModel,
    Sessions,
    date,
    feeder43,
    synthetic_sessions,
)
from flexgym.envs.errors import ScenarioError, SessionDataError

WEEKEND = np.array([date(day).weekday() >= 5 for day in range(EPISODES + 1)])
HOUSES = feeder43(0, "stress")
CAR = Car(power_kw=11.0, capacity_kwh=50.0)


def house(car=CAR, pv_kwp=5.0):
    return House(
        battery=None,
        pv_kwp=pv_kwp,
        inverter_kva=5.0,
        import_limit_kw=30,
        export_limit_kw=30,
        car=car,
    )


def table(sessions, houses=HOUSES):
    """Columns day, weekend, arrival_h, departure_h (of the next day), trip_kwh, capacity_kwh."""
    rows = []
    for i, one in enumerate(houses):
        for day in range(EPISODES):
            for s in sessions.of(i, day):
                hours = 6 + s.arrival / 4, s.departure / 4 - 18
                trip_kwh = s.needed_kwh - s.arrival_kwh
                rows.append((day, WEEKEND[day], *hours, trip_kwh, one.car.capacity_kwh))
    return np.array(rows).T


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_statistics_are_those_of_the_model(scenario):
    model, ranges = SessionModel.of_feeder(scenario), SCENARIOS[scenario]
    day, weekend, arrival_h, departure_h, trip_kwh, _ = table(synthetic_sessions(HOUSES, model))
    weekday, weekend = weekend == 0, weekend == 1
    days = np.array([(~WEEKEND[:-1]).sum(), WEEKEND[:-1].sum()]) * len(HOUSES)
    shares = np.array([weekday.sum(), weekend.sum()]) / days
    daily = ranges.daily_trips
    np.testing.assert_allclose(shares, [1.0, 1.0] if daily else [0.95, 0.7], atol=0.02)
    mean, sd = ranges.arrival_h
    assert arrival_h[weekday].mean() == pytest.approx(mean, abs=0.05)
    assert arrival_h[weekday].std() == pytest.approx(sd, abs=0.05)
    mean, sd = (mean, sd) if daily else (16.5, 2.5)
    assert arrival_h[weekend].mean() == pytest.approx(mean, abs=0.1)
    assert arrival_h[weekend].std() == pytest.approx(sd, abs=0.1)
    low, high = ranges.car_need_kwh
    for chosen, factor in ((weekday, 1.0), (weekend, 1.0 if daily else 0.75)):
        trips = trip_kwh[chosen]
        assert factor * low - 1e-9 <= trips.min() < factor * low + 0.1
        assert factor * high - 0.1 < trips.max() <= factor * high + 1e-9
        assert trips.mean() == pytest.approx(factor * (low + high) / 2, abs=0.2)
        assert trips.std() == pytest.approx(factor * (high - low) / np.sqrt(12), rel=0.05)
    working = ~WEEKEND[day.astype(int) + 1]
    assert (departure_h[~working] == 6.0).all()
    hours, counts = np.unique(departure_h[working], return_counts=True)
    assert hours.tolist() == [5.0, 5.25, 5.5, 5.75, 6.0]
    np.testing.assert_allclose(counts / working.sum(), 0.2, atol=0.02)


def test_trip_arrival_and_length_are_independent():
    model = SessionModel(weekend_trip_share=0.5)
    _, weekend, arrival_h, departure_h, trip_kwh, _ = table(synthetic_sessions(HOUSES, model))
    columns = np.stack([arrival_h, trip_kwh, departure_h])[:, weekend == 0]
    correlation = np.corrcoef(columns) - np.eye(3)
    assert np.abs(correlation).max() < 0.05


def test_energies():
    sessions = synthetic_sessions([house()], SessionModel(target_share=0.9))
    assert all(s.needed_kwh == 45.0 for days in sessions.by_car for (s,) in days.values())
    far = SessionModel(trip_km=(500.0, 500.0), weekend_trip_factor=1.0)
    sessions = synthetic_sessions([house()], far)
    assert all(s.arrival_kwh == 5.0 for days in sessions.by_car for (s,) in days.values())


def test_arrivals_stay_between_eight_and_twenty_three():
    wild = SessionModel(weekday_arrival_h=(20.0, 12.0), weekend_arrival_h=(10.0, 12.0))
    arrival_h = table(synthetic_sessions(HOUSES[:10], wild))[2]
    assert (arrival_h.min(), arrival_h.max()) == (8.0, 23.0)


shares = st.floats(0.0, 1.0)
arrivals = st.tuples(st.floats(8.0, 23.0), st.floats(0.0, 24.0))


@given(
    model=st.builds(
        SessionModel,
        weekday_trip_share=shares,
        weekend_trip_share=shares,
        weekday_arrival_h=arrivals,
        weekend_arrival_h=arrivals,
        trip_km=st.tuples(st.floats(0.0, 100.0), st.floats(100.0, 1000.0)),
        weekend_trip_factor=st.floats(0.0, 10.0),
        target_share=st.floats(0.1, 1.0),
    ),
    seed=st.integers(0, 2**64),
    capacity_kwh=st.floats(1.0, 200.0),
)
@settings(max_examples=40, deadline=None)
def test_every_model_gives_sound_sessions(model, seed, capacity_kwh):
    car = Car(11.0, capacity_kwh)
    for days in synthetic_sessions([house(car)], model, seed).by_car:
        for day, sessions in days.items():
            (s,) = sessions
            assert 0 <= day < EPISODES
            assert 8 <= s.arrival <= 68
            assert 92 <= s.departure <= 96
            assert s.needed_kwh == model.target_share * capacity_kwh
            assert 0.1 * capacity_kwh <= s.arrival_kwh <= max(s.needed_kwh, 0.1 * capacity_kwh)


def test_probabilities_at_their_limits():
    never, always = (
        SessionModel(weekday_trip_share=weekday, weekend_trip_share=1.0) for weekday in (0.0, 1.0)
    )
    assert set(synthetic_sessions([house()], always).by_car[0]) == set(range(EPISODES))
    days = set(synthetic_sessions([house()], never).by_car[0])
    assert days == set(np.flatnonzero(WEEKEND[:-1]))


def test_a_house_without_car_has_none():
    sessions = synthetic_sessions([house(car=None), house()])
    assert sessions.by_car[0] == {}
    assert all(sessions.of(0, day) == () for day in range(EPISODES))
    assert len(sessions.by_car[1]) > 250


def test_repeatable_by_seed():
    again = synthetic_sessions(HOUSES)
    assert again == synthetic_sessions(HOUSES, SessionModel(), np.int64(0))
    other = synthetic_sessions(HOUSES, seed=1)
    assert all(a != b for a, b in zip(again.by_car, other.by_car, strict=True))
    assert len({str(days) for days in again.by_car}) == len(HOUSES)


def test_the_numbers_do_not_move():
    # A new field of House or Car moves them too: it becomes part of the house's content.
    days = synthetic_sessions([house()]).by_car[0]
    assert len(days) == 321
    (first,) = days[0]  # a Friday
    assert (first.arrival, first.departure, first.needed_kwh) == (53, 96, 40.0)
    assert first.arrival_kwh == pytest.approx(29.449421074207216)


def test_neither_position_nor_neighbours_matter():
    whole = synthetic_sessions(HOUSES)
    backwards = synthetic_sessions(HOUSES[::-1])
    assert backwards.by_car == whole.by_car[::-1]
    assert synthetic_sessions(HOUSES[7:8]).by_car == whole.by_car[7:8]
    assert (
        synthetic_sessions([house(), house(pv_kwp=5.5)]).by_car[0]
        == (synthetic_sessions([house(car=None), house()]).by_car[1])
    )


def test_equal_houses_have_equal_sessions_whatever_their_numbers_are():
    same = house(Car(np.float64(11.0), np.int64(50)), pv_kwp=5)
    assert same == house()
    assert synthetic_sessions([same]).by_car == synthetic_sessions([house()]).by_car


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        ({"weekday_trip_share": 0.5}, set()),
        ({"weekend_trip_share": 0.2}, set()),
        ({"weekend_arrival_h": (12.0, 1.0)}, {"weekend arrival"}),
        ({"weekday_arrival_h": (12.0, 1.0)}, {"weekday arrival"}),
        ({"weekend_trip_factor": 0.5}, {"weekend energy"}),
        ({"trip_km": (10.0, 20.0)}, {"weekday energy", "weekend energy"}),
    ],
)
def test_a_parameter_moves_nothing_but_its_own_numbers(change, moved):
    model = SessionModel()
    before, after = (synthetic_sessions([house()], m) for m in (model, replace(model, **change)))
    found = set()
    for day in set(before.by_car[0]) & set(after.by_car[0]):
        (a,), (b,) = before.of(0, day), after.of(0, day)
        kind = "weekend" if WEEKEND[day] else "weekday"
        found |= {f"{kind} arrival"} if a.arrival != b.arrival else set()
        found |= {f"{kind} energy"} if a.arrival_kwh != b.arrival_kwh else set()
        assert (a.departure, a.needed_kwh) == (b.departure, b.needed_kwh)
    assert found == moved
    share = {"weekday_trip_share", "weekend_trip_share"} & set(change)
    assert (set(before.by_car[0]) == set(after.by_car[0])) == (not share)
    assert set(after.by_car[0]) <= set(before.by_car[0])


def test_default_model_is_that_of_calm():
    assert SessionModel.of_feeder("calm") == SessionModel()
    stress = SessionModel.of_feeder("stress")
    assert stress.trip_km == pytest.approx((8 / 0.18, 24 / 0.18))
    assert stress.weekday_arrival_h == stress.weekend_arrival_h == (17.75, 0.6)
    assert stress.weekday_trip_share == stress.weekend_trip_share == 1.0


@pytest.mark.parametrize("scenario", ["", "Calm", None, 1, []])
def test_unknown_scenario(scenario):
    with pytest.raises(ScenarioError, match="calm, summer_midday, winter_evening, stress"):
        SessionModel.of_feeder(scenario)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"weekday_trip_share": 1.1}, r"weekday_trip_share is 1.1; expected .* 0 to 1\. Correct"),
        ({"weekend_trip_share": -0.1}, "weekend_trip_share is -0.1; expected .* 0 to 1"),
        ({"weekday_trip_share": float("nan")}, "weekday_trip_share is nan"),
        ({"weekday_trip_share": "often"}, "weekday_trip_share is 'often'"),
        ({"weekday_arrival_h": (7.0, 1.0)}, "mean of weekday_arrival_h is 7.0; expected .*8 to 23"),
        ({"weekend_arrival_h": (17.0, -1.0)}, "deviation of weekend_arrival_h is -1.0; expected"),
        ({"weekday_arrival_h": 17.75}, "weekday_arrival_h is 17.75; expected a pair"),
        ({"trip_km": (20.0, 30.0, 40.0)}, "trip_km is .*; expected a pair"),
        ({"trip_km": (30.0, 20.0)}, "shortest of trip_km is 30.0; expected .* 0 to 20"),
        ({"trip_km": (-1.0, 20.0)}, "shortest of trip_km is -1.0"),
        ({"trip_km": (0.0, float("inf"))}, "longest of trip_km is inf"),
        ({"weekend_trip_factor": -0.5}, "weekend_trip_factor is -0.5"),
        ({"target_share": 0.05}, "target_share is 0.05; expected .* 0.1 to 1"),
        ({"target_share": 80}, "target_share is 80"),
    ],
)
def test_bad_models(options, match):
    with pytest.raises(ScenarioError, match=match):
        SessionModel(**options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"houses": []}, "houses is empty; expected at least one"),
        ({"houses": [house(), CAR]}, r"houses\[1\] is Car.*expected a flexgym\.envs\.House"),
        ({"model": "stress"}, r"model is 'stress'; expected .*of_feeder\(scenario\)"),
        ({"seed": -1}, "seed is -1; expected an integer >= 0"),
        ({"seed": 0.5}, "seed is 0.5"),
        ({"seed": True}, "seed is True"),
    ],
)
def test_bad_options(options, match):
    with pytest.raises(ScenarioError, match=match):
        synthetic_sessions(**{"houses": [house()], **options})


def test_houses_take_cars_in_turn():
    a, b = Session(10, 90, 5.0, 20.0), Session(40, 96, 5.0, 20.0)
    sessions = Sessions("two", ({3: (a,)}, {3: (b,)}))
    assert [sessions.of(i, 3) for i in range(4)] == [(a,), (b,), (a,), (b,)]
    assert sessions.of(0, 4) == ()
    assert sessions.of(np.int64(1), np.int64(3)) == (b,)


def test_content_is_the_own_of_sessions_and_can_be_copied():
    days = {3: (Session(10, 90, 5.0, 20.0),)}
    sessions = Sessions("one", (days,))
    days.clear()
    assert len(sessions.of(0, 3)) == 1
    assert copy.deepcopy(sessions) == pickle.loads(pickle.dumps(sessions)) == sessions
    assert repr(sessions) == "Sessions(name='one')"


@pytest.mark.parametrize("day", [-1, 365, 1.5, "1", None, True])
def test_sessions_of_no_episode(day):
    with pytest.raises(SessionDataError, match=r"car 1 has sessions on day .* 0 to 364"):
        Sessions("bad", ({}, {day: ()}))


@pytest.mark.parametrize(
    ("visits", "match"),
    [
        ([(10, 97)], "car 0 leaves on day 5 in period 97; expected at most 96"),
        ([(10, 50), (49, 60)], "car 0 arrives on day 5 in period 49, before it leaves in 50"),
        ([(50, 60), (10, 40)], "expected sessions in order that do not overlap"),
    ],
)
def test_sessions_must_fit_the_episode(visits, match):
    day = tuple(Session(*visit, 1.0, 2.0) for visit in visits)
    with pytest.raises(SessionDataError, match=match):
        Sessions("bad", ({5: day},))


def test_sessions_refuse_emptiness_and_other_things():
    with pytest.raises(SessionDataError, match="by_car is empty; expected one mapping a car"):
        Sessions("none", ())
    with pytest.raises(SessionDataError, match="'18:00' on day 5; expected a flexgym"):
        Sessions("text", ({5: ("18:00",)},))
    assert Sessions("away", ({},)).of(0, 0) == ()
    back_to_back = (Session(10, 50, 1.0, 2.0), Session(50, 96, 1.0, 2.0))
    assert Sessions("tight", ({5: back_to_back},)).of(0, 5) == back_to_back


def test_appliances_move_no_visit():
    plain = HOUSES[:8]
    busy = [replace(house, appliances=(Appliance(4, 0, 40, 2.0),)) for house in plain]
    assert synthetic_sessions(busy).by_car == synthetic_sessions(plain).by_car
