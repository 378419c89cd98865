"""Golden traces: what seeded days did when they were recorded.

A difference means that behaviour changed: raise the environment's version (from release 0.1
on) and record anew with ``python tests/envs/local_market/test_golden.py``.
"""

import csv
from pathlib import Path

import numpy as np
import pytest

from flexgym.envs import local_market_v0
from flexgym.envs.local_market.dynamics import AMOUNTS, ITEMS
from flexgym.envs.local_market.params import HOURS

FILE = Path(__file__).parent / "golden.csv"
DAYS = {
    "flat": (0, {"rule": "uniform"}),
    "tree": (
        1,
        {
            "rule": "pay-as-bid",
            "neighbourhoods": 3,
            "fee_eur_per_kwh": 0.01,
            "wholesale_margin_eur_per_kwh": 0.03,
        },
    ),
    "contracts": (2, {"rule": "mid-price", "contracts": True}),
}
"""Of each day a seed and its options."""


def trace(name, seed, options):
    env = local_market_v0.parallel_env(participants=8, split="test", **options)
    observations, _ = env.reset(seed=seed)
    agents, entries = env.agents, np.arange(env.action_space(env.agents[0]).shape[0])
    for t in range(HOURS):
        actions = {a: np.sin(0.37 * t + 1.1 * k + entries) for k, a in enumerate(agents)}
        observations, rewards, _, _, infos = env.step(actions)
        # Weighted, so that it matters who got what.
        weight = 1.0 + np.arange(len(agents))
        sums = [weight @ [infos[a][key] for a in agents] for key in (*ITEMS, *AMOUNTS)]
        seen = float(np.sum(np.stack(list(observations.values())), dtype=np.float64))
        values = [weight @ list(rewards.values()), *sums, seen]
        yield [name, t, *(f"{value:.9g}" for value in values)]


def header():
    return ["day", "t", "reward", *ITEMS, *AMOUNTS, "observation_sum"]


@pytest.mark.parametrize("name", DAYS)
def test_days_are_as_recorded(name):
    with FILE.open(newline="") as stream:
        first, *rows = csv.reader(stream)
    assert first == header()
    recorded, played = [row for row in rows if row[0] == name], list(trace(name, *DAYS[name]))
    assert len(recorded) == len(played) == HOURS
    for old, new in zip(recorded, played, strict=True):
        np.testing.assert_allclose(
            np.array(new[2:], float), np.array(old[2:], float), rtol=1e-6, atol=1e-8, err_msg=old[1]
        )


if __name__ == "__main__":
    with FILE.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header())
        for name, day in DAYS.items():
            writer.writerows(trace(name, *day))
