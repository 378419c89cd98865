"""Policies that somebody brings along: found by name, and the files they are made of."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import import_module, invalidate_caches
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from flexgym.envs.errors import FlexgymError, RunError

_SEARCHED: list[Path] = []
"""Folders of policies, in which python looks for modules since they were named."""


def attribute(source: str) -> Any:
    """What ``module:callable`` or ``file.py:callable`` names.

    Modules may be installed, or lie beside a file, or in the current folder.

    Raises:
        RunError: There is nothing, or what it imports lies there, but another of its name is found.
    """
    place, _, name = source.rpartition(":")
    try:
        return getattr(_module(place), name)
    except FlexgymError:
        raise
    except (Exception, SystemExit) as error:
        # A module of somebody else's may raise anything.
        raise RunError(
            f"got the policy {source} ({error}); expected module:callable or file.py:callable."
        ) from error


def made(given: Any) -> Any:
    """What a class or a function without arguments makes; anything else as it is."""
    if inspect.isclass(given):
        return given()
    if not callable(given) or hasattr(given, "predict"):
        return given
    try:
        inspect.signature(given).bind()
    except (TypeError, ValueError):
        return given
    return given()


def files_of(source: str, given: Any) -> list[Path]:
    """Source files: where a policy is named, where it is defined, and what these import.

    Only what is neither installed nor flexgym's own counts among the imports.

    Args:
        source: See `attribute`.
        given: What is there.

    Raises:
        OSError: One cannot be read.
        RunError: See `attribute`.
        TypeError: It is in no file.
    """
    place = source.rpartition(":")[0]
    modules = _module(place), sys.modules.get(getattr(given, "__module__", None) or "")
    found = [file for one in modules if (file := getattr(one, "__file__", None))]
    if not found:
        raise TypeError("it is in no file")
    files = list(map(Path, found))
    return list(dict.fromkeys([*files, *_imported(files, _folder(place))]))


def _folder(place: str) -> Path:
    """Where a policy's own modules lie."""
    return Path(place).resolve().parent if place.endswith(".py") else Path.cwd()


def _module(place: str) -> ModuleType:
    path, folder = Path(place).resolve(), _folder(place)
    # Behind what is installed: nobody's own file comes before a module that somebody else wants.
    if folder not in (Path(place).resolve() for place in sys.path):
        sys.path.append(str(folder))
        _SEARCHED.append(folder)
    invalidate_caches()
    if not place.endswith(".py"):
        for name in _with_packages([place]):
            _check_found(name, folder)
        _imported([path for path in _places(place) if path.is_file()], folder)
        return import_module(place)
    _imported([path], folder)  # what is in the way is named before anything runs
    name = f"flexgym_policy_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if name not in sys.modules:
        spec = spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is no module")
        module = module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _imported(files: Iterable[Path], folder: Path) -> list[Path]:
    """Files that these import, and what those import, in the order of their names.

    Raises:
        RunError: One of them lies in the policy's folder, but another of its name is found, or
            beside another policy alone.
    """
    waiting = list(files)
    seen = set(waiting)
    while waiting:
        new = set(_imports(waiting.pop(), folder)) - seen
        seen |= new
        waiting += new
    return sorted(seen)


def _imports(file: Path, folder: Path) -> Iterator[Path]:
    """Files of the modules, not installed, that a source file imports anywhere in it."""
    if file.suffix != ".py":
        return
    package: list[str] = []
    above = file.parent
    while (above / "__init__.py").is_file():
        package.insert(0, above.name)
        above = above.parent
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return  # whoever imports it hears of it
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            within = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*within, *filter(None, [node.module])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        # Looking for a module imports its package: none that is installed.
        for name in _with_packages(names):
            _check_found(name, folder)
            if any(map(_is_own, _places(name.partition(".")[0]))):
                for path in _places(name):
                    if path.is_file() and _is_own(path):
                        _check_place(path, name, folder)
                        yield path


def _check_place(path: Path, name: str, folder: Path) -> None:
    """Raise `RunError` where a module is found only because of another policy beside it."""
    others = [place for place in _SEARCHED if place != folder]
    if not any(map(path.is_relative_to, others)):
        return
    searched = [place for place in sys.path if Path(place).resolve() not in others]
    for finder in sys.meta_path:
        places = searched if finder is PathFinder else None
        if finder.find_spec(name.partition(".")[0], places) is not None:
            return
    raise RunError(
        f"{path}, imported as {name} from {folder}, lies beside another policy; expected it in "
        f"{folder}, or installed. Copy it there by another name, or install it."
    )


def _check_found(name: str, folder: Path) -> None:
    """Raise `RunError` where a module lies in a folder, and python finds another of its name.

    One of the same text is another, too: it may read what lies beside it.
    """
    if name.partition(".")[0] == "flexgym":
        return  # a checkout beside the policy is not what plays
    beside = folder.joinpath(*name.split("."))
    for there in (beside / "__init__.py", beside.parent / f"{beside.name}.py"):
        if not there.is_file():
            continue
        try:
            spec = find_spec(name)
        except (Exception, SystemExit):
            return  # a package of somebody else's fails; whoever imports it hears of it
        origin = Path(str(spec.origin)) if spec is not None and spec.has_location else None
        if origin is None or not origin.is_file() or not origin.samefile(there):
            within = spec.submodule_search_locations if spec is not None else None
            found = origin or next(iter(within or ()), "one of its own")
            raise RunError(
                f"{there} cannot be imported as {name}, for which python finds {found}; expected "
                "a name that no other module has. Rename it."
            )
        return


def _with_packages(names: Iterable[str]) -> list[str]:
    """Names of modules, and of the packages that importing them imports."""
    several = [name.split(".") for name in names]
    return [".".join(parts[: k + 1]) for parts in several for k in range(len(parts))]


def _places(name: str) -> list[Path]:
    """The file of a module, or the folders of a package without one; [] where it is none."""
    if name.partition(".")[0] == "flexgym":
        return []
    # What is imported by name need not be a module, nor must it be there.
    with suppress(Exception, SystemExit):
        spec = find_spec(name)
        if spec is not None and spec.has_location:
            return [Path(str(spec.origin))]
        return [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
    return []


def _is_own(path: Path) -> bool:
    if {"site-packages", "dist-packages"} & set(path.parts):
        return False
    paths = sysconfig.get_paths()
    installed = (paths[kind] for kind in ("stdlib", "platstdlib", "purelib", "platlib"))
    return not any(path.is_relative_to(place) for place in installed)
