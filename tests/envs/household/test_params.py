"""Houses, batteries and series refuse what cannot be."""

import math

import numpy as np
import pytest

from flexgym.envs import Battery, Car, House, Load, Series, Session
from flexgym.envs.errors import HouseError, SeriesError
from flexgym.envs.household.dynamics import session_rows, visits


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("capacity_kwh", -1.0),
        ("capacity_kwh", math.nan),
        ("power_kw", -0.1),
        ("efficiency_charge", 0.0),
        ("efficiency_charge", 1.01),
        ("efficiency_discharge", 0.0),
        ("efficiency_discharge", math.nan),
        ("wear_eur_per_kwh", -0.01),
        ("retention", 0.0),
        ("retention", 1.1),
    ],
)
def test_batteries(field, value):
    good = {"capacity_kwh": 5.0, "power_kw": 2.0}
    assert Battery(**good).retention == 1.0
    with pytest.raises(HouseError, match=f"{field} is {value}; expected"):
        Battery(**(good | {field: value}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pv_kwp", -1.0),
        ("pv_kwp", math.inf),
        ("inverter_kva", -1.0),
        ("import_limit_kw", math.nan),
        ("export_limit_kw", -0.5),
        ("unserved_eur_per_kwh", -3.0),
    ],
)
def test_houses(field, value):
    good = {
        "battery": None,
        "pv_kwp": 5.0,
        "inverter_kva": math.inf,
        "import_limit_kw": 30.0,
        "export_limit_kw": 0.0,
    }
    assert House(**good).car is None
    with pytest.raises(HouseError, match=f"{field} is"):
        House(**(good | {field: value}))


def test_loads():
    with pytest.raises(HouseError, match="energy_kwh"):
        Load(energy_kwh=-1.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("power_kw", 0.0),
        ("power_kw", math.nan),
        ("power_kw", "11"),
        ("capacity_kwh", 0.0),
        ("capacity_kwh", math.inf),
        ("efficiency_charge", 0.0),
        ("efficiency_charge", 1.01),
        ("efficiency_charge", math.nan),
        ("discharge_kw", -1.0),
        ("discharge_kw", math.nan),
        ("efficiency_discharge", 0.0),
        ("efficiency_discharge", 1.5),
        ("wear_eur_per_kwh", -0.01),
        ("missed_eur_per_kwh", -1.0),
        ("missed_eur_per_kwh", math.nan),
    ],
)
def test_cars(field, value):
    good = {"power_kw": 11.0, "capacity_kwh": 50.0}
    assert Car(**good).discharge_kw == 0.0
    with pytest.raises(HouseError, match=f"{field} is {value!r}; expected"):
        Car(**(good | {field: value}))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"departure": 2}, "arrives in period 4 and departs in 2; expected"),
        ({"departure": 4}, "arrives in period 4 and departs in 4; expected"),
        ({"arrival": -1}, "arrives in period -1"),
        ({"arrival": 4.0}, "arrival is 4.0; expected the number of a period"),
        ({"departure": True}, "departure is True; expected the number of a period"),
        ({"departure": math.nan}, "departure is nan; expected the number of a period"),
        ({"arrival_kwh": -0.1}, "arrival_kwh is -0.1; expected kWh >= 0"),
        ({"arrival_kwh": math.nan}, "arrival_kwh is nan"),
        ({"arrival_kwh": "5"}, "arrival_kwh is '5'"),
        ({"needed_kwh": math.inf}, "needed_kwh is inf"),
        ({"needed_kwh": -2.0}, "needed_kwh is -2.0"),
        ({"needed_kwh": None}, "needed_kwh is None"),
    ],
)
def test_sessions(change, match):
    good = {"arrival": 4, "departure": 8, "arrival_kwh": 5.0, "needed_kwh": 20.0}
    assert Session(**(good | {"arrival": np.int64(4)})) == Session(**good)
    with pytest.raises(SeriesError, match=match):
        Session(**(good | change))


