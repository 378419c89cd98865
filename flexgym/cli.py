"""The ``flexgym`` command: demo, train, ship, evaluate, benchmark, reproduce, describe, bench."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from threadpoolctl import threadpool_limits

from flexgym import __version__
from flexgym.envs.errors import FlexgymError

COMMANDS = {
    "demo": ("solve, train a minute, evaluate, draw", {None: "flexgym.train.demo"}),
    "train": (
        "train a policy",
        dict.fromkeys(
            (
                *("household", "feeder", "operator"),
                *("aggregator", "aggregators", "directive", "buses", "competition"),
                *("appliance", "trader", "local-market"),
            ),
            "flexgym.train.command",
        )
        | {"menus": "flexgym.train.menus"},
    ),
    "ship": (
        "make a policy that ships of the runs of several seeds",
        {None: "flexgym.train.ship"},
    ),
    "evaluate": (
        "score policies",
        {
            "household": "flexgym.evaluate.household",
            "feeder": "flexgym.evaluate.feeder",
            "privacy": "flexgym.evaluate.privacy",
            "market": "flexgym.evaluate.market",
            "appliance": "flexgym.evaluate.appliance",
            "trader": "flexgym.evaluate.trader",
            "local-market": "flexgym.evaluate.local_market",
        },
    ),
    "benchmark": (
        "play every policy in every environment; write the leaderboard",
        {None: "flexgym.evaluate.benchmark.command"},
    ),
    "reproduce": (
        "compute a paper's figures anew",
        {"ising": "flexgym.evaluate.reproduce"},
    ),
    "describe": (
        "show what a scenario is about",
        {
            "feeder": "flexgym.evaluate.describe",
            "forecasts": "flexgym.evaluate.forecasts",
        },
    ),
    "bench": (
        "measure speed as ratios",
        {
            "household": "flexgym.evaluate.bench.household",
            "grid": "flexgym.evaluate.bench.grid",
            "feeder": "flexgym.evaluate.bench.feeder",
            "clearing": "flexgym.evaluate.bench.clearing",
            "ising": "flexgym.evaluate.bench.ising",
            "market": "flexgym.evaluate.bench.market",
            "contracts": "flexgym.evaluate.bench.contracts",
            "training": "flexgym.train.bench",
            "menus": "flexgym.evaluate.bench.menus",
        },
    ),
}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line and exits with 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def _whole(name: str, low: int, high: int) -> Callable[[str], int]:
    """Reads a whole number from ``low`` to ``high``."""

    def read(text: str) -> int:
        with suppress(ValueError):
            if low <= int(text) <= high:
                return int(text)
        raise argparse.ArgumentTypeError(f"{name} is {text}; expected {low} to {high}")

    return read


def _parser() -> _Parser:
    shared = _Parser(add_help=False)
    shared.add_argument(
        "--seed", type=_whole("seed", 0, 2**32 - 1), default=0, help="seed (default 0)"
    )
    shared.add_argument("--out", type=Path, help="folder for what is written")
    shared.add_argument(
        "--threads", type=_whole("threads", 1, 1024), default=1, help="threads (default 1)"
    )
    parser = _Parser(prog="flexgym", description="Learning agents against the exact optimum.")
    parser.add_argument("--version", action="version", version=f"flexgym {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True, parser_class=_Parser)
    for name, (text, targets) in COMMANDS.items():
        if None in targets:
            leaf = commands.add_parser(name, help=text, description=text, parents=[shared])
            _attach(leaf, targets[None], None)
            continue
        group = commands.add_parser(name, help=text, description=text)
        leaves = group.add_subparsers(metavar="what", required=True, parser_class=_Parser)
        for target, module in targets.items():
            leaf = leaves.add_parser(target, help=f"{text}: {target}", parents=[shared])
            _attach(leaf, module, target)
    return parser


def _attach(parser: argparse.ArgumentParser, module: str, target: str | None) -> None:
    command = import_module(module)
    # A module that serves several targets asks the parser which.
    parser.set_defaults(execute=command.run, target=target)
    command.add_arguments(parser)


def _execute(given: Sequence[str]) -> int:
    try:
        chosen = _parser().parse_args(given)
    except SystemExit:
        _flush()  # of --help
        raise
    chosen.command = shlex.join(["flexgym", *given])
    # Small networks and matrices get slower, not faster, with more threads. The limit holds for
    # what is loaded, the variable for what is loaded later.
    threadpool_limits(chosen.threads)
    os.environ["OMP_NUM_THREADS"] = str(chosen.threads)
    code = int(chosen.execute(chosen))
    _flush()
    return code


def _flush() -> None:
    if sys.stdout is not None:  # it is where none is open
        sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (0 done, 2 bad input)."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        return _execute(given)
    except FlexgymError as error:
        print(f"flexgym: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        try:
            print(flush=True)
        except BrokenPipeError:
            # Whoever read has gone, such as head; python would complain when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return 141
        raise  # another pipe's
    except OSError as error:
        if error.filename is None:
            raise
        print(
            f"flexgym: error: cannot use {error.filename} ({error.strerror}); expected a path that "
            "can be read and written. Move what is there, or choose another path.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("flexgym: interrupted", file=sys.stderr)
        return 130
