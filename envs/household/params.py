"""What a house is made of. Plain data: no derived values are stored, nothing is drawn here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.errors import HouseError, SeriesError

Floats = NDArray[np.float64]

DT_H = 0.25
"""Length of a period, hours."""
STEPS_PER_DAY = 96
"""Periods of an episode: 06:00 to 06:00 in quarter-hours."""
UNSERVED_EUR_PER_KWH = 3.0
"""Default price of load beyond the import limit, EUR/kWh (about ten times the retail price)."""
MISSED_EUR_PER_KWH = 1.5
"""Default price of energy the car lacks at departure, EUR/kWh: half that of unserved load."""
InverterKind = Literal["hybrid", "separate"]
"""Whether PV and battery share one inverter or have one each."""


def _require(value: float, name: str, low: float, high: float, *, open_low: bool = False) -> None:
    try:
        inside = low < value <= high if open_low else low <= value <= high
    except TypeError:
        inside = False
    if not inside:
        bracket = "(" if open_low else "["
        raise HouseError(
            f"{name} is {value!r}; expected a number in {bracket}{low:g}, {high:g}]. "
            "Correct the house's data."
        )


@dataclass(frozen=True)
class Battery:
    """A battery on the alternating-current side of its inverter.

    Stored energy after a step of ``dt`` hours:
    ``retention*soc + efficiency_charge*charge*dt - discharge*dt/efficiency_discharge``.

    Attributes:
        capacity_kwh: Usable capacity, kWh.
        power_kw: Largest charging and discharging power, kW.
        efficiency_charge: Stored per drawn energy, in [0.001, 1].
        efficiency_discharge: Delivered per withdrawn energy, in [0.001, 1].
        wear_eur_per_kwh: Cost of ageing per kWh charged and per kWh discharged, EUR/kWh.
        retention: Share of the stored energy left after one period, in (0, 1].
    """

    capacity_kwh: float
    power_kw: float
    efficiency_charge: float = 0.95
    efficiency_discharge: float = 0.95
    wear_eur_per_kwh: float = 0.01
    retention: float = 1.0

    def __post_init__(self) -> None:
        _require(self.capacity_kwh, "capacity_kwh", 0.0, 1e5)
        _require(self.power_kw, "power_kw", 0.0, 1e5)
        _require(self.efficiency_charge, "efficiency_charge", 1e-3, 1.0)
        _require(self.efficiency_discharge, "efficiency_discharge", 1e-3, 1.0)
        _require(self.wear_eur_per_kwh, "wear_eur_per_kwh", 0.0, 1e3)
        _require(self.retention, "retention", 0.0, 1.0, open_low=True)


@dataclass(frozen=True)
class Car:
    """An electric car and its charger, on the house's side of the meter at unity power factor.

    It is charged while a `Session` of the series has it plugged in, and away otherwise.
    Stored energy after a step of ``dt`` hours:
    ``stored + efficiency_charge*charge*dt - discharge*dt/efficiency_discharge``.

    Attributes:
        power_kw: Largest charging power, kW.
        capacity_kwh: Usable capacity of the car's battery, kWh.
        efficiency_charge: Stored per drawn energy, in [0.001, 1].
        discharge_kw: Largest power from the car to the house, kW; 0 is no vehicle-to-grid.
        efficiency_discharge: Delivered per withdrawn energy, in [0.001, 1].
        wear_eur_per_kwh: Cost of ageing per kWh discharged, EUR/kWh. Driving needs the
            charging anyway, so that is free of it.
        missed_eur_per_kwh: Price of energy lacking at departure, EUR/kWh.
    """

    power_kw: float
    capacity_kwh: float
    efficiency_charge: float = 0.95
    discharge_kw: float = 0.0
    efficiency_discharge: float = 0.95
    wear_eur_per_kwh: float = 0.02
    missed_eur_per_kwh: float = MISSED_EUR_PER_KWH

    def __post_init__(self) -> None:
        _require(self.power_kw, "power_kw", 0.0, 1e3, open_low=True)
        _require(self.capacity_kwh, "capacity_kwh", 0.0, 1e4, open_low=True)
        _require(self.efficiency_charge, "efficiency_charge", 1e-3, 1.0)
        _require(self.discharge_kw, "discharge_kw", 0.0, 1e3)
        _require(self.efficiency_discharge, "efficiency_discharge", 1e-3, 1.0)
        _require(self.wear_eur_per_kwh, "wear_eur_per_kwh", 0.0, 1e3)
        _require(self.missed_eur_per_kwh, "missed_eur_per_kwh", 0.0, 1e6)

    def target_kwh(self, session: Session) -> float:
        """Energy at which charging ends, kWh: what is needed, or all it holds with discharging."""
        if self.discharge_kw > 0.0:
            return self.capacity_kwh
        return min(max(session.needed_kwh, session.arrival_kwh), self.capacity_kwh)

    def unreachable_kwh(self, session: Session) -> float:
        """Energy that will be missing at departure however it is charged, kWh."""
        hours = DT_H * (session.departure - session.arrival)
        most = session.arrival_kwh + self.efficiency_charge * self.power_kw * hours
        return max(0.0, session.needed_kwh - min(most, self.capacity_kwh))


@dataclass(frozen=True)
class Session:
    """One visit of the car: plugged in from the start of a period to the start of another.

    Attributes:
        arrival: First period in which it is plugged in, >= 0.
        departure: Period at whose start it leaves, > arrival; T is the end of the episode.
        arrival_kwh: Energy stored at arrival, kWh.
        needed_kwh: Energy wanted at departure, kWh. More than charger, capacity or time allow
            is no error: what is missing is priced.
    """

    arrival: int
    departure: int
    arrival_kwh: float
    needed_kwh: float

    def __post_init__(self) -> None:
        for name in ("arrival", "departure"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise SeriesError(f"{name} is {value!r}; expected the number of a period.")
            object.__setattr__(self, name, int(value))
        if self.arrival < 0 or self.departure <= self.arrival:
            raise SeriesError(
                f"the car arrives in period {self.arrival} and departs in {self.departure}; "
                "expected 0 <= arrival < departure. Correct the session."
            )
        for name in ("arrival_kwh", "needed_kwh"):
            value = getattr(self, name)
            try:
                inside = 0.0 <= value < math.inf
            except TypeError:
                inside = False
            if not inside:
                raise SeriesError(f"{name} is {value!r}; expected kWh >= 0. Correct the session.")


@dataclass(frozen=True)
class Appliance:
    """A job that runs every day at constant power within a window, in quarter-hours.

    It runs in ``periods`` of the periods t with ``earliest <= t < deadline``; period 0 begins
    at 06:00. It ends in time whatever is wished: see `flexgym.envs.appliance.job`.

    Attributes:
        periods: How long it runs, >= 0; 0 is a job that is done before it begins.
        earliest: First period of its window, >= 0.
        deadline: Period after the last one of its window, >= ``earliest + periods``; T is the
            end of the episode.
        power_kw: Power while it runs, in (0, 1000], kW.
        interruptible: Whether it may pause once begun.

    Raises:
        JobError: The job is longer than its window, or a number is none.
    """

    periods: int
    earliest: int
    deadline: int
    power_kw: float
    interruptible: bool = False

    def __post_init__(self) -> None:
        # Only here, since a job's rules are compiled and numba takes its time to load.
        from flexgym.envs.appliance.job import check_job

        check_job(self.periods, self.earliest, self.deadline, self.power_kw, self.interruptible)
        for name in ("periods", "earliest", "deadline"):
            object.__setattr__(self, name, int(getattr(self, name)))
        object.__setattr__(self, "interruptible", bool(self.interruptible))


@dataclass(frozen=True)
class Load:
    """How the household's own consumption is cut from the benchmark's profiles.

    Attributes:
        profile: Name of a load profile: of the extract, such as ``"H0-A"``, or of your own.
        energy_kwh: Consumption of the year, kWh.
        shift_quarters: The household lives this many quarter-hours later than the profile.
        shift_weeks: Whole weeks by which the profile is moved, so that weekdays stay weekdays.
        tan_phi: Reactive per active power of the consumption, kvar/kW, positive inductive.
    """

    profile: str = "H0-A"
    energy_kwh: float = 4000.0
    shift_quarters: int = 0
    shift_weeks: int = 0
    tan_phi: float = 0.0

    def __post_init__(self) -> None:
        _require(self.energy_kwh, "energy_kwh", 0.0, 1e6)
        _require(self.tan_phi, "tan_phi", -10.0, 10.0)


@dataclass(frozen=True)
class House:
    """One house: roof, battery, car, its inverters, one connection.

    A hybrid inverter is shared: ``|battery_kw - pv_used_kw| <= inverter_kva``. With separate
    ones the roof's is rated ``inverter_kva`` and carries all of the PV, the battery's is
    ``battery_inverter_kva``. What is left of a rating is reactive power; one that is not
    finite is not known, and gives none.

    Attributes:
        battery: The battery, or None.
        pv_kwp: Rated power of the roof, kW; PV never exceeds it.
        inverter_kva: Rating of the hybrid inverter, or of the roof's own, kVA.
        import_limit_kw: Largest power from the grid, kW; load beyond it stays unserved.
        export_limit_kw: Largest power into the grid, kW; PV beyond it is curtailed.
        car: The electric car, or None.
        load: Where the household's consumption comes from.
        bus: Name of the low-voltage bus the house hangs on, or "".
        unserved_eur_per_kwh: Price of unserved load, EUR/kWh.
        inverter: ``"hybrid"`` or ``"separate"``.
        battery_inverter_kva: Rating of a separate battery inverter, kVA; None is the
            battery's power.
        min_power_factor: Grid code, in (0, 1]: the roof's or hybrid inverter gives at most
            ``tan(arccos(min_power_factor)) * pv_used_kw`` of reactive power, so none at
            night. None is no such rule. A separate battery inverter is not bound by it.
        appliances: Jobs of every day whose time can be chosen; their power comes on top of
            the load.
    """

    battery: Battery | None
    pv_kwp: float
    inverter_kva: float
    import_limit_kw: float
    export_limit_kw: float
    car: Car | None = None
    load: Load = field(default_factory=Load)
    bus: str = ""
    unserved_eur_per_kwh: float = UNSERVED_EUR_PER_KWH
    inverter: InverterKind = "hybrid"
    battery_inverter_kva: float | None = None
    min_power_factor: float | None = None
    appliances: tuple[Appliance, ...] = ()

    def __post_init__(self) -> None:
        _require(self.pv_kwp, "pv_kwp", 0.0, 1e4)
        for name in ("inverter_kva", "import_limit_kw", "export_limit_kw"):
            _require(getattr(self, name), name, 0.0, math.inf)
        _require(self.unserved_eur_per_kwh, "unserved_eur_per_kwh", 0.0, 1e6)
        if self.min_power_factor is not None:
            _require(self.min_power_factor, "min_power_factor", 0.0, 1.0, open_low=True)
        if not isinstance(self.appliances, tuple | list):
            raise HouseError(
                f"appliances is {self.appliances!r}; expected a tuple of flexgym.envs.Appliance."
            )
        object.__setattr__(self, "appliances", tuple(self.appliances))
        for k, appliance in enumerate(self.appliances):
            if not isinstance(appliance, Appliance):
                raise HouseError(
                    f"appliances[{k}] is {appliance!r}; expected a flexgym.envs.Appliance."
                )
        if self.inverter not in get_args(InverterKind):
            raise HouseError(
                f"inverter is {self.inverter!r}; expected one of 'hybrid', 'separate'."
            )
        if self.battery_inverter_kva is not None:
            _require(self.battery_inverter_kva, "battery_inverter_kva", 0.0, math.inf)
            if self.inverter == "hybrid" or self.battery is None:
                raise HouseError(
                    f"battery_inverter_kva is {self.battery_inverter_kva:g}; expected None without "
                    "a separate battery inverter. Pass inverter='separate' and a battery."
                )
        if self.inverter == "separate" and self.pv_kwp > self.inverter_kva:
            raise HouseError(
                f"pv_kwp is {self.pv_kwp:g} and inverter_kva {self.inverter_kva:g}; expected a "
                "separate PV inverter that carries the roof. Count the roof behind its inverter."
            )


@dataclass(frozen=True)
class Series:
    """What happens around a house, or what is forecast to: one value a period.

    Attributes:
        load_kw: Household consumption, shape (T,), kW, >= 0.
        pv_kw: PV power available before curtailment, shape (T,), kW, >= 0.
        import_eur_per_kwh: Price of energy from the grid, shape (T,), EUR/kWh.
        export_eur_per_kwh: Pay for energy into the grid, shape (T,), EUR/kWh; may be negative,
            never above the import price.
        sessions: Visits of the car in order of time; it is away throughout when empty.
    """

    load_kw: Floats
    pv_kw: Floats
    import_eur_per_kwh: Floats
    export_eur_per_kwh: Floats
    sessions: tuple[Session, ...] = ()

    def __post_init__(self) -> None:
        names = ("load_kw", "pv_kw", "import_eur_per_kwh", "export_eur_per_kwh")
        for name in names:
            array = np.array(getattr(self, name), dtype=np.float64)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
            if array.ndim != 1 or array.size == 0 or array.shape != self.load_kw.shape:
                raise SeriesError(
                    f"{name} has shape {array.shape}; expected (T,) = {self.load_kw.shape}, "
                    "T >= 1. Pass one value a period for each series."
                )
            if not np.isfinite(array).all():
                raise SeriesError(
                    f"{name} is not finite in period {int(np.argmin(np.isfinite(array)))}; "
                    "expected numbers throughout. Fill the gap first."
                )
        for name in names[:2]:
            if (getattr(self, name) < 0).any():
                raise SeriesError(
                    f"{name} is negative in period {int(np.argmax(getattr(self, name) < 0))}; "
                    "expected kW >= 0. Consumption and PV are both counted positive."
                )
        crossed = self.export_eur_per_kwh > self.import_eur_per_kwh
        if crossed.any():
            raise SeriesError(
                f"the export price is above the import price in period {int(np.argmax(crossed))}; "
                "expected export_eur_per_kwh <= import_eur_per_kwh. "
                "Swap the two, or lower the export price."
            )
        if not isinstance(self.sessions, tuple | list):
            raise SeriesError(
                f"sessions is {self.sessions!r}; expected a tuple of flexgym.envs.Session."
            )
        object.__setattr__(self, "sessions", tuple(self.sessions))
        free_from = 0
        for k, session in enumerate(self.sessions):
            if not isinstance(session, Session):
                raise SeriesError(f"sessions[{k}] is {session!r}; expected a flexgym.envs.Session.")
            if session.arrival < free_from:
                raise SeriesError(
                    f"sessions[{k}] begins in period {session.arrival}, before the one before it "
                    f"ends in {free_from}; expected sessions in order that do not overlap."
                )
            if session.departure > len(self):
                raise SeriesError(
                    f"sessions[{k}] ends in period {session.departure}; expected at most "
                    f"{len(self)}, the end of the series. Cut it there."
                )
            free_from = session.departure

    def __len__(self) -> int:
        return len(self.load_kw)
