"""What tests of forecasts share."""

import datetime as dt

import numpy as np
import pytest

from flexgym.envs.forecasts.record import ForecastRecord
from flexgym.envs.forecasts.signals import SignalProcess


@pytest.fixture(scope="session")
def record_of():
    """Function that draws one path of a process: exact conditional expectations and prices."""

    def drawn(process: SignalProcess, leads: int, seed: int) -> ForecastRecord:
        signal = process.draw(np.random.default_rng(seed).random(process.periods))
        t = np.arange(leads, process.periods)[:, None]
        s = t - np.arange(leads + 1)
        return ForecastRecord(dt.datetime(2023, 1, 1), process.forecasts[s, signal[s], t], "drawn")

    return drawn
