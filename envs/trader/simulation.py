"""Traders in lockstep: the state both adapters and all policies share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flexgym.envs.data.calendar import as_index
from flexgym.envs.errors import ActionError, ResetNeededError, ScenarioError, StateError
from flexgym.envs.household.action_map import as_numbers
from flexgym.envs.household.params import Floats
from flexgym.envs.saved_state import saved_array
from flexgym.envs.trader.dynamics import (
    Ints,
    action_of,
    contract_eur,
    delivery_eur,
    forward_room,
    lots,
    option_room,
)
from flexgym.envs.trader.observation import OBSERVATION_NAMES, observe, quoted
from flexgym.envs.trader.scenario import Episodes, TraderScenario

OUTCOME_NAMES = (
    "forward_lots", "option_lots", "exercised_lots", "spot_lots",
    "forward_eur", "premium_eur", "exercise_eur", "spot_eur",
    "price_eur_per_kwh", "cost_eur",
)  # fmt: skip
COST_TERMS = ("forward_eur", "premium_eur", "exercise_eur", "spot_eur")
COST_EUR = OUTCOME_NAMES.index("cost_eur")
_EPISODE = ("day", "row", "signal", "quote", "price_eur_per_kwh")
_STATE = ("covered", "optioned", "outcome", "cost_eur")


class TraderSimulation:
    """n traders, each in its own episode, all in the same hour.

    Attributes:
        scenario: Days, price processes and terms.
        n: Number of traders.
        t: Current hour, 0 to T.
        covered: Lots bought forward, shape (n,).
        optioned: Lots with an option, shape (n,).
        episodes: What was drawn for the current episodes.
        outcome: Results of the last hour, shape (n, 10), columns `OUTCOME_NAMES`.
        cost_eur: Cost of the episode so far, shape (n,), EUR.
    """

    episodes: Episodes
    covered: Ints
    optioned: Ints
    outcome: Floats
    cost_eur: Floats
    observation_names = OBSERVATION_NAMES

    def __init__(self, scenario: TraderScenario, n: int) -> None:
        self.scenario, self.n, self.terms = scenario, n, scenario.terms
        self.t = self.terms.hours  # nothing to play before `begin`
        self._uniform = np.empty((n, scenario.draws))

    def __getattr__(self, name: str) -> Any:
        if name in ("episodes", *_STATE):
            raise ResetNeededError(f"{name} is not there before an episode; call reset first.")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def begin(self, rngs: Sequence[np.random.Generator], options: dict | None = None) -> None:
        """Draw an episode for each trader.

        Args:
            rngs: One generator each; asked for the same amount whatever the options.
            options: ``day``, a number or one a row.

        Raises:
            ScenarioError: Unknown option or day.
        """
        if options is not None and not isinstance(options, Mapping):
            raise ScenarioError(f"options is {options!r}; expected a mapping such as {{'day': 3}}.")
        chosen = dict(options or {})
        if set(chosen) - {"day"}:
            raise ScenarioError(f"got the reset options {sorted(map(str, chosen))}; expected day.")
        day = None
        if "day" in chosen:
            day = np.asarray(chosen["day"])
            if day.dtype.kind not in "iu" or day.shape not in ((), (1,), (self.n,)):
                raise ScenarioError(
                    f"day is {chosen['day']!r}; expected one integer or {self.n} of them."
                )
            day = np.array(np.broadcast_to(day, (self.n,)), dtype=np.int64)
        for rng, row in zip(rngs, self._uniform, strict=True):
            rng.random(out=row)
        self.start(self.scenario.draw(self._uniform, day))

    def start(self, episodes: Episodes) -> None:
        """Begin given episodes, n of them."""
        self.episodes, self.t = episodes, 0
        self.covered, self.optioned = np.zeros((2, self.n), dtype=np.int64)
        self.outcome = np.zeros((self.n, len(OUTCOME_NAMES)))
        self.cost_eur = np.zeros(self.n)

    @property
    def done(self) -> bool:
        """Whether the episode is over."""
        return self.t >= self.terms.hours

    @property
    def trading(self) -> bool:
        """Whether contracts trade now; else energy is delivered."""
        return self.t < self.terms.first_delivery

    @property
    def signal(self) -> Ints:
        """Signal seen now, shape (n,); at the end the last one."""
        return self.episodes.signal[:, min(self.t, self.terms.hours - 1)]

    @property
    def expected_eur_per_kwh(self) -> Floats:
        """Expected spot price of this hour, shape (n,), EUR/kWh."""
        at = min(self.t, self.terms.hours - 1)
        return self.scenario.quotes.price[self.episodes.row, at, self.signal]

    @property
    def strike_eur_per_kwh(self) -> Floats:
        """Strike of each day's options, shape (n,), EUR/kWh."""
        return self.scenario.quotes.strike[self.episodes.row]

    @property
    def quoted(self) -> tuple[Floats, Floats]:
        """Quotes of a forward and of an option now, while contracts trade, (n,), EUR/kWh."""
        return quoted(self.scenario.quotes, self.episodes, self.t)

    @property
    def fair(self) -> tuple[Floats, Floats]:
        """What they are worth under the price model, likewise."""
        quotes, at = self.scenario.quotes, (self.episodes.row, self.t, self.signal)
        return quotes.block[at], quotes.call[at]

    def observe(self) -> np.ndarray:
        """Observation of each trader, shape (n, 12), float32."""
        state = self.t, self.covered, self.optioned
        return observe(self.terms, self.scenario.quotes, self.episodes, *state)

    def step(self, action: np.ndarray) -> Floats:
        """Play one hour.

        Args:
            action: Shape (n, 3), any float type, in [-1, 1].

        Returns:
            What happened, shape (n, 10), columns `OUTCOME_NAMES`.

        Raises:
            ActionError: Wrong shape, not a number, or outside [-1, 1]; or the episode is over.
        """
        played = np.asarray(as_numbers(action), dtype=np.float64)
        if played.shape != (self.n, 3):
            raise ActionError(f"action has shape {played.shape}; expected {(self.n, 3)}.")
        if self.done:
            raise ActionError(
                "step was called before an episode or after its end; call reset first."
            )
        good = np.abs(played) <= 1.0
        if not good.all():
            raise ActionError(
                f"action is {played[~good][0]}; expected numbers in [-1, 1]. Clip or squash the "
                "policy's output."
            )
        terms, t = self.terms, self.t
        out = np.zeros((self.n, len(OUTCOME_NAMES)))
        if self.trading:
            forward, premium = self.quoted
            bought = lots(played[:, 0], forward_room(terms, self.covered, self.optioned))
            self.covered = self.covered + bought
            options = lots(played[:, 1], option_room(terms, self.covered, self.optioned))
            self.optioned = self.optioned + options
            out[:, 0], out[:, 1] = bought, options
            out[:, 4] = contract_eur(terms, bought, forward)
            out[:, 5] = contract_eur(terms, options, premium)
        else:
            used = lots(played[:, 2], self.optioned)
            price = self.episodes.price_eur_per_kwh[:, t]
            strike = self.strike_eur_per_kwh
            out[:, 2], out[:, 3] = used, terms.need_lots - self.covered - used
            out[:, 6], out[:, 7] = delivery_eur(terms, self.covered, used, price, strike)
        out[:, 8] = self.episodes.price_eur_per_kwh[:, t]
        out[:, COST_EUR] = out[:, 4:8].sum(axis=1)
        self.outcome = out
        self.cost_eur = self.cost_eur + out[:, COST_EUR]
        self.t += 1
        return out

    def action(
        self, forward: Ints | int = 0, options: Ints | int = 0, exercised: Ints | int = 0
    ) -> Floats:
        """Actions that play lots: the right inverse of the action map, shape (n, 3).

        Args:
            forward: Lots to buy forward, shape (n,) or a number, feasible now.
            options: Lots whose options to buy, feasible beside them.
            exercised: Lots of options to exercise, at most those held.

        Raises:
            ActionError: Something is not feasible now.
        """
        most = np.zeros((3, self.n), dtype=np.int64)
        wanted = np.zeros((3, self.n), dtype=np.int64)
        for row, values in zip(wanted, (forward, options, exercised), strict=True):
            row[:] = values
        if self.trading:
            most[0] = forward_room(self.terms, self.covered, self.optioned)
            most[1] = option_room(self.terms, self.covered + wanted[0], self.optioned)
        else:
            most[2] = self.optioned
        if ((wanted < 0) | (wanted > most)).any():
            at = int(np.argmax(((wanted < 0) | (wanted > most)).any(axis=0)))
            raise ActionError(
                f"lots are {wanted[:, at].tolist()} (forward, options, exercised) in row {at}; "
                f"expected 0 to {most[:, at].tolist()}."
            )
        return action_of(wanted, most).T

    @property
    def made_of(self) -> tuple[str, int]:
        """What a saved state must agree with: scenario and number of traders."""
        return self.scenario.fingerprint, self.n

    def save(self) -> dict[str, Any]:
        """Everything needed to go on from here, but for the generators."""
        state = {name: getattr(self, name).copy() for name in _STATE}
        drawn = {name: getattr(self.episodes, name).copy() for name in _EPISODE}
        return {"made_of": self.made_of, "t": self.t, **state, **drawn}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `save` returned, identically.

        Raises:
            StateError: It is of another scenario or number of traders, or damaged.
        """
        made_of = saved.get("made_of") if isinstance(saved, Mapping) else saved
        if not isinstance(made_of, tuple) or made_of != self.made_of:
            raise StateError(
                f"the state is of {made_of}; expected one of {self.made_of}: scenario and number "
                "of traders. Restore into an environment made with the same options."
            )
        n, terms, scenario = self.n, self.terms, self.scenario
        whole, real = np.int64, np.float64
        expected: dict[str, tuple[tuple[int, ...], type]] = {
            **dict.fromkeys(("covered", "optioned", "day", "row"), ((n,), whole)),
            "signal": ((n, terms.hours), whole), "quote": ((n, terms.first_delivery), whole),
            "price_eur_per_kwh": ((n, terms.hours), real), "cost_eur": ((n,), real),
            "outcome": ((n, len(OUTCOME_NAMES)), real),
        }  # fmt: skip
        found = {
            name: saved_array(saved, name, np.empty(shape, dtype=kind))
            for name, (shape, kind) in expected.items()
        }
        ends = {
            "covered": terms.need_lots, "optioned": terms.need_lots - found["covered"].clip(0),
            "row": len(scenario.days) - 1, "signal": scenario.processes[0].signals - 1,
            "quote": terms.quotes - 1,
        }  # fmt: skip
        for name, most in ends.items():
            if not ((found[name] >= 0) & (found[name] <= most)).all():
                raise StateError(f"the state's {name} lies outside 0 to {most}; it is damaged.")
        t = as_index(saved.get("t"))
        if t is None or not 0 <= t <= terms.hours:
            raise StateError(f"the state's t is {saved.get('t')!r}; expected 0 to {terms.hours}.")
        if (scenario.days[found["row"]] != found["day"]).any():
            raise StateError("the state's days are not those of its rows; it is damaged.")
        self.start(Episodes(*(found[name] for name in _EPISODE)))
        self.t = t
        for name in _STATE:
            setattr(self, name, found[name])
