"""Weights of trained policies, read without executing anything that a file holds.

An SB3 ``.zip`` holds pickles, which run code when they are opened. Here only its tensors are
read, by torch's ``weights_only``, and its plain JSON; the networks are built anew. What is played
lies in a ``.safetensors`` file, whose header says how to build the network it fits.
"""

from __future__ import annotations

import ast
import io
import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from flexgym.envs.errors import RunError, ScenarioError

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.policies import BasePolicy


@dataclass(frozen=True)
class Algorithm:
    """How an algorithm is made with stable-baselines3.

    Attributes:
        learner: Its class in stable-baselines3.
        policy: ``module:class`` of its policy.
        title: What it is.
    """

    learner: str
    policy: str
    title: str


_NETWORKS = "flexgym.policies.learned_networks"
ALGORITHMS: Mapping[str, Algorithm] = {
    "ppo": Algorithm(
        "PPO", "stable_baselines3.common.policies:ActorCriticPolicy", "PPO, one network for all"
    ),
    "sac": Algorithm("SAC", "stable_baselines3.sac.policies:SACPolicy", "SAC"),
    "ippo": Algorithm("PPO", f"{_NETWORKS}:OwnNetworksPolicy", "PPO, a network for each house"),
    "mappo": Algorithm("PPO", f"{_NETWORKS}:CentralCriticPolicy", "PPO with a central critic"),
}
"""Algorithms that can be trained and played."""
_CRITICS = ("mlp_extractor.value_net", "value_net", "critic")
_KWARGS = ("net_arch", "log_std_init", "ortho_init", "n_critics", "houses", "own")
"""Arguments of policies that a file may set: numbers and lists of numbers."""
_MODULES = (
    *("policy", "policy.optimizer", "actor.optimizer", "critic.optimizer", "ent_coef_optimizer"),
    "pytorch_variables",
)
"""Files of tensors in a ``.zip`` of stable-baselines3."""
_LARGEST_BYTES = 2**28
_DAMAGED = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, EOFError),
    *(pickle.UnpicklingError, zipfile.BadZipFile, NotImplementedError, IndexError),
)


@dataclass(frozen=True)
class Checkpoint:
    """What can be read of an SB3 ``.zip`` without executing it.

    Attributes:
        parameters: State of each module and optimiser by its name.
        variables: Other tensors by name.
        facts: Its JSON; pickled entries stay text.
    """

    parameters: dict[str, dict]
    variables: dict[str, Any]
    facts: dict[str, Any]


def policy_class(algorithm: str) -> type[BasePolicy]:
    """Class of an algorithm's policy.

    Raises:
        RunError: Unknown algorithm.
    """
    if algorithm not in ALGORITHMS:
        raise RunError(
            f"got a policy of {algorithm!r}; expected one of {', '.join(ALGORITHMS)}. It was "
            "trained by something else."
        )
    module, _, name = ALGORITHMS[algorithm].policy.partition(":")
    return getattr(import_module(module), name)


