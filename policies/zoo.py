"""Policies that ship with flexgym: ``flexgym.policies.load("household-menu")``.

Each lies in a folder of ``policies/weights`` with one safetensors file for every training seed, a
model card ``card.md``, and ``about.json``::

    {
      "schema": 1,
      "kind": key of KINDS,
      "settings": {environment/scenario patterns it is benchmarked in, a list},
      "options": {what its loader wants to know},
      "seeds": {"0": {"file": "seed-0.safetensors", "sha256": "..."}, ...},
      "best": 0
    }

``best`` is the seed chosen on validation days. Nothing in the files is executed: the kind names a
loader of this package, and safetensors hold numbers only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from flexgym.envs.errors import RunError

WEIGHTS = Path(__file__).parent / "weights"
SCHEMA = 1
KINDS: Mapping[str, str] = {}
"""Loader of each kind: ``module:function`` of the file's path and the options."""


@dataclass(frozen=True)
class Shipped:
    """What is known of a shipped policy.

    Attributes:
        name: Its name.
        folder: Where it lies.
        kind: Key of `KINDS`.
        settings: Patterns of the benchmark's settings it was trained for.
        options: For the loader.
        files: File of each training seed.
        digests: Their SHA-256.
        best: The seed chosen on validation days.
    """

    name: str
    folder: Path
    kind: str
    settings: tuple[str, ...]
    options: Mapping[str, Any]
    files: Mapping[int, Path]
    digests: Mapping[int, str]
    best: int

    @property
    def card(self) -> str:
        """Its model card, Markdown: data, seeds, command, score."""
        try:
            return (self.folder / "card.md").read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(
                f"cannot read {self.folder / 'card.md'} ({error}); expected the model card. "
                "Install flexgym anew."
            ) from error


def names(folder: Path = WEIGHTS) -> tuple[str, ...]:
    """Names of all policies in a folder, by default of those that ship."""
    return tuple(sorted(path.parent.name for path in folder.glob("*/about.json")))


def shipped(name: str, folder: Path = WEIGHTS) -> Shipped:
    """What is known of a policy.

    Args:
        name: One of `names`.
        folder: Where policies lie.

    Raises:
        RunError: Unknown name, or its description is damaged or of something else.
    """
    known = names(folder)
    if name not in known:
        there = ", ".join(known) or "none, for no policy ships"
        raise RunError(f"got the policy {name!r}; expected one of {there}.")
    path = folder / name / "about.json"
    try:
        about = json.loads(path.read_text())
        if about["schema"] != SCHEMA or about["kind"] not in KINDS:
            raise ValueError(f"schema {about['schema']}, kind {about['kind']}")
        files = {int(seed): str(one["file"]) for seed, one in about["seeds"].items()}
        digests = {int(seed): str(one["sha256"]) for seed, one in about["seeds"].items()}
        outside = [f for f in files.values() if Path(f).name != f or not f.endswith(".safetensors")]
        if outside or about["best"] not in files or not isinstance(about["options"], dict):
            raise ValueError(f"files {', '.join(files.values())}, best {about['best']}")
        patterns = tuple(str(pattern) for pattern in about["settings"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(
            f"cannot read {path} ({type(error).__name__}: {error}); expected the description of a "
            f"policy of schema {SCHEMA}, of a kind of {', '.join(KINDS) or 'none'}."
        ) from error
    there = {seed: folder / name / file for seed, file in files.items()}
    return Shipped(
        name, folder / name, about["kind"], patterns, about["options"], there, digests,
        about["best"],
    )  # fmt: skip


def load(name: str, seed: int | None = None, folder: Path = WEIGHTS) -> Any:
    """A shipped policy, ready to play; what it is called on, its environment's protocol says.

    Args:
        name: One of `names`.
        seed: Training seed; None is the one chosen on validation days.
        folder: Where policies lie.

    Raises:
        RunError: Unknown name or seed, or a file is missing, damaged or of something else.
    """
    about = shipped(name, folder)
    chosen = about.best if seed is None else seed
    if chosen not in about.files:
        raise RunError(
            f"got seed {seed} of {name}; expected one of {', '.join(map(str, about.files))}."
        )
    path = about.files[chosen]
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RunError(
            f"cannot read {path} ({error.strerror}); expected the weights of {name}. Install "
            "flexgym anew."
        ) from error
    if found != about.digests[chosen]:
        raise RunError(
            f"{path} has the SHA-256 {found[:16]}...; expected {about.digests[chosen][:16]}... of "
            "about.json. It is damaged or another file: install flexgym anew."
        )
    module, _, function = KINDS[about.kind].partition(":")
    loader = import_module(module)
    for part in function.split("."):
        loader = getattr(loader, part)
    return loader(path, about.options)  # type: ignore[operator]
