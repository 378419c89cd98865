"""Policies that ship with flexgym: ``flexgym.policies.load("household-menu")``.

Each lies in a folder of ``policies/weights``: light run folders, one for each training seed, which
``flexgym ship`` takes from those of ``flexgym train``::

    household-menu/
      about.json     settings of the benchmark, the best seed, validation scores, digests
      card.md        model card
      seed-0/        config.yaml and the weights, safetensors
      seed-1/        ...

``about.json`` holds::

    {
      "schema": 1,
      "settings": [patterns of the benchmark's settings it plays in, such as "household/*"],
      "best": the seed chosen on validation episodes,
      "seeds": {"0": {"score": on validation episodes, "files": {name: SHA-256, ...}}, ...}
    }

Nothing in the files is executed: YAML is read as plain values, safetensors hold numbers only, and
`flexgym.policies.runs` knows what plays them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from flexgym.envs.errors import RunError
from flexgym.policies.runs import CONFIG, load_run, read_run, weights_file

WEIGHTS = Path(__file__).parent / "weights"
ABOUT, CARD = "about.json", "card.md"
SCHEMA = 1
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ShippedSeed:
    """What is known of one training seed.

    Attributes:
        folder: A light run folder.
        score: On validation episodes.
        digests: SHA-256 of its files by name.
    """

    folder: Path
    score: float
    digests: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Of all its files together."""
        lines = "".join(f"{name} {self.digests[name]}\n" for name in sorted(self.digests))
        return hashlib.sha256(lines.encode()).hexdigest()

    def check(self) -> None:
        """Compare its files with their digests.

        Raises:
            RunError: A file is missing, damaged or another one, or not of those that count.
        """
        for name, digest in self.digests.items():
            path = self.folder / name
            found = sha256(path)
            if found != digest:
                raise RunError(
                    f"{path} has the SHA-256 {found[:16]}...; expected {digest[:16]}... of "
                    f"{ABOUT}. It is damaged or another file: install flexgym anew."
                )
        wanted = (
            {CONFIG, weights_file(read_run(self.folder))} if CONFIG in self.digests else {CONFIG}
        )
        if not wanted <= set(self.digests):
            raise RunError(
                f"{self.folder.parent / ABOUT} knows {', '.join(self.digests) or 'nothing'} of "
                f"{self.folder.name}; expected {', '.join(sorted(wanted))}. Install flexgym anew."
            )


@dataclass(frozen=True)
class Shipped:
    """What is known of a shipped policy.

    Attributes:
        name: Its name.
        folder: Where it lies.
        settings: Patterns of the benchmark's settings that it plays in.
        best: The seed chosen on validation episodes.
        seeds: Its training seeds.
    """

    name: str
    folder: Path
    settings: tuple[str, ...]
    best: int
    seeds: Mapping[int, ShippedSeed]

    def plays(self, setting: str) -> bool:
        """Whether it plays in a setting of the benchmark, such as ``"household/car"``."""
        return any(fnmatch(setting, pattern) for pattern in self.settings)

    @property
    def card(self) -> str:
        """Its model card, Markdown: data, seeds, command, score."""
        try:
            return (self.folder / CARD).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(
                f"cannot read {self.folder / CARD} ({error}); expected the model card. "
                "Install flexgym anew."
            ) from error


def sha256(path: Path) -> str:
    """Digest of a file.

    Raises:
        RunError: It cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RunError(
            f"cannot read {path} ({error.strerror}); expected a file of a shipped policy. Install "
            "flexgym anew."
        ) from error


def names(folder: Path = WEIGHTS) -> tuple[str, ...]:
    """Names of all policies in a folder, by default of those that ship."""
    return tuple(sorted(path.parent.name for path in folder.glob(f"*/{ABOUT}")))


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
    path = folder / name / ABOUT
    try:
        about = json.loads(path.read_text())
        if about["schema"] != SCHEMA or not isinstance(about["settings"], list):
            raise ValueError(f"schema {about['schema']}, settings {about['settings']}")
        seeds = {
            int(seed): ShippedSeed(
                folder / name / f"seed-{int(seed)}", float(one["score"]), _digests(one["files"])
            )
            for seed, one in about["seeds"].items()
        }
        if about["best"] not in seeds:
            raise ValueError(f"seeds {', '.join(map(str, seeds))}, best {about['best']}")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RunError(
            f"cannot read {path} ({type(error).__name__}: {error}); expected the description of a "
            f"policy, schema {SCHEMA}. Install flexgym anew."
        ) from error
    return Shipped(name, folder / name, tuple(map(str, about["settings"])), about["best"], seeds)


def _digests(files: Mapping[str, Any]) -> dict[str, str]:
    """Names and digests, where they are such."""
    for file, digest in files.items():
        if Path(file).name != file or not _DIGEST.fullmatch(digest):
            raise ValueError(f"file {file}, digest {digest}")
    return dict(files)


def load(name: str, seed: int | None = None, folder: str | Path = WEIGHTS) -> Any:
    """A shipped policy, ready to play; what it is called on, its environment's protocol says.

    Args:
        name: One of `names`.
        seed: Training seed; None is the one chosen on validation episodes.
        folder: Where policies lie.

    Raises:
        RunError: Unknown name or seed, or a file is missing, damaged or of something else.
    """
    about = shipped(name, Path(folder))
    chosen = about.best if seed is None else seed
    if chosen not in about.seeds:
        raise RunError(
            f"got seed {seed} of {name}; expected one of {', '.join(map(str, about.seeds))}."
        )
    about.seeds[chosen].check()
    found = load_run(about.seeds[chosen].folder)
    found.name = name
    return found
