"""From a day's forecast curve to a process of forecast signals, by name."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature

import numpy as np

from flexgym.envs.data.calendar import EPISODES, HOURS_PER_DAY, START_QUARTER
from flexgym.envs.data.hourly_prices import hourly_means
from flexgym.envs.data.prices import Prices
from flexgym.envs.errors import ScenarioError
from flexgym.envs.forecasts.signals import SignalProcess
from flexgym.envs.household.params import STEPS_PER_DAY, Floats
from flexgym.envs.uncertainty import MarkovChain, Uncertainty

UNCERTAINTIES = ("markov", "autoregressive", "none")
PERSISTENCE, SD_EUR_PER_KWH, VALUES = 0.6, 0.06, 9
"""Of ``"autoregressive"``: hourly autocorrelation, deviation, values of the chain."""

PriceModel = str | MarkovChain | Callable[[Floats], SignalProcess]


def price_model(uncertainty: PriceModel) -> Callable[[Floats], SignalProcess]:
    """The process around a forecast curve of hourly prices.

    Args:
        uncertainty: ``"markov"`` (the household's price chain, four quarter-hours a step),
            ``"autoregressive"``, ``"none"``; a `MarkovChain` of factors; or a function from a
            curve (24,) to a `SignalProcess`, which is returned as it is.

    Raises:
        ScenarioError: It is none of these.
    """
    if isinstance(uncertainty, str):
        if uncertainty == "none":
            return SignalProcess.known
        if uncertainty == "autoregressive":
            return lambda curve: SignalProcess.autoregressive(
                curve, PERSISTENCE, SD_EUR_PER_KWH, VALUES
            )
        if uncertainty == "markov":
            quarter = Uncertainty.markov().price
            hourly = np.linalg.matrix_power(quarter.matrix, 4)
            rows = tuple(tuple(row) for row in (hourly / hourly.sum(axis=1)[:, None]).tolist())
            uncertainty = MarkovChain(quarter.factors, rows)
    if isinstance(uncertainty, MarkovChain):
        chain = uncertainty
        return lambda curve: SignalProcess.scaled(curve, chain)
    if callable(uncertainty):
        try:
            signature(uncertainty).bind(np.zeros(HOURS_PER_DAY))
        except TypeError as error:
            raise ScenarioError(
                f"uncertainty is {uncertainty!r}, which cannot be called with one argument "
                f"({error}); expected a function from a forecast curve to a SignalProcess."
            ) from error
        except ValueError:
            pass  # what has no signature, such as some built-ins, is called as it is
        return uncertainty
    raise ScenarioError(
        f"uncertainty is {uncertainty!r}; expected one of {', '.join(UNCERTAINTIES)}, a "
        "MarkovChain, a SignalProcess or a function from a forecast curve to one."
    )


def hourly_curves(prices: Prices) -> Floats:
    """Import price of every episode in hours from 06:00, shape (365, 24), EUR/kWh; NaN if unknown.

    Args:
        prices: Of the year.
    """
    first = START_QUARTER
    paid = prices.import_eur_per_kwh[first : first + EPISODES * STEPS_PER_DAY]
    return hourly_means(paid).reshape(EPISODES, HOURS_PER_DAY)
