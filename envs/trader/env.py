"""`flexgym/Trader-v0`: a consumer that covers its need, as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from flexgym.envs.data import Prices
from flexgym.envs.errors import ActionError, ScenarioError, StateError
from flexgym.envs.forecasts.price_models import PriceModel
from flexgym.envs.forecasts.signals import SignalProcess
from flexgym.envs.household.action_map import as_numbers
from flexgym.envs.household.params import Floats
from flexgym.envs.trader.observation import OBSERVATION_LIMIT
from flexgym.envs.trader.params import TraderTerms
from flexgym.envs.trader.scenario import TraderScenario, slow_prices
from flexgym.envs.trader.simulation import COST_EUR, OUTCOME_NAMES, TraderSimulation


def spaces(simulation: TraderSimulation) -> tuple[gym.spaces.Box, gym.spaces.Box]:
    """Observation and action space of one trader, both float32."""
    size = (len(simulation.observation_names),)
    return (
        gym.spaces.Box(-OBSERVATION_LIMIT, OBSERVATION_LIMIT, size, np.float32),
        gym.spaces.Box(-1.0, 1.0, (3,), np.float32),
    )


class TraderEnv(gym.Env[np.ndarray, np.ndarray]):
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

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 2}

    def __init__(
        self,
        terms: TraderTerms | None = None,
        days: Iterable[int] | int | None = None,
        prices: Prices | None = None,
        split: str = "train",
        uncertainty: PriceModel | SignalProcess = slow_prices,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ScenarioError(f"render_mode is {render_mode!r}; expected None or 'rgb_array'.")
        scenario = TraderScenario.create(terms, days, prices, split, uncertainty)
        self.simulation = TraderSimulation(scenario, 1)
        self.observation_names = self.simulation.observation_names
        self.observation_space, self.action_space = spaces(self.simulation)
        self.render_mode = render_mode
        self._outcomes: list[Floats] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw a new episode; see the class for the options."""
        super().reset(seed=seed)
        self.simulation.begin([self.np_random], options)
        self._outcomes = []
        info = {name: values[0].item() for name, values in reset_info(self.simulation).items()}
        return self.simulation.observe()[0], info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Play one hour; see `TraderSimulation.step` for errors."""
        played = as_numbers(action)
        if played.shape != self.action_space.shape:
            raise ActionError(
                f"action has shape {played.shape}; expected {self.action_space.shape}."
            )
        outcome = self.simulation.step(played[None])
        self._outcomes.append(outcome[0])
        values = outcome[0].tolist()
        info: dict[str, Any] = dict(zip(OUTCOME_NAMES, values, strict=True))
        return self.simulation.observe()[0], -values[COST_EUR], self.simulation.done, False, info

    def save_state(self) -> dict[str, Any]:
        """Everything needed to go on from here."""
        return {
            **self.simulation.save(),
            "outcomes": [outcome.copy() for outcome in self._outcomes],
            "rngs": [self.np_random.bit_generator.state],
        }

    def restore_state(self, saved: dict[str, Any]) -> None:
        """Go on from what `save_state` returned, identically.

        Raises:
            StateError: It is of an environment with other options, or damaged.
        """
        self.simulation.restore(saved)
        restore_generators([self.np_random], saved.get("rngs"))
        self._outcomes = [np.array(outcome) for outcome in saved.get("outcomes", ())]

    def render(self) -> np.ndarray | None:
        """Picture of the day so far, shape (height, width, 3), uint8."""
        if self.render_mode is None:
            return None
        from flexgym.envs.trader.render import render_day

        return render_day(self.simulation, np.array(self._outcomes).reshape(-1, len(OUTCOME_NAMES)))


def reset_info(simulation: TraderSimulation) -> dict[str, Any]:
    """What reset tells of each trader, shape (n,): its day and the strike of its options."""
    day = simulation.episodes.day.copy()
    return {"day": day, "strike_eur_per_kwh": simulation.strike_eur_per_kwh.copy()}


def restore_generators(rngs: Sequence[np.random.Generator], states: Any) -> None:
    """Bring generators back to saved states.

    Raises:
        StateError: There are not as many, or one cannot be read.
    """
    if not isinstance(states, list) or len(states) != len(rngs):
        raise StateError(f"the state has no {len(rngs)} generators; expected one a trader.")
    try:
        for rng, state in zip(rngs, states, strict=True):
            rng.bit_generator.state = state
    except (TypeError, ValueError, KeyError) as error:
        raise StateError(
            f"the state's generators cannot be read ({error!r}); expected what save_state returned."
        ) from error
