"""What is kept on disk from run to run: which sources it came from, and files in one piece."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_DATA = (".py", ".csv", ".npz", ".json", ".yaml", ".yml")
_WEIGHTS = _ROOT / "policies" / "weights"


@cache
def sources_digest(*places: str) -> str:
    """SHA-256 of source and data files, part of the key of what they have computed.

    Weights of policies are left out: they have digests of their own.

    Args:
        *places: Files, and folders with all that is in them, below the package, such as
            ``"envs/feeder"``.

    Raises:
        FileNotFoundError: One of them is not there.
    """
    files: set[Path] = set()
    for place in map(_ROOT.joinpath, places):
        if place.is_dir():
            files |= {one for one in place.rglob("*") if one.suffix in _DATA}
        else:
            files.add(place)
    digest = hashlib.sha256()
    for path in sorted(files):
        if _WEIGHTS not in path.parents:
            digest.update(path.relative_to(_ROOT).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside ``path`` and move it there in one piece, as readable as others."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part{path.suffix}")
    try:
        write(part)
        usual = os.umask(0)
        os.umask(usual)
        part.chmod(0o666 & ~usual)  # safetensors keeps its files to the owner
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
