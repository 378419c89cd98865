"""Small price processes, and the exact expectation of a policy by playing every history."""

import numpy as np
import pytest

from flexgym.baselines.appliance import histories
from flexgym.envs.appliance.params import Job, Jobs
from flexgym.envs.appliance.scenario import ApplianceScenario, Episodes
from flexgym.envs.appliance.simulation import ApplianceSimulation
from flexgym.envs.forecasts.signals import SignalProcess
from flexgym.policies.appliance import play


def random_process(rng, T, n):
    """Any chain, different in every hour; prices below zero too."""
    chances = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(n), (T - 1, n))
    return SignalProcess(*chances, rng.normal(0.2, 0.2, (T, n)))


def random_job(rng, T, interruptible):
    """Any job, of no hours or without slack too, though seldom."""
    earliest = int(rng.integers(3)) if rng.random() < 0.3 else 0
    deadline = T - (int(rng.integers(T - earliest)) if rng.random() < 0.2 else 0)
    hours = int(rng.integers(deadline - earliest + 1))
    return Job(hours, deadline, earliest, float(rng.uniform(0.5, 3.0)), interruptible)


def all_histories(process, job):
    """Every history of a process side by side in the environment's own simulation."""
    paths, chance = histories(process)
    m = len(paths)
    simulation = ApplianceSimulation(ApplianceScenario.create(job, uncertainty=process), m)
    zeros = np.zeros(m, dtype=np.int64)
    price = process.price_eur_per_kwh[np.arange(process.periods), paths]
    simulation.start(Episodes(zeros, zeros, Jobs.of([job] * m), paths, price))
    return simulation, chance


def exact_cost(policy, process, job):
    """Expected cost of a policy, whatever it remembers."""
    simulation, chance = all_histories(process, job)
    return float(chance @ play(policy, simulation))


@pytest.fixture(scope="session")
def world():
    """Functions random_process, random_job, all_histories, exact_cost by name."""
    functions = (random_process, random_job, all_histories, exact_cost)
    return type("World", (), {f.__name__: staticmethod(f) for f in functions})
