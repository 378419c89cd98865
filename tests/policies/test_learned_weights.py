"""Weights are read without executing anything, and play as they were trained."""

import io
import json
import pickle
import zipfile

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC

from flexgym.envs.errors import RunError, ScenarioError
from flexgym.policies.learned_weights import (
    literal_kwargs,
    load_policy,
    read_checkpoint,
    restore,
    write_policy,
)


class Bounded(gym.Env):
    """Two numbers seen, one done."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), float(action[0]), False, True, {}


def model_of(algorithm, **options):
    if algorithm == "sac":
        return SAC("MlpPolicy", Bounded(), buffer_size=64, device="cpu", seed=3, **options)
    return PPO("MlpPolicy", Bounded(), n_steps=16, batch_size=16, device="cpu", seed=3, **options)


SEEN = np.random.default_rng(0).uniform(-1.0, 1.0, (50, 2)).astype(np.float32)


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
@pytest.mark.parametrize("net_arch", [[8], [8, 4], {"pi": [4], "vf": [8], "qf": [8]}])
def test_policies_play_from_both_files_as_from_the_model(tmp_path, algorithm, net_arch):
    model = model_of(algorithm, policy_kwargs={"net_arch": net_arch})
    model.learn(64)
    expected, _ = model.predict(SEEN, deterministic=True)
    model.save(tmp_path / "best.zip")
    write_policy(model, algorithm, tmp_path / "policy.safetensors")
    for file in ("best.zip", "policy.safetensors"):
        policy = load_policy(tmp_path / file, algorithm)
        np.testing.assert_array_equal(policy.predict(SEEN, deterministic=True)[0], expected)
    heavy, light = ((tmp_path / f).stat().st_size for f in ("best.zip", "policy.safetensors"))
    assert light < 0.5 * heavy


class Listed(Bounded):
    """The same with one of five things done."""

    action_space = gym.spaces.Discrete(5)

    def step(self, action):
        return self.observation_space.sample(), float(action), False, True, {}


def test_policies_that_choose_from_a_list_play_from_both_files(tmp_path):
    model = PPO("MlpPolicy", Listed(), n_steps=16, batch_size=16, device="cpu", seed=3)
    model.learn(64)
    expected, _ = model.predict(SEEN, deterministic=True)
    model.save(tmp_path / "best.zip")
    write_policy(model, "ppo", tmp_path / "policy.safetensors")
    for file in ("best.zip", "policy.safetensors"):
        policy = load_policy(tmp_path / file)
        assert policy.action_space == Listed.action_space
        np.testing.assert_array_equal(policy.predict(SEEN, deterministic=True)[0], expected)


@pytest.mark.parametrize("choices", ["4", "0", "many", "1000000000000"])
def test_lists_that_the_weights_do_not_fit_are_refused(tmp_path, choices):
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = tmp_path / "policy.safetensors"
    model = PPO("MlpPolicy", Listed(), n_steps=16, batch_size=16, device="cpu", seed=3)
    write_policy(model, "ppo", path)
    with safe_open(path, framework="pt") as stream:
        about = {**stream.metadata(), "choices": choices}
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata=about)
    with pytest.raises(RunError, match="no policy of ppo"):
        load_policy(path)


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_a_restored_model_learns_on_as_one_that_sb3_loads(tmp_path, algorithm):
    model = model_of(algorithm, policy_kwargs={"net_arch": [8]})
    model.learn(64)
    model.save(tmp_path / "last.zip")
    mine = model_of(algorithm, policy_kwargs={"net_arch": [8]})
    restore(mine, read_checkpoint(tmp_path / "last.zip"), tmp_path / "last.zip")
    theirs = type(model).load(tmp_path / "last.zip", device="cpu")
    assert mine.num_timesteps == theirs.num_timesteps == model.num_timesteps
    assert mine._n_updates == theirs._n_updates
    one, two = mine.get_parameters(), theirs.get_parameters()
    assert one.keys() == two.keys()
    for name in one:
        _same(one[name], two[name])
    if algorithm == "sac":
        torch.testing.assert_close(mine.log_ent_coef, theirs.log_ent_coef)


def _same(one, two):
    if isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, two, rtol=0.0, atol=0.0)
    elif isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            _same(one[key], two[key])
    elif isinstance(one, list):
        for a, b in zip(one, two, strict=True):
            _same(a, b)
    else:
        assert one == two


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).touch, (self.path,)


def _rewritten(source, target, **entries):
    """A copy of a zip with some entries replaced."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, entries.get(name, old.read(name)))


@pytest.fixture
def honest(tmp_path):
    model = model_of("ppo", policy_kwargs={"net_arch": [8]})
    model.save(tmp_path / "honest.zip")
    return tmp_path / "honest.zip"


