"""What is not known in advance: finite Markov chains around a forecast.

Forecasts for the whole episode are known at its start. What happens is the forecast times
three factors: a weather factor on PV and a price factor on the import price, both shared by
everybody on the feeder, and a load factor drawn for each house and period. All three are
observed before a period's action. Chains are finite, so an exact stochastic optimum exists.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexgym.envs.compiled import compiled
from flexgym.envs.errors import ScenarioError
from flexgym.envs.household.params import Floats


@dataclass(frozen=True)
class MarkovChain:
    """A finite chain of factors.

    Attributes:
        factors: Value of each state, (k,).
        transition: Probability of going from row to column in one period, k rows of k.
    """

    factors: tuple[float, ...]
    transition: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        k = len(self.factors)
        p = np.asarray(self.transition, dtype=np.float64)
        if k == 0 or p.shape != (k, k):
            raise ScenarioError(
                f"transition has shape {p.shape}; expected one row and column per factor, {(k, k)}."
            )
        if not ((p >= 0).all() and np.abs(p.sum(axis=1) - 1).max() <= 1e-9):
            raise ScenarioError(
                "transition probabilities must be >= 0 and add up to 1 in every row; "
                f"row sums are {p.sum(axis=1)}."
            )
        if not all(np.isfinite(f) and f >= 0 for f in self.factors):
            raise ScenarioError(f"factors are {self.factors}; expected finite numbers >= 0.")

    @property
    def matrix(self) -> Floats:
        """Transition matrix, shape (k, k)."""
        return np.array(self.transition, dtype=np.float64)

    @property
    def stationary(self) -> Floats:
        """Stationary distribution, shape (k,): the distribution in every period."""
        k = len(self.factors)
        system = np.vstack([self.matrix.T - np.eye(k), np.ones(k)])
        solution, *_ = np.linalg.lstsq(system, np.append(np.zeros(k), 1.0), rcond=None)
        share = np.clip(solution, 0.0, None)
        return share / share.sum()


def _birth_death(factors: tuple[float, ...], leave: tuple[float, ...]) -> MarkovChain:
    """Chain that moves to neighbouring factors only, leaving state i with chance leave[i]."""
    k = len(factors)
    p = np.zeros((k, k))
    for i, chance in enumerate(leave):
        neighbours = [j for j in (i - 1, i + 1) if 0 <= j < k]
        p[i, neighbours] = chance / len(neighbours)
        p[i, i] = 1.0 - chance
    return MarkovChain(factors, tuple(tuple(row) for row in p.tolist()))


@dataclass(frozen=True)
class Uncertainty:
    """Weather and price chains and the noise of a house's load.

    Markov state s stands for weather ``s // n_price`` and price ``s % n_price``.

    Attributes:
        weather: Factor on the PV forecast; PV never exceeds the roof's rating.
        price: Factor on the import price; the export price is a contract and known.
        load_factors: Factors on the load forecast, drawn anew for each house and period.
        load_probabilities: Their probabilities.
    """

    weather: MarkovChain
    price: MarkovChain
    load_factors: tuple[float, ...] = (1.0,)
    load_probabilities: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        p = np.asarray(self.load_probabilities)
        shares = p.shape == (len(self.load_factors),) and (p >= 0).all()
        if not (shares and abs(p.sum() - 1) <= 1e-9):
            raise ScenarioError(
                f"load_probabilities are {self.load_probabilities}; expected one for each of "
                f"{len(self.load_factors)} factors, >= 0, adding up to 1."
            )
        if not all(np.isfinite(f) and f >= 0 for f in self.load_factors):
            raise ScenarioError(f"load_factors are {self.load_factors}; expected numbers >= 0.")

    @classmethod
    def named(cls, name: str | Uncertainty) -> Uncertainty:
        """``"markov"`` or ``"none"`` (perfect forecasts); an `Uncertainty` passes through."""
        if isinstance(name, Uncertainty):
            return name
        if name == "markov":
            return cls.markov()
        if name == "none":
            certain = MarkovChain((1.0,), ((1.0,),))
            return cls(certain, certain)
        raise ScenarioError(
            f"uncertainty is {name!r}; expected 'markov', 'none' or an Uncertainty."
        )

    @classmethod
    def markov(cls) -> Uncertainty:
        """The suite's chains. Synthetic; means of all factors are 1 within 1.5 %.

        Weather {0.35, 1.05, 1.55} leaving with {0.07, 0.08, 0.07}, price {0.8, 1, 1.25}
        leaving with 0.06 a quarter-hour, load {0.5, 1, 1.75} with {0.3, 0.5, 0.2}.
        """
        return cls(
            weather=_birth_death((0.35, 1.05, 1.55), (0.07, 0.08, 0.07)),
            price=_birth_death((0.8, 1.0, 1.25), (0.06, 0.06, 0.06)),
            load_factors=(0.5, 1.0, 1.75),
            load_probabilities=(0.3, 0.5, 0.2),
        )

    @property
    def n_states(self) -> int:
        """Number of Markov states."""
        return len(self.weather.factors) * len(self.price.factors)

    @property
    def weather_factor(self) -> Floats:
        """Weather factor of each Markov state, shape (n_states,)."""
        return np.array([w for w in self.weather.factors for _ in self.price.factors])

    @property
    def price_factor(self) -> Floats:
        """Price factor of each Markov state, shape (n_states,)."""
        return np.array([p for _ in self.weather.factors for p in self.price.factors])

    @property
    def transition(self) -> Floats:
        """Transition matrix of the Markov states, shape (n_states, n_states)."""
        return np.kron(self.weather.matrix, self.price.matrix).astype(np.float64)

    @property
    def stationary(self) -> Floats:
        """Distribution of the Markov state in every period, shape (n_states,)."""
        return np.kron(self.weather.stationary, self.price.stationary).astype(np.float64)

    @property
    def draws_per_period(self) -> int:
        """Uniform numbers one period of one house takes: weather, price, load."""
        return 3

    def check_state(self, state: int | None) -> int:
        """Return a valid Markov state or raise `ScenarioError`."""
        if self.n_states == 1 and state is None:
            return 0
        if state is None or not 0 <= state < self.n_states:
            raise ScenarioError(
                f"state is {state}; expected the Markov state observed now, 0 to "
                f"{self.n_states - 1}."
            )
        return int(state)


@compiled
def realise(forecast, rating, uniform, weather, price, load, exogenous, state):
    """Turn uniform numbers into what happens, one column a house.

    Args:
        forecast: Load, PV, import and export price, shape (T, 4, n).
        rating: Rated PV power, shape (n,), kW; the realised PV stays below it.
        uniform: Uniform numbers, shape (n, 3 * T).
        weather: Tuple of factors (k,), cumulated initial (k,) and transition (k, k) shares.
        price: Likewise.
        load: Tuple of factors (k,) and cumulated shares (k,).
        exogenous: Shape (T, 4, n), overwritten.
        state: Markov state, shape (T, n), overwritten.
    """
    T, _, n = forecast.shape
    n_price = len(price[0])
    # A few houses at a time, period by period: both layouts stay in the cache.
    for block in range(0, n, 16):
        for t in range(T):
            for i in range(block, min(block + 16, n)):
                if t == 0:
                    w = pick(weather[1], uniform[i, 0])
                    p = pick(price[1], uniform[i, 1])
                else:
                    before = state[t - 1, i]
                    w = pick(weather[2][before // n_price], uniform[i, 3 * t])
                    p = pick(price[2][before % n_price], uniform[i, 3 * t + 1])
                noise = load[0][pick(load[1], uniform[i, 3 * t + 2])]
                state[t, i] = w * n_price + p
                exogenous[t, 0, i] = forecast[t, 0, i] * noise
                exogenous[t, 1, i] = realised_pv(weather[0][w], forecast[t, 1, i], rating[i])
                exogenous[t, 2, i] = forecast[t, 2, i] * price[0][p]
                exogenous[t, 3, i] = forecast[t, 3, i]


@compiled
def realised_pv(factor, forecast_kw, rating_kw):
    """PV power under a weather factor: at most the rating (or a forecast above it), kW."""
    return min(factor * forecast_kw, max(rating_kw, forecast_kw))


@compiled
def pick(cumulated, uniform):
    """Position that a uniform number picks by cumulated shares."""
    k = 0
    while k < len(cumulated) - 1 and uniform >= cumulated[k]:
        k += 1
    return k


def tables(uncertainty: Uncertainty) -> tuple:
    """Weather, price and load tables as `realise` takes them."""

    def chain(c: MarkovChain) -> tuple[Floats, Floats, Floats]:
        return np.array(c.factors), np.cumsum(c.stationary), np.cumsum(c.matrix, axis=1)

    noise = (np.array(uncertainty.load_factors), np.cumsum(uncertainty.load_probabilities))
    return chain(uncertainty.weather), chain(uncertainty.price), noise
