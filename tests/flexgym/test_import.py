"""The front door is light: heavy libraries load when something needs them."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "stable_baselines3", "pandapower", "numba", "matplotlib", "highspy")


def fresh(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("module", ["flexgym", "flexgym.envs", "flexgym.envs.errors"])
def test_import_stays_light(module):
    loaded = fresh(f"import sys, {module}; print(*sys.modules)")
    assert module in loaded
    assert not set(HEAVY) & set(loaded)


def test_the_house_loads_no_learning_library():
    loaded = fresh(
        "import sys, flexgym, gymnasium; gymnasium.make('flexgym/Household-v0', observation="
        "'compact').reset(seed=0); import flexgym.policies.household; print(*sys.modules)"
    )
    assert "flexgym.envs.household.dynamics" in loaded
    assert not {"torch", "stable_baselines3", "pandapower", "matplotlib"} & set(loaded)


def test_import_registers():
    ids = fresh("import flexgym, gymnasium; print(*gymnasium.registry)")
    assert {"flexgym/Household-v0", "flexgym/Feeder-v0", "flexgym/Operator-v0"} <= set(ids)


def test_no_bare_rooms():
    """The rooms have one name: importing them must not add bare ones."""
    loaded = fresh("import sys, flexgym.envs, flexgym.baselines.household; print(*sys.modules)")
    assert not {"envs", "baselines", "policies", "train", "evaluate"} & set(loaded)
