"""Policies of the feeder: houses that mind their own business, with the grid or without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np

from flexgym.baselines.feeder.central_program import CentralOptimum, central_optimum
from flexgym.baselines.feeder.feeder_day import FeederDay
from flexgym.baselines.household import SolutionCache, perfect_foresight
from flexgym.envs.errors import ScenarioError
from flexgym.envs.feeder.homes import actions_of, follow, homes_of
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.envs.household.params import STEPS_PER_DAY, Floats
from flexgym.envs.household.simulation import HouseholdSimulation
from flexgym.policies.awareness import Pricing, Rehearsal
from flexgym.policies.base import HouseholdPolicy
from flexgym.policies.central_mpc import CentralisedMpc, naming_day
from flexgym.policies.coordinated import Coordinated
from flexgym.policies.droop import Droop
from flexgym.policies.household import (
    ModelPredictive,
    PriceThreshold,
    SelfConsumption,
    pv_shares,
)
from flexgym.policies.menus import Menus
from flexgym.policies.planning import Agnostic, Expected, Foreseen, Planner


class FeederPolicy(Protocol):
    """Maps what n feeders see to their actions.

    Attributes:
        name: Short name for tables.
        settings: Options of the simulation it was made for (observation, action_map, ...).
    """

    name: str
    settings: Mapping[str, str]

    def begin(self, simulation: FeederSimulation) -> None:
        """Prepare for new episodes: forecasts are known, nothing has happened yet."""
        ...

    def act(self, simulation: FeederSimulation) -> Floats:
        """Actions for this period, shape (n, H * actions), in [-1, 1]."""
        ...


class EachHouse:
    """Every house plays the same policy of single houses; nobody looks at the grid.

    Args:
        policy: The policy.
        name: Of tables; None is the policy's own.
    """

    def __init__(self, policy: HouseholdPolicy, name: str | None = None) -> None:
        self.policy, self.name = policy, name or policy.name
        self.settings = policy.settings

    def begin(self, simulation: FeederSimulation) -> None:
        """See `FeederPolicy`."""
        self._homes = homes_of(simulation)
        self.policy.begin(self._homes)

    def act(self, simulation: FeederSimulation) -> Floats:
        """See `FeederPolicy`."""
        follow(self._homes, simulation)
        return actions_of(simulation, self.policy.act(self._homes))


class Foresight:
    """Each house plays its own optimum of a day it knows in advance: a bound, not a policy.

    Args:
        progress: Called with the number of house-days solved and their total.
    """

    name = "foresight"
    settings: Mapping[str, str] = MappingProxyType({})

    def __init__(self, progress: Callable[[int, int], object] | None = None) -> None:
        self.progress: Callable[[int, int], object] = progress or (lambda done, total: None)

    def begin(self, simulation: HouseholdSimulation) -> None:
        """Solve every house-day."""
        self._battery = np.zeros((STEPS_PER_DAY, simulation.n))
        self._car = np.zeros((STEPS_PER_DAY, simulation.n))
        for i in range(simulation.n):
            plan = perfect_foresight(
                simulation.house(i),
                simulation.realised_series(i),
                soc_kwh=float(simulation.soc_kwh[i]),
                terminal_eur_per_kwh=float(simulation.episodes.terminal_price[i]),
            )
            self._battery[:, i], self._car[:, i] = plan.battery_kw, plan.car_kw
            self.progress(i + 1, simulation.n)

    def act(self, simulation: HouseholdSimulation) -> Floats:
        """See `HouseholdPolicy`."""
        t = simulation.t
        return simulation.action(self._battery[t], car_kw=self._car[t])


class Centralised:
    """The optimum of all houses together within the grid, days known in advance: a bound.

    Attributes:
        optima: Plan and cost of each feeder-day.

    Args:
        progress: Called with the number of feeder-days solved and their total.
        time_limit_s: When to give up a feeder-day, s; None is never.
    """

    name = "centralised"
    settings: Mapping[str, str] = MappingProxyType({"curtailment": "action"})

    optima: list[CentralOptimum]

    def __init__(
        self,
        progress: Callable[[int, int], object] | None = None,
        time_limit_s: float | None = None,
    ) -> None:
        self.progress: Callable[[int, int], object] = progress or (lambda done, total: None)
        self._limit_s = time_limit_s

    def begin(self, simulation: FeederSimulation) -> None:
        """Solve every feeder-day; see `FeederPolicy`.

        Raises:
            SolverTimeoutError: Time is up, for the day that is named.
            SolverError: HiGHS found no optimum, for the day that is named.
        """
        self._homes, self.optima = homes_of(simulation), []
        for i in range(simulation.n):
            with naming_day(simulation, i):
                self.optima.append(
                    central_optimum(FeederDay.of(simulation, i), time_limit_s=self._limit_s)
                )
            self.progress(i + 1, simulation.n)
        plans = [(o.battery_kw, o.car_kw, o.pv_used_kw) for o in self.optima]
        # Each (T, n * H).
        self._plans = [np.concatenate(part).T.copy() for part in zip(*plans, strict=True)]

    def act(self, simulation: FeederSimulation) -> Floats:
        """See `FeederPolicy`."""
        follow(self._homes, simulation)
        battery, car, used = (plan[simulation.t] for plan in self._plans)
        share = pv_shares(self._homes, battery, car, used)
        return actions_of(simulation, self._homes.action(battery, share, car_kw=car))


def unmanaged() -> EachHouse:
    """Score 0: batteries for self-consumption, cars at full power on arrival."""
    return EachHouse(SelfConsumption(), "unmanaged")


def selfish(progress: Callable[[int, int], object] | None = None) -> EachHouse:
    """Every house's own optimum with its day known in advance, the grid ignored."""
    return EachHouse(Foresight(progress), "selfish")


