"""A job of an appliance, and many of them as arrays. Nothing is drawn here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.appliance.job import check_job
from flexgym.envs.household.params import Floats

Ints = NDArray[np.int64]

PERIOD_H = 1.0
"""Length of a period, hours."""


@dataclass(frozen=True)
class Job:
    """Run ``hours`` hours of ``earliest <= t < deadline`` at one power.

    Hours are counted from the start of the episode. A job of no hours is done before it begins
    and costs nothing.

    Attributes:
        hours: How long it runs, L >= 0.
        deadline: Hour after the last one of its window.
        earliest: First hour of its window.
        power_kw: Power while it runs, in (0, 1000], kW.
        interruptible: Whether it may pause once begun.

    Raises:
        JobError: It is longer than its window, or a number is none.
    """

    hours: int
    deadline: int
    earliest: int = 0
    power_kw: float = 1.0
    interruptible: bool = False

    def __post_init__(self) -> None:
        check_job(
            self.hours, self.earliest, self.deadline, self.power_kw, self.interruptible, "hours"
        )
        for name in ("hours", "earliest", "deadline"):
            object.__setattr__(self, name, int(getattr(self, name)))
        object.__setattr__(self, "interruptible", bool(self.interruptible))

    @property
    def window(self) -> int:
        """Hours of its window, H >= L."""
        return self.deadline - self.earliest


class Jobs(NamedTuple):
    """Jobs of n appliances, each field of shape (n,); see `Job`."""

    hours: Ints
    earliest: Ints
    deadline: Ints
    power_kw: Floats
    interruptible: NDArray[np.bool_]

    @classmethod
    def of(cls, jobs: Sequence[Job]) -> Jobs:
        """Stack jobs."""
        return cls(
            np.array([job.hours for job in jobs], dtype=np.int64),
            np.array([job.earliest for job in jobs], dtype=np.int64),
            np.array([job.deadline for job in jobs], dtype=np.int64),
            np.array([job.power_kw for job in jobs], dtype=np.float64),
            np.array([job.interruptible for job in jobs], dtype=bool),
        )

    def job(self, i: int = 0) -> Job:
        """Job of row i."""
        return Job(
            int(self.hours[i]), int(self.deadline[i]), int(self.earliest[i]),
            float(self.power_kw[i]), bool(self.interruptible[i]),
        )  # fmt: skip

    def take(self, rows: NDArray | slice) -> Jobs:
        """The jobs of some rows."""
        hours, earliest, deadline, power_kw, interruptible = self
        return Jobs(
            hours[rows], earliest[rows], deadline[rows], power_kw[rows], interruptible[rows]
        )
