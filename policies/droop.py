"""Unmanaged houses whose inverters answer to the voltage: volt-var and volt-watt droop."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from flexgym.envs.feeder.homes import actions_of, follow, homes_of
from flexgym.envs.feeder.simulation import FeederSimulation
from flexgym.envs.household.params import Floats
from flexgym.policies.household import SelfConsumption

VOLT_VAR_PU = (0.95, 0.97, 1.03, 1.05)
"""Voltages between which the inverter gives all its reactive power, none, none, and takes all."""
VOLT_WATT_PU = (1.045, 1.06)
"""Voltages between which the roof goes from all of its power to none."""
_FILTER = 0.5
"""Weight of the newest voltage: characteristics that answer at once to a voltage of a quarter of
an hour ago swing."""


class Droop:
    """Batteries for self-consumption, cars on arrival; inverters follow characteristics.

    Each sees the voltage at its own connection at the end of the last period, smoothed. The
    shapes are those of IEEE 1547-2018 (volt-var, volt-watt), drawn in to the scenarios' band.
    """

    name = "droop"
    settings: Mapping[str, str] = MappingProxyType({"curtailment": "action", "reactive": "action"})

    def begin(self, simulation: FeederSimulation) -> None:
        """See `flexgym.policies.feeder.FeederPolicy`."""
        self._homes, self._policy = homes_of(simulation), SelfConsumption()
        self._policy.begin(self._homes)
        self._v_pu: Floats = simulation.house_v_pu.copy()

    def act(self, simulation: FeederSimulation) -> Floats:
        """See `flexgym.policies.feeder.FeederPolicy`."""
        follow(self._homes, simulation)
        self._v_pu += _FILTER * (simulation.house_v_pu - self._v_pu)
        actions = actions_of(simulation, self._policy.act(self._homes))
        each = actions.reshape(*self._v_pu.shape, -1)
        names = simulation.action_names
        most, none = VOLT_WATT_PU
        share = np.clip((none - self._v_pu) / (none - most), 0.0, 1.0)
        each[..., names.index("pv_used")] = 2.0 * share - 1.0
        each[..., names.index("reactive")] = np.interp(
            self._v_pu, VOLT_VAR_PU, (-1.0, 0.0, 0.0, 1.0)
        )
        return actions
