"""What is played: a setting for each environment and scenario, few episodes or many.

Settings that take longest stand first, so that the cores end together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatch

from flexgym.envs.errors import ScenarioError
from flexgym.evaluate.benchmark.arena import Setting

VALIDATION_SEED = 7_000_000
"""First seed of what policies are chosen on; training begins far behind, test seeds end here."""
_MARKET = {
    "aggregator": ("ordered", "loose", "free", "lattice", "three"),
    "directive": ("ordered", "loose", "free", "lattice"),
    "buses": ("three",),  # nobody is herded: the temperature does not matter
}
_SLOW = ("menus-aware", "menus-coordinated", "menus-coordinated-foresight")
"""Menus with prices of the grid take minutes a feeder-day; the full suite has them."""

SMALL = (
    Setting("feeder", "stress", 12, parts=12, without=_SLOW),
    Setting("operator", "stress", 3, parts=3),
    Setting("household", "car", 64, parts=4),
    Setting("household", "no-car", 256, parts=2),
    *(Setting(env, scenario, 1024) for env, known in _MARKET.items() for scenario in known),
    Setting("competition", "herding", 1024),
    Setting("local-market", "welfare", 128),
    Setting("local-market", "learner-uniform", 64),
    Setting("local-market", "learner-pay-as-bid", 64),
    *(Setting("appliance", jobs, 4096) for jobs in ("interruptible", "uninterruptible", "mixed")),
    Setting("trader", "evening", 8192),
)
_EPISODES = {"feeder": 24, "operator": 12, "household": 512, "local-market": 512}

FULL = tuple(
    replace(
        setting,
        episodes=_EPISODES.get(setting.environment, 4 * setting.episodes),
        parts={"feeder": 24, "operator": 12, "household": 16}.get(
            setting.environment, setting.parts
        ),
        without=(),
    )
    for setting in SMALL
)

SUITES: Mapping[str, Sequence[Setting]] = {"small": SMALL, "full": FULL}


def chosen(suite: str, only: Sequence[str] = ()) -> list[Setting]:
    """Settings of a suite.

    Args:
        suite: One of `SUITES`.
        only: Patterns of their names; empty is all.

    Raises:
        ScenarioError: Unknown suite, or a pattern that fits nothing.
    """
    if suite not in SUITES:
        raise ScenarioError(f"suite is {suite!r}; expected one of {', '.join(SUITES)}.")
    every = SUITES[suite]
    for pattern in only:
        if not any(fnmatch(setting.name, pattern) for setting in every):
            raise ScenarioError(
                f"got {pattern!r}; expected a pattern of "
                f"{', '.join(setting.name for setting in every)}."
            )
    return [s for s in every if not only or any(fnmatch(s.name, pattern) for pattern in only)]
