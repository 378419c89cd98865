"""`flexgym/Trader-v0`: a consumer that covers its need, as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gymnasium as gym
import numpy as np

from flexgym.envs.data import Prices
from flexgym.envs.forecasts.price_models import PriceModel
from flexgym.envs.forecasts.signals import SignalProcess
from flexgym.envs.lockstep import LockstepEnv
from flexgym.envs.trader.observation import OBSERVATION_LIMIT
from flexgym.envs.trader.params import TraderTerms
from flexgym.envs.trader.scenario import TraderScenario, slow_prices
from flexgym.envs.trader.simulation import OUTCOME_NAMES, TraderSimulation


def spaces(simulation: TraderSimulation) -> tuple[gym.spaces.Box, gym.spaces.Box]:
    """Observation and action space of one trader, both float32."""
    size = (len(simulation.observation_names),)
    return (
        gym.spaces.Box(-OBSERVATION_LIMIT, OBSERVATION_LIMIT, size, np.float32),
        gym.spaces.Box(-1.0, 1.0, (3,), np.float32),
    )


class TraderEnv(LockstepEnv):
    """A consumer needs energy in the evening and covers it by forwards, options or at spot.

    **Action** (3,) in [-1, 1], each from nothing (-1) to all that is possible now (1), in lots,
    the nearest. While contracts trade: lots to buy forward, of the market's depth and of what is
    open; lots whose options to buy, of what is then left; the third entry does not count. In the
    hours of delivery only the third counts: lots of options to exercise in this hour.

    **Observation**: float32, entries and units in ``observation_names``: the hour, the expected
    spot price, what delivery and an option on it are worth under the price model, by how much the
    market asks more, the strike, and what is covered.

    **Reward**: minus the hour's cost in EUR. A forward is booked when it is struck, at the price
    that is then fixed, a premium when it is paid, exercised options at the strike and the rest at
    spot in their hour. The sum is exactly minus the episode's cost; ``info`` itemises it.

    **Episode**: from 06:00, by default 12 hours in which contracts for 18:00 to 24:00 trade, then
    these 6 hours. Spot prices follow a finite chain of signals around the day's curve, quotes a
    chain of their own. ``terminated`` at the end.

    **Reset options**: ``day``, one of the scenario's.

    **Reference**: `flexgym.baselines.trader.cost_to_go`, exact on the environment's own lots.

    Args:
        terms: Need and quotes; None is the documented default.
        days: Days of the year to draw from; None takes the split's.
        prices: From `flexgym.envs.data.load_prices` or `synthetic_prices`; None is the documented
            synthetic tariff. Hourly means of the import price are the day's curve.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        uncertainty: See `flexgym.envs.forecasts.price_models.price_model`; or one
            `SignalProcess`, which then is the only day. The default is an autoregression of
            hourly persistence 0.95 and deviation 0.05 EUR/kWh.
        render_mode: ``"rgb_array"`` or None.

    Raises:
        ScenarioError: An option is unknown, empty or out of range.

    Version History:
        v0: first version.
    """

    simulation: TraderSimulation

    def __init__(
        self,
        terms: TraderTerms | None = None,
        days: Iterable[int] | int | None = None,
        prices: Prices | None = None,
        split: str = "train",
        uncertainty: PriceModel | SignalProcess = slow_prices,
        render_mode: str | None = None,
    ) -> None:
        scenario = TraderScenario.create(terms, days, prices, split, uncertainty)
        simulation = TraderSimulation(scenario, 1)
        super().__init__(simulation, spaces(simulation), OUTCOME_NAMES, render_mode)

    def render(self) -> np.ndarray | None:
        """Picture of the day so far, shape (height, width, 3), uint8."""
        if self.render_mode is None:
            return None
        from flexgym.envs.trader.render import render_day

        return render_day(self.simulation, self._played())

    def _reset_info(self) -> dict[str, np.ndarray]:
        return reset_info(self.simulation)


def reset_info(simulation: TraderSimulation) -> dict[str, Any]:
    """What reset tells of each trader, shape (n,): its day and the strike of its options."""
    day = simulation.episodes.day.copy()
    return {"day": day, "strike_eur_per_kwh": simulation.strike_eur_per_kwh.copy()}
