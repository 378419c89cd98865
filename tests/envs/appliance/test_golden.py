"""Golden traces: what seeded episodes did when they were recorded.

A difference means that behaviour changed: raise the environment's version (from release 0.1
on) and record anew with ``python tests/envs/appliance/test_golden.py``.
"""

import csv
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import flexgym  # noqa: F401
from flexgym.envs.appliance.dynamics import OUTCOME_NAMES

FILE = Path(__file__).parent / "golden.csv"
EPISODES = {"autoregressive": 2, "markov": 5, "none": 6}
"""A seed for each price model."""


def trace(uncertainty, seed):
    options = {"split": "test", "uncertainty": uncertainty, "noise_sd_eur_per_kwh": 0.01}
    env = gym.make("flexgym/Appliance-v0", **options)
    observation, _ = env.reset(seed=seed)
    for t in range(24):
        observation, reward, _, _, info = env.step(np.array([np.sin(1.7 * t + seed)]))
        values = [reward, *(info[name] for name in OUTCOME_NAMES), float(np.sum(observation))]
        yield [uncertainty, t, *(f"{value:.9g}" for value in values)]


def header():
    return ["uncertainty", "t", "reward", *OUTCOME_NAMES, "observation_sum"]


@pytest.mark.parametrize("uncertainty", EPISODES)
def test_episodes_are_as_recorded(uncertainty):
    with FILE.open(newline="") as stream:
        first, *rows = csv.reader(stream)
    assert first == header()
    recorded = [row for row in rows if row[0] == uncertainty]
    played = list(trace(uncertainty, EPISODES[uncertainty]))
    assert len(recorded) == len(played) == 24
    assert sum(float(row[3]) for row in recorded) >= 1
    for old, new in zip(recorded, played, strict=True):
        np.testing.assert_allclose(
            np.array(new[2:], float), np.array(old[2:], float), rtol=1e-6, atol=1e-8, err_msg=old[1]
        )


if __name__ == "__main__":
    with FILE.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header())
        for uncertainty, seed in EPISODES.items():
            writer.writerows(trace(uncertainty, seed))