def test_pickles_in_a_zip_are_never_opened(tmp_path, honest):
    import base64

    trap, target = tmp_path / "executed", tmp_path / "evil.zip"
    bad = base64.b64encode(pickle.dumps(Evil(trap))).decode()
    with zipfile.ZipFile(honest) as archive:
        facts = json.loads(archive.read("data"))
    for entry in facts.values():
        if isinstance(entry, dict) and ":serialized:" in entry:
            entry[":serialized:"] = bad
    facts["lr_schedule"] = {":type:": "x", ":serialized:": bad}
    _rewritten(honest, target, data=json.dumps(facts))
    # It is a trap for those who open it ...
    with pytest.raises(ValueError, match="NoneType"):
        PPO.load(target, device="cpu")
    assert trap.exists()
    trap.unlink()
    # ... and plays here, for its tensors are sound.
    expected, _ = load_policy(honest).predict(SEEN, deterministic=True)
    np.testing.assert_array_equal(
        load_policy(target).predict(SEEN, deterministic=True)[0], expected
    )
    assert not trap.exists()


@pytest.mark.parametrize("name", ["policy.pth", "pytorch_variables.pth", "policy.optimizer.pth"])
def test_pickles_among_tensors_are_refused(tmp_path, honest, name):
    trap, target = tmp_path / "executed", tmp_path / "evil.zip"
    content = io.BytesIO()
    torch.save({"weight": Evil(trap)}, content)
    _rewritten(honest, target, **{name: content.getvalue()})
    with pytest.raises(RunError, match="nothing to execute"):
        load_policy(target)
    assert not trap.exists()


def test_pickled_networks_are_refused(tmp_path, honest):
    target = tmp_path / "own.zip"
    with zipfile.ZipFile(honest) as archive:
        facts = json.loads(archive.read("data"))
    facts["policy_kwargs"] = {":type:": "<class 'dict'>", ":serialized:": "gASVAA=="}
    _rewritten(honest, target, data=json.dumps(facts))
    with pytest.raises(RunError, match="does not open"):
        load_policy(target)


def test_files_that_do_not_fit_are_named(tmp_path, honest):
    with pytest.raises(RunError, match="no policy of sac"):
        load_policy(honest, "sac")
    with pytest.raises(RunError, match="trained by something else"):
        load_policy(honest, "td3")
    model = model_of("ppo", policy_kwargs={"net_arch": [4]})
    with pytest.raises(RunError, match=r"does not fit its config\.yaml"):
        restore(model, read_checkpoint(honest), honest)
    light = tmp_path / "policy.safetensors"
    with pytest.raises(RunError, match="got no policy"):
        load_policy(light)
    write_policy(model, "ppo", light)
    whole = light.read_bytes()
    for broken in (b"", whole[:20], whole[:-8], whole.replace(b'"algorithm"', b'"algorythm"')):
        light.write_bytes(broken)
        with pytest.raises(RunError, match="cannot read the policy"):
            load_policy(light)
    light.write_bytes(whole.replace(b'net_arch\\": [4]', b'net_arch\\": [9]'))
    with pytest.raises(RunError, match="no policy of ppo"):
        load_policy(light)


def test_weights_that_are_no_numbers_and_networks_too_large_are_refused(tmp_path, honest):
    model = model_of("ppo", policy_kwargs={"net_arch": [8]})
    light = tmp_path / "policy.safetensors"
    with torch.no_grad():
        model.policy.action_net.weight.fill_(float("nan"))
    write_policy(model, "ppo", light)
    with pytest.raises(RunError, match="no finite numbers"):
        load_policy(light)
    with zipfile.ZipFile(honest) as archive:
        facts = json.loads(archive.read("data"))
    facts["policy_kwargs"] = {"net_arch": [50_000]}
    _rewritten(honest, tmp_path / "wide.zip", data=json.dumps(facts))
    with pytest.raises(RunError, match="no policy of ppo"):
        load_policy(tmp_path / "wide.zip")
    for content in ([1, 2], {"weight": 1.0}):
        torch.save(content, tmp_path / "policy.pth")
        target = tmp_path / "other.zip"
        _rewritten(honest, target, **{"policy.pth": (tmp_path / "policy.pth").read_bytes()})
        with pytest.raises(RunError, match="expected"):
            load_policy(target)


def test_what_fills_the_memory_is_not_read(tmp_path, honest, monkeypatch):
    from flexgym.policies import learned_weights

    with zipfile.ZipFile(honest, "a") as archive:
        archive.writestr("huge.pth", bytes(10_000))
    load_policy(honest)
    monkeypatch.setattr(learned_weights, "_LARGEST_BYTES", 100)
    with pytest.raises(RunError, match="cannot read the checkpoint"):
        load_policy(honest)


@pytest.mark.parametrize("text", ["__import__('os')", "dict(a=open('x'))", "dict(", "[1]", ""])
def test_policy_kwargs_are_literals(text):
    with pytest.raises(ScenarioError, match="policy_kwargs"):
        literal_kwargs(text)
    assert literal_kwargs("dict(net_arch=[4, 4], log_std_init=-1.0)") == {
        "net_arch": [4, 4],
        "log_std_init": -1.0,
    }