def _menus(name: str, cache: SolutionCache | None, workers: int) -> Menus:
    """Menus by what houses know of their future and whether they plan with the grid."""
    if name == "menus":
        return Menus(cache=cache, workers=workers)
    pricing: Mapping[str, Pricing] = {
        "menus-aware": Rehearsal(AWARE_ROUNDS),
        "menus-coordinated": Coordinated(COORDINATED_ITERATIONS),
    }
    if name in pricing:
        return Menus(Expected(), name=name, pricing=pricing[name], again=AGAIN)
    if name.removesuffix("-foresight") in pricing:
        return Menus(Foreseen(), name=name, pricing=pricing[name.removesuffix("-foresight")])
    known: Mapping[str, Callable[[], Planner]] = {
        "menus-agnostic": lambda: Agnostic(0.0),
        "menus-constant": Agnostic,
        "menus-forecast": Expected,
        "menus-foresight": Foreseen,
    }
    return Menus(known[name](), name=name)


AWARE_ROUNDS = 3
"""Rehearsals before the day."""
COORDINATED_ITERATIONS = 10
"""How often houses answer with a plan at most."""
AGAIN = 8
"""Periods after which prices of the grid are found again where the day is not known."""
MENUS = (
    "menus-agnostic",
    "menus-constant",
    "menus-forecast",
    "menus",
    "menus-aware",
    "menus-coordinated",
    "menus-foresight",
    "menus-aware-foresight",
    "menus-coordinated-foresight",
)
"""Houses without a look ahead; with a constant worth of stored energy; with the forecast's mean,
planned anew every period; with every outcome and its probability; with the mean and prices of the
grid, of rehearsals or of plans that are mixed, every two hours; with the day known, without prices
of the grid, with those of rehearsals, and with those of plans that are mixed."""
_OTHERS: Mapping[str, Callable[[], FeederPolicy]] = MappingProxyType(
    {
        "unmanaged": unmanaged,
        "droop": Droop,
        "price-threshold": lambda: EachHouse(PriceThreshold()),
        "mpc": lambda: EachHouse(ModelPredictive()),
        "selfish": selfish,
        "central-mpc": CentralisedMpc,
        "centralised": Centralised,
    }
)
POLICIES = (*_OTHERS, *MENUS)
"""Names of all policies."""
BOUNDS = (
    "selfish",
    "menus-foresight",
    "menus-aware-foresight",
    "menus-coordinated-foresight",
    "centralised",
)
"""Those that know the day in advance."""


def named(name: str, *, cache: SolutionCache | None = None, workers: int = 1) -> FeederPolicy:
    """A policy of the feeder by its name.

    Args:
        name: One of `POLICIES`, or a run folder of ``flexgym train feeder``.
        cache: Where solved house-days are kept, for ``menus``.
        workers: House-days it solves side by side.

    Raises:
        ScenarioError: Unknown name.
        RunError: The run is damaged.
    """
    if name in MENUS:
        return _menus(name, cache, workers)
    if name not in _OTHERS and (Path(name) / "config.yaml").is_file():
        from flexgym.policies.learned_feeder import LearnedHouses

        return LearnedHouses.from_run(name, name=name)
    if name not in _OTHERS:
        raise ScenarioError(
            f"policy is {name!r}; expected one of {', '.join(POLICIES)}, or the folder of a run "
            "of flexgym train feeder."
        )
    return _OTHERS[name]()