@pytest.mark.parametrize(
    ("spans", "match"),
    [
        ([(1, 4), (3, 6)], r"sessions\[1\] begins in period 3, before the one before it ends in 4"),
        ([(4, 6), (1, 3)], r"sessions\[1\] begins in period 1, before the one before it ends in 6"),
        ([(1, 4), (1, 4)], r"sessions\[1\] begins in period 1"),
        ([(1, 9)], r"sessions\[0\] ends in period 9; expected at most 8"),
        ([(0, 2), (8, 9)], r"sessions\[1\] ends in period 9; expected at most 8"),
    ],
)
def test_sessions_of_a_series(spans, match):
    ones = np.ones(8)
    good = (Session(0, 3, 1.0, 2.0), Session(3, 8, 1.0, 2.0))
    assert Series(ones, ones, ones, ones, list(good)).sessions == good
    with pytest.raises(SeriesError, match=match):
        Series(ones, ones, ones, ones, tuple(Session(a, b, 1.0, 2.0) for a, b in spans))


def test_sessions_must_fit_their_car():
    sessions = (Session(0, 2, 10.0, 60.0), Session(3, 4, 50.1, 20.0))
    with pytest.raises(SeriesError, match="got 2 car sessions for a house without a car"):
        session_rows(None, sessions)
    with pytest.raises(SeriesError, match=r"sessions\[1\] arrives with 50\.1 kWh; .* 50 kWh"):
        visits(Car(11.0, 50.0), sessions, 8)
    assert session_rows(None, ()).shape == (0, 5)
    assert session_rows(Car(11.0, 50.1), sessions).shape == (2, 5)


def test_where_charging_ends_and_what_is_out_of_reach():
    car = Car(4.0, 50.0, 0.9)
    giving = Car(4.0, 50.0, 0.9, discharge_kw=2.0)
    for needed, arrival, target, missing in (
        (20.0, 5.0, 20.0, 11.4),  # four quarters at 4 kW store 3.6 kWh
        (20.0, 18.0, 20.0, 0.0),
        (20.0, 30.0, 30.0, 0.0),
        (55.0, 49.0, 50.0, 5.0),
    ):
        session = Session(2, 6, arrival, needed)
        assert car.target_kwh(session) == target
        assert giving.target_kwh(session) == 50.0
        for each in (car, giving):
            assert each.unreachable_kwh(session) == pytest.approx(missing)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"load_kw": [1.0, -1.0]}, "load_kw is negative in period 1"),
        ({"pv_kw": [-1.0, 0.0]}, "pv_kw is negative in period 0"),
        ({"pv_kw": [0.0]}, "pv_kw has shape"),
        ({"load_kw": []}, "T >= 1"),
        ({"load_kw": [[1.0, 1.0]]}, "load_kw has shape"),
        ({"import_eur_per_kwh": [0.3, math.nan]}, "not finite in period 1"),
        ({"export_eur_per_kwh": [math.inf, 0.0]}, "not finite in period 0"),
        ({"export_eur_per_kwh": [0.1, 0.4]}, "above the import price in period 1"),
        ({"sessions": ("visit",)}, r"sessions\[0\] is 'visit'; expected a flexgym.envs.Session"),
    ],
)
def test_series(change, match):
    good = {
        "load_kw": [1.0, 1.0],
        "pv_kw": [0.0, 0.0],
        "import_eur_per_kwh": [0.3, 0.3],
        "export_eur_per_kwh": [0.1, -0.1],
    }
    assert len(Series(**good)) == 2
    with pytest.raises(SeriesError, match=match):
        Series(**(good | change))


def test_errors_are_built_ins_too():
    for error in (HouseError, SeriesError):
        assert issubclass(error, ValueError)
    with pytest.raises(AttributeError):
        Battery(5.0, 2.0).capacity_kwh = 3.0
    assert Series(np.ones(3), np.ones(3), np.ones(3), np.ones(3)).load_kw.dtype == np.float64
