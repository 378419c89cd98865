"""Golden traces: what two seeded episodes did when they were recorded.

A difference means that behaviour changed: raise the environment's version (from release 0.1
on) and record anew with ``python tests/envs/household/test_golden.py``.
"""

import csv
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import flexgym  # noqa: F401
from flexgym.envs.household.dynamics import OUTCOME_NAMES

FILE = Path(__file__).parent / "golden.csv"
EPISODES = {"markov": (0, True), "none": (1, False)}
"""For each kind of uncertainty a seed, and whether the house has a car."""


def trace(uncertainty, seed, car):
    env = gym.make("flexgym/Household-v0", split="test", uncertainty=uncertainty, car=car)
    observation, _ = env.reset(seed=seed)
    for t in range(96):
        action = np.array([np.sin(0.37 * t + seed), 0.55 * np.sin(0.29 * t)])[: 1 + car]
        observation, reward, _, _, info = env.step(action)
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
    played = list(trace(uncertainty, *EPISODES[uncertainty]))
    assert len(recorded) == len(played) == 96
    for old, new in zip(recorded, played, strict=True):
        np.testing.assert_allclose(
            np.array(new[2:], float), np.array(old[2:], float), rtol=1e-6, atol=1e-8, err_msg=old[1]
        )


if __name__ == "__main__":
    with FILE.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header())
        for uncertainty, episode in EPISODES.items():
            writer.writerows(trace(uncertainty, *episode))
