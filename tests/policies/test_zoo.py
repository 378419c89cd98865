"""The registry of shipped policies and the loaders of runs: what they load, what they refuse."""

import hashlib
import json
import pickle
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import yaml

import flexgym.policies
from flexgym.envs.errors import RunError
from flexgym.envs.household.scenario import HouseholdScenario
from flexgym.evaluate.bench.menus import untrained
from flexgym.evaluate.benchmark.arena import ARENAS, arena_class
from flexgym.evaluate.rollout import HouseDays, rollout
from flexgym.policies import zoo
from flexgym.policies.learned_menus import LearnedMenus
from flexgym.policies.runs import LOADERS, load_run, read_run, runs_in

SEEDS = range(3)


class Bang:
    """Leaves a mark when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def write_run(place, seed, **changes):
    """A run folder of learned menus, which another network each seed makes."""
    place.mkdir(parents=True)
    config = {
        "environment": "flexgym/Household-v0", "algorithm": "menus", "recipe": "distilled",
        "seed": seed, "minutes": None, "prices": None, "hyperparameters": {}, **changes,
    }  # fmt: skip
    (place / "config.yaml").write_text(yaml.safe_dump(config))
    network = untrained((4,))
    network.layers["battery"][-1][1][:] = seed
    network.save(place / "best.safetensors")


@pytest.fixture
def folder(tmp_path):
    place, seeds = tmp_path / "weights" / "three", {}
    for seed in SEEDS:
        write_run(place / f"seed-{seed}", seed)
        files = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (place / f"seed-{seed}").iterdir()
        }
        seeds[str(seed)] = {"score": 90.0 + seed, "files": files}
    about = {"schema": 1, "settings": ["household/*"], "best": 2, "seeds": seeds}
    (place / "about.json").write_text(json.dumps(about))
    (place / "card.md").write_text("# Three\n")
    return tmp_path / "weights"


def change(folder, **changes):
    path = folder / "three" / "about.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def seed_of(policy):
    return float(policy.network.layers["battery"][-1][1][0])


def test_policies_load_by_name_and_seed(folder):
    assert zoo.names(folder) == ("three",)
    best = zoo.load("three", folder=folder)
    assert isinstance(best, LearnedMenus)
    assert (seed_of(best), best.name) == (2.0, "three")
    assert [seed_of(zoo.load("three", k, folder)) for k in SEEDS] == [0.0, 1.0, 2.0]
    about = zoo.shipped("three", folder)
    assert about.card == "# Three\n"
    assert about.settings == ("household/*",)
    assert {seed: one.score for seed, one in about.seeds.items()} == {0: 90.0, 1: 91.0, 2: 92.0}
    assert len({one.digest for one in about.seeds.values()}) == 3


def test_what_is_loaded_plays_as_the_run_did(folder):
    days = HouseDays.sample(HouseholdScenario.create(split="test", car=False), 2, 0)
    loaded = rollout(zoo.load("three", 1, folder), days).cost_eur
    run = LearnedMenus.from_run(folder / "three" / "seed-1")
    np.testing.assert_array_equal(loaded, rollout(run, days).cost_eur)
    assert not np.array_equal(loaded, rollout(zoo.load("three", 0, folder), days).cost_eur)


def test_the_room_has_the_function():
    assert flexgym.policies.load is zoo.load
    with pytest.raises(AttributeError, match="nothing"):
        flexgym.policies.nothing  # noqa: B018


def test_unknown_names_and_seeds_are_named(folder):
    with pytest.raises(RunError, match=r"'four'; expected one of three"):
        zoo.load("four", folder=folder)
    with pytest.raises(RunError, match=r"seed 9 of three; expected one of 0, 1, 2"):
        zoo.load("three", 9, folder=folder)
    with pytest.raises(RunError, match="expected one of"):
        zoo.load("../three", folder=folder)
    with pytest.raises(RunError, match="no policy ships"):
        zoo.load("three", folder=folder / "three")


DIGEST = "0" * 64


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"best": 7},
        {"best": None},
        {"seeds": []},
        {"settings": None},
        {"settings": "household/*"},
        {"seeds": {"2": {"score": 1.0, "files": {"../../x.safetensors": DIGEST}}}},
        {"seeds": {"2": {"score": 1.0, "files": {"config.yaml": "no digest"}}}},
        {"seeds": {"2": {"score": 1.0, "files": {"config.yaml": None}}}},
        {"seeds": {"2": {"score": "high", "files": {}}}},
        {"seeds": {"../2": {"score": 1.0, "files": {}}}},
        {"seeds": {"2": {"score": 1.0, "files": {}}}},
    ],
)
def test_foreign_descriptions_are_refused(folder, changes):
    change(folder, **changes)
    with pytest.raises(RunError, match=r"about\.json"):
        zoo.load("three", folder=folder)


@pytest.mark.parametrize("content", [b"\xff{", b"[" * 100_000, b"[]", b""])
def test_a_description_that_is_none_is_refused(folder, content):
    (folder / "three" / "about.json").write_bytes(content)
    with pytest.raises(RunError, match=r"about\.json"):
        zoo.shipped("three", folder)


@pytest.mark.parametrize("file", ["config.yaml", "best.safetensors"])
def test_other_files_are_refused_and_never_executed(folder, tmp_path, file):
    mark = tmp_path / "executed"
    path = folder / "three" / "seed-2" / file
    original = path.read_bytes()
    path.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    with pytest.raises(RunError, match="SHA-256"):
        zoo.load("three", folder=folder)
    path.write_bytes(pickle.dumps(Bang(mark)))
    with pytest.raises(RunError, match="SHA-256"):
        zoo.load("three", folder=folder)
    # Nor when whoever changed it has changed the digest as well.
    redigest(folder, file)
    with pytest.raises(RunError, match=r"cannot read|config\.yaml"):
        zoo.load("three", folder=folder)
    assert not mark.exists()
    path.unlink()
    with pytest.raises(RunError, match="cannot read"):
        zoo.load("three", folder=folder)
    zoo.load("three", 1, folder)


def redigest(folder, *names):
    """Make seed 2 know these files, as they are now, beside the others."""
    about = json.loads((folder / "three" / "about.json").read_text())
    for name in names:
        content = (folder / "three" / "seed-2" / name).read_bytes()
        about["seeds"]["2"]["files"][name] = hashlib.sha256(content).hexdigest()
    change(folder, seeds=about["seeds"])


def test_weights_without_a_digest_are_refused(folder):
    about = json.loads((folder / "three" / "about.json").read_text())
    del about["seeds"]["2"]["files"]["best.safetensors"]
    change(folder, seeds=about["seeds"])
    with pytest.raises(RunError, match=r"expected best\.safetensors, config\.yaml"):
        zoo.load("three", folder=folder)


def test_a_missing_card_is_named(folder):
    (folder / "three" / "card.md").unlink()
    with pytest.raises(RunError, match="model card"):
        _ = zoo.shipped("three", folder).card


YAML_ATTACKS = {
    "apply": "!!python/object/apply:os.system ['touch {mark}']",
    "new": "!!python/object/new:os.system ['touch {mark}']",
    "name": "environment: !!python/name:os.system\nalgorithm: menus\nseed: 0",
    "nested": "seed: 0\nalgorithm: menus\nenvironment: a\nhyperparameters: {{x: "
    "!!python/object/apply:os.system ['touch {mark}']}}",
    "deep": "[" * 5000,
    "list": "[1, 2]",
    "text": "seed",
    "types": "seed: zero\nalgorithm: menus\nenvironment: flexgym/Household-v0",
}


@pytest.mark.parametrize("attack", YAML_ATTACKS)
def test_yaml_that_is_more_than_values_is_refused(folder, tmp_path, attack):
    mark = tmp_path / "executed"
    path = folder / "three" / "seed-2" / "config.yaml"
    path.write_text(YAML_ATTACKS[attack].format(mark=mark))
    redigest(folder, "config.yaml")
    for read in (lambda: zoo.load("three", folder=folder), lambda: load_run(path.parent)):
        with pytest.raises(RunError, match=r"cannot read .*config\.yaml"):
            read()
    assert not mark.exists()


def test_every_environment_has_a_loader_and_every_loader_leads_somewhere():
    for name in ARENAS:
        assert set(arena_class(name).env_ids) <= set(LOADERS)
    for loader, *_ in (one for known in LOADERS.values() for one in known.values()):
        module, _, names = loader.partition(":")
        found = import_module(module)
        for part in names.split("."):
            found = getattr(found, part)
        assert callable(found)


def test_runs_of_unknown_environments_are_named(tmp_path):
    write_run(tmp_path / "run", 0, environment="os:system")
    with pytest.raises(RunError, match=r"os:system; expected one of flexgym/Household-v0"):
        load_run(tmp_path / "run")


def test_runs_of_a_folder_are_in_the_order_of_their_seeds(tmp_path):
    for seed in (10, 9, 0):
        write_run(tmp_path / "runs" / f"seed-{seed}", seed)
    found = list(runs_in(tmp_path / "runs"))
    assert [read_run(path)["seed"] for path in found] == [0, 9, 10]
    assert list(runs_in(found[1])) == [found[1]]
    shutil.rmtree(tmp_path / "runs")
    with pytest.raises(RunError, match="no run in"):
        list(runs_in(Path(tmp_path / "runs")))