def literal_kwargs(text: str) -> dict[str, Any]:
    """Read ``dict(key=literal, ...)`` without executing anything.

    Raises:
        ScenarioError: It is something else.
    """
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if not (isinstance(call, ast.Call) and getattr(call.func, "id", "") == "dict"):
            raise ValueError
        return {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (ValueError, SyntaxError):
        raise ScenarioError(
            f"policy_kwargs is {text!r}; expected 'dict(name=literal, ...)'."
        ) from None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read an SB3 ``.zip``; pickled objects in it are left alone.

    Raises:
        RunError: It is missing or damaged, or its tensors are not only tensors.
    """
    import torch

    if not path.is_file():
        raise RunError(f"got no checkpoint {path}; expected one written by flexgym train.")
    parameters: dict[str, dict] = {}
    variables: dict[str, Any] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            facts = json.loads(_content(archive, "data"))
            for name in sorted({f"{module}.pth" for module in _MODULES} & {*archive.namelist()}):
                content = io.BytesIO(_content(archive, name))
                tensors = torch.load(content, map_location="cpu", weights_only=True)
                if name == "pytorch_variables.pth":
                    variables = tensors or {}
                else:
                    parameters[name.removesuffix(".pth")] = tensors
        if not isinstance(facts, dict) or "policy" not in parameters:
            raise ValueError
    except _DAMAGED as error:
        raise RunError(
            f"cannot read the checkpoint {path} ({type(error).__name__}); expected a complete "
            "model of tensors, nothing to execute. Copy best.zip over last.zip, or train anew."
        ) from error
    return Checkpoint(parameters, variables, facts)


def _content(archive: zipfile.ZipFile, name: str) -> bytes:
    """A file of an archive, unless it would fill the memory."""
    if archive.getinfo(name).file_size > _LARGEST_BYTES:
        raise ValueError(f"{name} is larger than {_LARGEST_BYTES} bytes")
    return archive.read(name)


def restore(model: BaseAlgorithm, checkpoint: Checkpoint, path: Path) -> None:
    """Put a checkpoint into a model that was built with the same hyper-parameters.

    Args:
        model: New model.
        checkpoint: From `read_checkpoint`.
        path: For messages.

    Raises:
        RunError: It does not fit.
    """
    counts = ("num_timesteps", "_n_updates", "_episode_num", "_total_timesteps")
    try:
        model.set_parameters(cast(Any, checkpoint.parameters), exact_match=True, device="cpu")
        for name, tensor in checkpoint.variables.items():
            getattr(model, name).data = tensor.data.to(model.device)
        for name in counts:
            if name in checkpoint.facts and hasattr(model, name):
                setattr(model, name, int(checkpoint.facts[name]))
    except _DAMAGED as error:
        raise RunError(
            f"the checkpoint {path} does not fit its config.yaml ({type(error).__name__}); "
            "expected the two that flexgym train wrote together."
        ) from error


def write_policy(model: BaseAlgorithm, algorithm: str, path: Path) -> None:
    """Write what a policy needs to act, and how to build it, as ``.safetensors``."""
    from safetensors.torch import save_file

    policy = model.policy
    kwargs = {k: v for k, v in dict(model.policy_kwargs).items() if k in _KWARGS}
    about = {
        "algorithm": algorithm,
        "observation": json.dumps(list(cast(Any, policy.observation_space.shape))),
        "action": json.dumps(list(cast(Any, policy.action_space.shape))),
        "policy_kwargs": json.dumps(kwargs),
    }
    choices = getattr(policy.action_space, "n", None)
    if choices is not None:
        about["choices"] = str(int(choices))
    tensors = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in policy.state_dict().items()
        if not name.startswith(_CRITICS)
    }
    save_file(tensors, path, metadata=about)


def load_policy(path: Path, algorithm: str = "ppo") -> BasePolicy:
    """Build a policy from a file; nothing in the file is executed.

    Args:
        path: ``.safetensors`` of `write_policy`, or an SB3 ``.zip``.
        algorithm: Of a ``.zip``, which does not tell; see `ALGORITHMS`.

    Raises:
        RunError: The file is missing, damaged, or asks for more than numbers.
    """
    if path.suffix != ".safetensors":
        checkpoint = read_checkpoint(path)
        return _built(path, algorithm, checkpoint.facts, checkpoint.parameters["policy"])
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise RunError(f"got no policy {path}; expected one written by flexgym train.")
    try:
        with safe_open(path, framework="pt", device="cpu") as stream:
            about = dict(stream.metadata() or {})
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        algorithm = about["algorithm"]
        facts = {
            "observation_space": {"_shape": json.loads(about["observation"])},
            "action_space": {"_shape": json.loads(about["action"]), "n": about.get("choices")},
            "policy_kwargs": json.loads(about["policy_kwargs"]),
        }
    except (*_DAMAGED, SafetensorError) as error:
        raise RunError(
            f"cannot read the policy {path} ({type(error).__name__}); expected the file flexgym "
            "train wrote."
        ) from error
    return _built(path, algorithm, facts, tensors)


def _built(path: Path, algorithm: str, facts: dict, tensors: dict[str, Any]) -> BasePolicy:
    from gymnasium.spaces import Box, Discrete

    given = facts.get("policy_kwargs") or {}
    if not isinstance(given, dict) or ":serialized:" in given:
        raise RunError(
            f"{path} builds its network with pickled objects, which flexgym does not open; "
            "expected lists and numbers. If you trust it, load it with stable-baselines3 and pass "
            "the policy."
        )
    kwargs = {name: given[name] for name in _KWARGS if name in given}
    kind = policy_class(algorithm)
    try:
        finite = all(bool(tensor.isfinite().all()) for tensor in tensors.values())
        # Networks larger than what there is to fill them with are not even built.
        if _widest(kwargs) > max(tensor.numel() for tensor in tensors.values()):
            raise ValueError
        seen, done = (
            tuple(int(n) for n in facts[space]["_shape"])
            for space in ("observation_space", "action_space")
        )
        choices = facts["action_space"].get("n")
        acts = Box(-1.0, 1.0, done, np.float32) if choices is None else Discrete(int(choices))
        if prod((*seen, *done, int(choices or 1))) > 10_000_000:
            raise ValueError
        policy = kind(Box(-np.inf, np.inf, seen, np.float32), acts, _still, **kwargs)
        acting = {k: v for k, v in tensors.items() if not k.startswith(_CRITICS)}
        missing, unexpected = policy.load_state_dict(acting, strict=False)
        if unexpected or any(not name.startswith(_CRITICS) for name in missing):
            raise ValueError
    except (*_DAMAGED, AssertionError) as error:
        raise RunError(
            f"the tensors of {path} are no policy of {algorithm} ({type(error).__name__}); "
            "expected those flexgym train wrote."
        ) from error
    if not finite:
        raise RunError(f"{path} holds weights that are no finite numbers; train anew.")
    policy.set_training_mode(False)
    return policy


def _widest(given: Any) -> int:
    """The largest whole number in nested lists and mappings."""
    if isinstance(given, dict | list):
        return max(map(_widest, given.values() if isinstance(given, dict) else given), default=0)
    return given if isinstance(given, int) else 0


def _still(_: float) -> float:
    """A learning rate for policies that no longer learn."""
    return 0.0
