"""Houses, batteries and series refuse what cannot be."""

import math

import numpy as np
import pytest

from flexgym.envs import Battery, Car, House, Load, Series
from flexgym.envs.errors import HouseError, SeriesError


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


def test_cars_and_loads():
    with pytest.raises(HouseError, match="power_kw"):
        Car(power_kw=0.0, capacity_kwh=50.0)
    with pytest.raises(HouseError, match="energy_kwh"):
        Load(energy_kwh=-1.0)


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
