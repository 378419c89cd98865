"""Test scores in the model cards of shipped policies, from the content of ``results.json``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flexgym.envs.errors import RunError
from flexgym.evaluate.benchmark.tables import ends, name_of, provenance, settings_of
from flexgym.evaluate.report import block_marks, update_block
from flexgym.policies import zoo

BLOCK = "score"
UNPLAYED = "Not played yet: `flexgym benchmark --cards` writes them here."
_HEADS = (
    "setting", "seeds", "score", "95 %", "IQM", "95 %", "violated", "strongest rule", "its score",
)  # fmt: skip


def card_scores(results: Mapping[str, Any], name: str) -> str:
    """A shipped policy's scores in every setting that it plays in, Markdown.

    Args:
        results: Content of ``results.json``.
        name: The policy.
    """
    lines = []
    for title, rows, _ in settings_of(results):
        found = {row["policy"]: row for row in rows}
        if name not in found:
            continue
        row, rule = found[name], found[title["strongest_rule"]]
        violated = f"{row['violated_percent']:.0f} %" if title["violation"] else ""
        entries = (
            name_of(title), str(row["seeds"]), f"{row['score']['mean']:.1f}", ends(row["score"]),
            f"{row['iqm']['mean']:.1f}", ends(row["iqm"]), violated, rule["policy"],
            f"{rule['score']['mean']:.1f}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(entries)} |")
    if not lines:
        return "It plays in no setting of this suite."
    head = [f"| {' | '.join(_HEADS)} |", "|---|" + "---:|" * 6 + "---|---:|"]
    return "\n".join([*head, *lines, "", provenance(results)])


def check_cards(folder: Path = zoo.WEIGHTS) -> None:
    """Make sure that every card has its block, before hours are spent.

    Raises:
        RunError: One has not.
    """
    for name in zoo.names(folder):
        block_marks(folder / name / zoo.CARD, BLOCK)


def update_cards(results: Mapping[str, Any], folder: Path = zoo.WEIGHTS) -> None:
    """Write scores into the cards of all shipped policies.

    Args:
        results: Content of ``results.json``.
        folder: Where the policies lie.

    Raises:
        RunError: A card cannot be written or lacks its block.
    """
    for name in zoo.names(folder):
        card = folder / name / zoo.CARD
        try:
            update_block(card, BLOCK, card_scores(results, name))
        except OSError as error:
            raise RunError(
                f"cannot write {card} ({error.strerror}); expected a folder of one's own. Run "
                "flexgym benchmark in a checkout."
            ) from error
