"""Who takes part: rules and references, shipped policies, run folders, and one's own code.

An `Entry` says in plain values who plays, so that any process can make the policy of it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from flexgym.envs.errors import FlexgymError, RunError
from flexgym.evaluate.benchmark import own_code
from flexgym.evaluate.benchmark.arena import Arena, Kind, Setting, cars_known, option
from flexgym.policies import zoo
from flexgym.policies.runs import load_run, read_run, runs_in


@dataclass(frozen=True)
class Entry:
    """A policy with one seed.

    Attributes:
        policy: Its name in tables; those that differ in the seed alone share it.
        kind: See `flexgym.evaluate.benchmark.arena.Kind`.
        seed: Of training, or of what a rule draws.
        origin: What ``source`` is.
        source: Name of a contender, a run folder, or ``module:callable``.
        digest: Of its weights or source file; "" where nothing of that kind exists.
    """

    policy: str
    kind: Kind
    seed: int
    origin: Literal["contender", "run", "code"]
    source: str
    digest: str = ""


@dataclass(frozen=True)
class Team:
    """Who takes part in a setting, and what its arena says of itself.

    Attributes:
        setting: What is played.
        entries: Everybody, the references included.
        episode: What an episode is.
        violation: What is violated and its unit.
        zero: Name of the policy that scores 0.
        best: Name of the one that scores 100.
    """

    setting: Setting
    entries: tuple[Entry, ...]
    episode: str
    violation: str
    zero: str
    best: str


def team_of(
    setting: Setting,
    arena: Arena,
    runs: Sequence[Entry] = (),
    code: Sequence[tuple[str, Entry]] = (),
    shipped: Sequence[tuple[str, Entry]] = (),
) -> Team:
    """Everybody who takes part in a setting.

    Args:
        setting: What is played.
        arena: Its arena.
        runs: From `run_entries`.
        code: Patterns of settings, and who plays there; from `code_entries`.
        shipped: Likewise; from `shipped_entries`.

    Raises:
        RunError: Two policies share a name.
    """
    contenders = [
        Entry(name, contender.kind, seed, "contender", name)
        for name, contender in arena.contenders.items()
        if name not in setting.without
        for seed in contender.seeds
    ]
    # A policy that fits several patterns plays once.
    theirs, own = (
        list(dict.fromkeys(one for pattern, one in given if fnmatch(setting.name, pattern)))
        for given in (shipped, code)
    )
    runs = [one for one in runs if _trained_for(one, setting, arena)]
    for one, other in combinations(runs, 2):
        if (one.policy, one.seed) == (other.policy, other.seed):
            raise RunError(
                f"{one.source} and {other.source} are both {one.policy} with seed {one.seed} in "
                f"{setting.name}; expected different ones. Name them apart: --run NAME=FOLDER."
            )
    entries: list[Entry] = []
    for several in (contenders, theirs, runs, own):
        twice = {one.policy for one in several} & {one.policy for one in entries}
        if twice:
            raise RunError(
                f"two policies of {setting.name} are called {', '.join(sorted(twice))}; expected "
                "a name of its own for each. Name a run --run NAME=FOLDER, or rename the callable."
            )
        entries += several
    for one, other in combinations(own, 2):
        if one.policy == other.policy:
            raise RunError(
                f"{one.source} and {other.source} are both called {one.policy} in {setting.name}; "
                "expected callables with names of their own."
            )
    return Team(setting, tuple(entries), arena.episode, arena.violation, arena.zero, arena.best)


def policy_of(entry: Entry, arena: Arena) -> Any:
    """The policy; for contenders that the arena plays itself, their name.

    Raises:
        RunError: It is missing, damaged or of another kind, or cannot be made.
    """
    if entry.origin == "contender":
        make = arena.contenders[entry.source].make
        return entry.source if make is None else make(entry.seed)
    if entry.origin == "run":
        return load_run(entry.source)
    attribute, digest = _code(entry.source)
    if digest != entry.digest:
        raise RunError(
            f"the policy {entry.source} has changed since the benchmark began; expected what was "
            "there. Run the command again."
        )
    try:
        given = own_code.made(attribute)
    except FlexgymError:
        raise
    except Exception as error:
        # Whatever somebody else's code raises, it is no policy.
        raise RunError(
            f"the policy {entry.source} cannot be made ({error!r}); expected a function of "
            "observations, or something with predict, made without arguments."
        ) from error
    whole = hasattr(given, "begin") and (hasattr(given, "act") or hasattr(given, "orders"))
    return given if whole else arena.observed(given, entry.policy)


def shipped_entries(folder: Path = zoo.WEIGHTS) -> list[tuple[str, Entry]]:
    """Shipped policies, each once for every training seed and pattern of settings.

    Args:
        folder: Where they lie.

    Raises:
        RunError: A file is missing, damaged or another one.
    """
    found = []
    for name in zoo.names(folder):
        about = zoo.shipped(name, folder)
        for seed, one in about.seeds.items():
            one.check()
            entry = Entry(name, "learned", seed, "run", str(one.folder), one.digest)
            found += [(pattern, entry) for pattern in about.settings]
    return found


def run_entries(sources: Sequence[str]) -> list[Entry]:
    """Runs of folders, ``[NAME=]FOLDER`` each; a folder of runs is all that lie in it.

    The name is that of the algorithm, or of its recipe, unless one is given.

    Raises:
        RunError: A folder holds no run, or two runs share name, seed and world.
    """
    found: dict[tuple[str, str, int], Entry] = {}
    for source in sources:
        name, named, place = source.partition("=")
        if not named or Path(source).is_dir():
            name, place = "", source
        for folder in runs_in(Path(place)):
            config = read_run(folder)
            recipe = str(config.get("recipe") or "")
            label = _tabled(name or f"{recipe} {config['algorithm']}".strip())
            world = f"{config['environment']} {option(config, 'scenario')} {cars_known(config)}"
            key = label, world, config["seed"]
            where = str(folder.resolve())
            if key in found and found[key].source != where:
                raise RunError(
                    f"{folder} and {found[key].source} are both {label} with seed {key[2]}; "
                    "expected different seeds. Name them apart: --run NAME=FOLDER."
                )
            digest = _digest(_weights(folder))
            found[key] = Entry(label, "learned", key[2], "run", where, digest)
    return list(found.values())


def code_entries(sources: Sequence[str]) -> list[tuple[str, Entry]]:
    """Own policies, ``[PATTERN=]module:callable`` or ``[PATTERN=]file.py:callable`` each.

    What they are made of is their source file, the files it imports that are not installed, and
    every file that their attribute ``files`` names, relative to it.

    Raises:
        RunError: It cannot be imported, or one of its files cannot be read, or no table can hold
            its name.
    """
    places = []
    for source in sources:
        pattern, patterned, place = source.partition("=")
        if not patterned or Path(source.rpartition(":")[0]).is_file():
            pattern, place = "", source
        name = _tabled(place.rpartition(":")[2])
        own_code.attribute(place)
        places.append((pattern or "*", name, place))
    # Once all are named, each is looked at beside all others, as it is when it plays.
    return [
        (pattern, Entry(name, "own", 0, "code", place, _code(place)[1]))
        for pattern, name, place in places
    ]


def _code(place: str) -> tuple[Any, str]:
    """What is in somebody else's file, and the digest of all it is made of.

    Raises:
        RunError: See `code_entries`.
    """
    attribute = own_code.attribute(place)
    try:
        made_of = own_code.files_of(place, attribute)
        listed = getattr(attribute, "files", ())
        if isinstance(listed, str | Iterator):
            raise TypeError(f"files is {listed!r}")
        listed = sorted(made_of[0].parent / one for one in listed)
        return attribute, _digest([*made_of, *listed])
    except (OSError, TypeError, ImportError) as error:
        raise RunError(
            f"the policy {place} has files that cannot be read ({error}); expected a list of "
            "paths, relative to its own."
        ) from error


def _tabled(name: str) -> str:
    """A name, if tables in Markdown can hold it.

    Raises:
        RunError: They cannot.
    """
    if not name.isprintable() or re.search(r"[|<>`*\\]", name):
        raise RunError(
            f"got the name {name!r}; expected one that a table can hold, without | < > ` * and \\."
        )
    return name


def _trained_for(entry: Entry, setting: Setting, arena: Arena) -> bool:
    config = read_run(entry.source)
    return config["environment"] in arena.env_ids and arena.fits(setting, config)


def _weights(folder: Path) -> list[Path]:
    """What a run's policy is made of."""
    kept = [folder / "config.yaml", folder / "best.zip", *sorted(folder.glob("*.safetensors"))]
    return [path for path in kept if path.is_file()]


def _digest(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
