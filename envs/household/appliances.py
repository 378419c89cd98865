"""The appliances of n houses: which run, what they draw, what is left to do.

Houses of a pool may have different numbers of them; each gets as many slots as the house
with the most, and a slot without one is a job that is done.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.appliance.job import advance, runs, slack
from flexgym.envs.compiled import compiled
from flexgym.envs.errors import ActionError, ScenarioError
from flexgym.envs.household.dynamics import LOAD
from flexgym.envs.household.params import STEPS_PER_DAY, Floats, House

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_EACH = (
    "periods_left [day]",
    "time_to_window [day]",
    "slack [day]",
    "running [1]",
    "interruptible [1]",
    "power [kW]",
)


@compiled
def _choose(t, wanted, earliest, deadline, interruptible, power_kw, left, running, ran, load_kw):
    """Write which jobs run, shape (n, slots), and what those of each house draw, (n,), kW."""
    for i in range(ran.shape[0]):
        total = 0.0
        for k in range(ran.shape[1]):
            on = runs(
                t, left[i, k], earliest[i, k], deadline[i, k], running[i, k],
                interruptible[i, k], wanted[i, k],
            )  # fmt: skip
            ran[i, k] = on
            if on:
                total += power_kw[i, k]
        load_kw[i] = total


@compiled
def _advance(ran, left, running):
    """Count down the jobs that ran."""
    for i in range(ran.shape[0]):
        for k in range(ran.shape[1]):
            left[i, k], running[i, k] = advance(left[i, k], ran[i, k])


@compiled
def _observe(t, earliest, deadline, interruptible, power_kw, left, running, out):
    """Write the entries `_EACH` of each slot, shape (n, 6 * slots); zeros where all is done."""
    out[:] = 0.0
    for i in range(left.shape[0]):
        for k in range(left.shape[1]):
            if left[i, k] > 0:
                o = out[i, 6 * k : 6 * k + 6]
                o[0] = left[i, k] / STEPS_PER_DAY
                o[1] = max(earliest[i, k] - t, 0) / STEPS_PER_DAY
                o[2] = slack(t, left[i, k], earliest[i, k], deadline[i, k]) / STEPS_PER_DAY
                o[3] = running[i, k]
                o[4] = interruptible[i, k]
                o[5] = power_kw[i, k]


class HouseAppliances:
    """The jobs of n houses in one period, and the load that comes with a choice.

    Attributes:
        slots: Most appliances a house of the pool has.
        names: Name and unit of each entry of an observation.
        earliest: First period of each window, shape (n, slots).
        deadline: Period after the last one of each window, shape (n, slots).
        interruptible: Whether each may pause, shape (n, slots).
        power_kw: Shape (n, slots), kW.
        left: Periods each still has to run, shape (n, slots).
        running: Whether each ran in the period before and is not finished, shape (n, slots).
        wanted: What was chosen for the period, shape (n, slots).
        ran: What comes of it, shape (n, slots).
        load_kw: Power of those that run, shape (n,), kW.
        exogenous: Load, PV, import and export price, shape (T, 4, n); the load of periods up
            to the present one with the appliances.

    Args:
        houses: The pool.
        n: Houses that are played.

    Raises:
        ScenarioError: A window ends after the day.
    """

    exogenous: Floats

    def __init__(self, houses: Sequence[House], n: int) -> None:
        self.slots = max((len(house.appliances) for house in houses), default=0)
        shape = (len(houses), self.slots)
        self._numbers = np.zeros((3, *shape), dtype=np.int64)
        self._power, self._pauses = np.zeros(shape), np.zeros(shape, dtype=bool)
        for i, house in enumerate(houses):
            for k, job in enumerate(house.appliances):
                if job.deadline > STEPS_PER_DAY:
                    raise ScenarioError(
                        f"appliances[{k}] of houses[{i}] has its deadline in period "
                        f"{job.deadline}; expected at most {STEPS_PER_DAY}, the end of the day. "
                        "Move the deadline."
                    )
                self._numbers[:, i, k] = job.earliest, job.deadline, job.periods
                self._power[i, k], self._pauses[i, k] = job.power_kw, job.interruptible
        self.names = tuple(f"appliance_{k + 1}_{what}" for k in range(self.slots) for what in _EACH)
        self.ran = np.zeros((n, self.slots), dtype=bool)
        self.wanted = np.zeros((n, self.slots), dtype=bool)
        self.load_kw = np.zeros(n)

    def begin(self, house: Ints, exogenous: Floats) -> None:
        """Set out the jobs of a day; house has shape (n,), exogenous (T, 4, n)."""
        self.earliest, self.deadline, self.left = (x[house] for x in self._numbers)
        self.power_kw, self.interruptible = self._power[house], self._pauses[house]
        self.running = np.zeros_like(self.interruptible)
        self._without, self.exogenous = exogenous, exogenous.copy()
        self.choose(0, True)

    def choose(self, t: int, wanted: Bools | bool) -> None:
        """Decide which run in period t; whatever rules and deadlines make of it is in ``ran``.

        Raises:
            ActionError: Neither a truth value nor one a slot.
        """
        chosen = np.asarray(wanted)
        if chosen.dtype != np.bool_ or chosen.shape not in ((), self.ran.shape):
            raise ActionError(
                f"the choice has shape {chosen.shape} and type {chosen.dtype}; expected a truth "
                f"value or {self.ran.shape} of them, one an appliance."
            )
        self.wanted = np.array(np.broadcast_to(chosen, self.ran.shape))
        _choose(
            t, self.wanted, self.earliest, self.deadline, self.interruptible, self.power_kw,
            self.left, self.running, self.ran, self.load_kw,
        )  # fmt: skip
        self.exogenous[t, LOAD] = self._without[t, LOAD] + self.load_kw

    def advance(self, t: int) -> dict[str, np.ndarray]:
        """End period t; what happened in it, for info, each of its own memory."""
        happened = {
            "appliance_kw": self.load_kw.copy(),
            "appliances_ran": self.ran.copy(),
            "appliances_forced": self.ran & ~self.wanted,
        }
        _advance(self.ran, self.left, self.running)
        if t + 1 < STEPS_PER_DAY:
            self.choose(t + 1, True)
        return happened

    def observe(self, t: int) -> np.ndarray:
        """What is left to do, shape (n, 6 * slots), float32."""
        out = np.empty((len(self.load_kw), len(self.names)), dtype=np.float32)
        _observe(
            t, self.earliest, self.deadline, self.interruptible, self.power_kw, self.left,
            self.running, out,
        )  # fmt: skip
        return out
