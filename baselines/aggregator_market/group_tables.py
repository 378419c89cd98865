"""Solved days that ship with the package: tables, their exact values, tuned linear rules.

``python -m flexgym.baselines.aggregator_market.group_tables`` makes them anew, about ten minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

from flexgym.baselines.aggregator_market.group_certificate import exact_group_value
from flexgym.baselines.aggregator_market.group_problem import GroupProblem
from flexgym.baselines.aggregator_market.group_program import GroupProgram, group_program
from flexgym.baselines.aggregator_market.group_rule import exact_rule_value
from flexgym.baselines.aggregator_market.linear_rule import LinearRule, tuned_linear_rule
from flexgym.envs.aggregator_market.params import Day, Group, Herding, Tariffs
from flexgym.envs.data.case33_day import case33_day
from flexgym.envs.kept import replace_file, sources_digest

FOLDER = Path(__file__).parent / "tables"
CERTIFIED = 67
"""Customers of the certified group; the exact program of all 289 would need 20 times the memory."""
TEMPERATURES = (3.2, 4.4, 5.2)


@dataclass(frozen=True, eq=False)
class GroupReference:
    """The reference of a group's day.

    Attributes:
        program: Best quotes or directives on a grid.
        linear: Tuned linear rule.
        policy_eur: What playing ``program`` is worth exactly, EUR; NaN where it is not known.
        linear_eur: Likewise of ``linear``.
        optimum_eur: What no policy exceeds, EUR; NaN where the exact program was not solved.
    """

    program: GroupProgram
    linear: LinearRule
    policy_eur: float
    linear_eur: float
    optimum_eur: float

    @property
    def shortfall_eur(self) -> float:
        """What ``program`` is worth less than the optimum, EUR."""
        return self.optimum_eur - self.policy_eur


def group_reference(problem: GroupProblem) -> GroupReference:
    """The shipped reference of a day, or one solved now in seconds, without certificate.

    All payments grow with the group's share of the load, so a reference serves every share.

    Args:
        problem: The day and who acts.
    """
    stored = _certificates().get(_name(problem))
    if stored is None:
        program = group_program(*_parts(problem), role=problem.role)
        linear = _tuned(problem)
        return GroupReference(program, linear, math.nan, math.nan, math.nan)
    scale = problem.group.share / stored["share"]
    program = GroupProgram.load(FOLDER / f"{_name(problem)}.npz")
    w0, w1, w2, w3 = stored["linear_weights"]
    return GroupReference(
        replace(program, value_eur=scale * program.value_eur),
        LinearRule.of(problem, (w0, w1, w2, w3)),
        *(scale * _number(stored[name]) for name in ("policy_eur", "linear_eur", "optimum_eur")),
    )


def ships(problem: GroupProblem) -> bool:
    """Whether the reference of a day comes with the package."""
    return _name(problem) in _certificates()


def kept_program(
    problem: GroupProblem, folder: Path | None = None, points: int = 141
) -> GroupProgram:
    """The table of a day that does not ship, solved once and kept.

    Args:
        problem: The day and who acts.
        folder: Where tables are kept and looked up; None keeps none.
        points: Grid of what is owed.
    """
    made_by = sources_digest("baselines/aggregator_market", "envs/aggregator_market", "envs/ising")
    name = f"{_name(problem)}-{problem.group.share:.9f}-{points}-{made_by[:12]}.npz"
    path = folder and folder / name
    if path and path.is_file():
        # What cannot be read is solved anew.
        with suppress(OSError, ValueError, KeyError, EOFError, BadZipFile):
            return GroupProgram.load(path)
    program = group_program(*_parts(problem), role=problem.role, points=points)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, program.save)
    return program


def linear_rule(problem: GroupProblem) -> LinearRule:
    """The linear rule that was tuned for `CERTIFIED` customers, or one tuned now.

    Its inputs are means, so weights serve groups of other sizes.

    Args:
        problem: The day and who acts.
    """
    certified = replace(problem, group=Group(CERTIFIED, problem.group.share))
    if not ships(certified):
        return _tuned(problem)
    w0, w1, w2, w3 = _certificates()[_name(certified)]["linear_weights"]
    return LinearRule.of(problem, (w0, w1, w2, w3))


def shipped_problems() -> list[GroupProblem]:
    """Days whose reference ships: 67 customers, certified, and all 289."""
    source = case33_day()
    day = Day(tuple(source.source_percent.tolist()), tuple(source.rtem_eur_per_mwh.tolist()))
    everyone = int(source.customers.sum())
    return [
        GroupProblem(day, Herding(temperature=T), Tariffs(), Group(n, n / everyone), role)
        for n in (CERTIFIED, everyone)
        for role in ("aggregator", "directive")
        for T in TEMPERATURES
    ]


def _certificates() -> dict[str, dict]:
    return json.loads((FOLDER / "certificates.json").read_text())


def _number(stored: float | None) -> float:
    return math.nan if stored is None else float(stored)


def _parts(problem: GroupProblem) -> tuple[Day, Herding, Tariffs, Group]:
    return problem.day, problem.herding, problem.tariffs, problem.group


def _name(problem: GroupProblem) -> str:
    """Who acts, how many answer, and a digest of all that decides what is best."""
    data = [asdict(part) for part in _parts(problem)[:3]]
    text = json.dumps(data, sort_keys=True, default=float)
    # 3 and 3.0 are the same parameter.
    same = json.dumps(json.loads(text, parse_int=float), sort_keys=True)
    digest = hashlib.sha256(same.encode()).hexdigest()[:12]
    return f"{problem.role}-{problem.group.customers}-{digest}"


def _tuned(problem: GroupProblem, evaluations: int = 150) -> LinearRule:
    """Tuned on few customers where there are many: its inputs are means, so it carries over."""
    few = Group(min(problem.group.customers, CERTIFIED), problem.group.share)
    weights = tuned_linear_rule(replace(problem, group=few), evaluations=evaluations).weights
    return LinearRule.of(problem, weights)


def _solve(problem: GroupProblem) -> dict:
    """Write the table of a day and return its certificate."""
    certified = problem.group.customers <= CERTIFIED
    program = group_program(*_parts(problem), role=problem.role, points=281 if certified else 71)
    program.save(FOLDER / f"{_name(problem)}.npz")
    linear = _tuned(problem, 300)
    return {
        "temperature": problem.herding.temperature,
        "share": problem.group.share,
        "table_eur": program.value_eur,
        "policy_eur": exact_rule_value(problem, program.act).value_eur if certified else None,
        "optimum_eur": exact_group_value(problem) if certified else None,
        "linear_weights": list(linear.weights),
        "linear_eur": exact_rule_value(problem, linear).value_eur if certified else None,
    }


def main(argv: list[str] | None = None) -> None:
    """Solve every shipped day."""
    parser = argparse.ArgumentParser(
        prog="python -m flexgym.baselines.aggregator_market.group_tables",
        description="Solve the market's shipped days again and write their tables.",
    )
    parser.parse_args(argv)
    FOLDER.mkdir(exist_ok=True)
    certificates = {}
    for problem in shipped_problems():
        certificates[_name(problem)] = _solve(problem)
        print(_name(problem), certificates[_name(problem)], flush=True)
        text = json.dumps(certificates, indent=1, sort_keys=True)
        (FOLDER / "certificates.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
