"""The registry of shipped policies: what it loads, and what it refuses."""

import hashlib
import json
import pickle
import sys
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import flexgym.policies
from flexgym.envs.errors import RunError
from flexgym.evaluate.benchmark.arena import ARENAS, arena_class
from flexgym.policies import zoo


class Bang:
    """Leaves a mark when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def numbers(path, options):
    """A loader: the tensor that the options name."""
    return load_file(path)[options["tensor"]]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "KINDS", {"numbers": "weights_reader:numbers"})
    monkeypatch.setitem(sys.modules, "weights_reader", SimpleNamespace(numbers=numbers))
    place = tmp_path / "weights" / "three"
    place.mkdir(parents=True)
    seeds = {}
    for seed in range(3):
        file = f"seed-{seed}.safetensors"
        save_file({"x": np.full(2, float(seed))}, place / file)
        digest = hashlib.sha256((place / file).read_bytes()).hexdigest()
        seeds[str(seed)] = {"file": file, "sha256": digest}
    about = {
        "schema": 1, "kind": "numbers", "settings": ["trader/*"], "options": {"tensor": "x"},
        "seeds": seeds, "best": 2,
    }  # fmt: skip
    (place / "about.json").write_text(json.dumps(about))
    (place / "card.md").write_text("# Three\n")
    return tmp_path / "weights"


def change(folder, **changes):
    path = folder / "three" / "about.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_policies_load_by_name_and_seed(folder):
    assert zoo.names(folder) == ("three",)
    np.testing.assert_array_equal(zoo.load("three", folder=folder), [2.0, 2.0])
    np.testing.assert_array_equal(zoo.load("three", 0, folder=folder), [0.0, 0.0])
    about = zoo.shipped("three", folder)
    assert about.card == "# Three\n"
    assert about.settings == ("trader/*",)


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


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"kind": "os:system"},
        {"best": 7},
        {"seeds": []},
        {"options": None},
        {"settings": None},
        {"seeds": {"2": {"file": "../../x.safetensors", "sha256": ""}}},
        {"seeds": {"2": {"file": "x.zip", "sha256": ""}}},
        {"seeds": {"2": {"file": "x.safetensors"}}},
    ],
)
def test_foreign_descriptions_are_refused(folder, changes):
    change(folder, **changes)
    with pytest.raises(RunError, match=r"about\.json"):
        zoo.load("three", folder=folder)


def test_a_description_that_is_no_json_is_refused(folder):
    (folder / "three" / "about.json").write_bytes(b"\xff{")
    with pytest.raises(RunError, match=r"about\.json"):
        zoo.shipped("three", folder)


def test_other_weights_are_refused_and_never_executed(folder, tmp_path):
    mark = tmp_path / "executed"
    (folder / "three" / "seed-2.safetensors").write_bytes(pickle.dumps(Bang(mark)))
    with pytest.raises(RunError, match="SHA-256"):
        zoo.load("three", folder=folder)
    assert not mark.exists()
    (folder / "three" / "seed-2.safetensors").unlink()
    with pytest.raises(RunError, match="cannot read"):
        zoo.load("three", folder=folder)
    (folder / "three" / "card.md").unlink()
    with pytest.raises(RunError, match="model card"):
        _ = zoo.shipped("three", folder).card


def test_loaders_lead_somewhere():
    loaders = [*zoo.KINDS.values()]
    for name in ARENAS:
        loaders += arena_class(name).loaders.values()
    for loader in loaders:
        module, _, names = loader.partition(":")
        found = import_module(module)
        for part in names.split("."):
            found = getattr(found, part)
        assert callable(found)
