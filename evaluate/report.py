"""Results on disk and in the terminal: one JSON file from which everything else is made."""

from __future__ import annotations

import csv
import json
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from flexgym.envs.errors import RunError

SCHEMA = 1
_PACKAGES = ("numpy", "numba", "scipy", "highspy", "gymnasium", "stable-baselines3", "torch")


def provenance() -> dict[str, Any]:
    """Today (UTC), versions of what runs here, commit of the checkout (None outside of one)."""
    import flexgym

    versions = {"flexgym": flexgym.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    today = datetime.now(UTC).date().isoformat()
    return {"date": today, "versions": versions, "git": _commit()}


def _commit() -> str | None:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()

    try:
        # An installed copy may lie inside somebody else's repository.
        if "evaluate/report.py" not in git("ls-files", "--full-name", Path(__file__).name):
            return None
        dirty = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if dirty else "")
    except (OSError, subprocess.SubprocessError):
        return None


def output_folder(path: str | Path) -> Path:
    """Create a folder for results.

    Raises:
        RunError: It cannot be created.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot create the folder {folder} ({error.strerror}).") from error
    return folder


def write_results(
    folder: Path,
    *,
    command: str | None,
    seed: int,
    environment: str,
    scenario: dict[str, Any],
    rows: list[dict[str, Any]],
    **more: Any,
) -> dict[str, Any]:
    """Write ``results.json`` and a tidy ``results.csv``; return what was written.

    Args:
        folder: Where to.
        command: The command line, or None.
        seed: Its seed.
        environment: Id of the environment.
        scenario: What was played.
        rows: One a policy or figure; nested intervals become columns ``x_low`` and so on.
        **more: Further entries.
    """
    results = {
        "schema": SCHEMA,
        "command": command,
        **provenance(),
        "seed": seed,
        "environment": environment,
        "scenario": scenario,
        **more,
        "rows": rows,
    }
    (folder / "results.json").write_text(json.dumps(results, indent=2, allow_nan=False) + "\n")
    flat = [_flat(row) for row in rows]
    write_csv(folder / "results.csv", flat)
    return results


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            for inner, number in value.items():
                out[key if inner == "mean" else f"{key}_{inner}"] = number
        else:
            out[key] = value
    return out


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows that share their keys; keys that some lack stay empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)


def print_scores(results: dict[str, Any]) -> None:
    """Print the table of policies from the content of ``results.json``."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=results["scenario"]["title"], title_justify="left")
    table.add_column("policy")
    for column in ("EUR/day", "score", "95 % interval"):
        table.add_column(column, justify="right")
    for row in results["rows"]:
        bound = row.get("kind") == "bound"
        cost, reached = row["cost_eur"], row["score"]
        table.add_row(
            row["policy"] + (" (bound, no policy)" if bound else ""),
            f"{cost['mean']:.3f}",
            f"{reached['mean']:.1f}",
            f"[{reached['low']:.1f}, {reached['high']:.1f}]".replace("[", "\\["),
            style="dim" if bound else None,
        )
    Console(soft_wrap=True).print(table)


def markdown_table(results: dict[str, Any]) -> str:
    """The table of policies in Markdown, from the content of ``results.json``."""
    scenario = results["scenario"]
    lines = [
        "| policy | EUR/day | score | 95 % interval |",
        "|---|---:|---:|---:|",
    ]
    for row in results["rows"]:
        bound = " (bound, no policy)" if row.get("kind") == "bound" else ""
        cost, reached = row["cost_eur"], row["score"]
        lines.append(
            f"| {row['policy']}{bound} | {cost['mean']:.3f} | {reached['mean']:.1f} | "
            f"{reached['low']:.1f} to {reached['high']:.1f} |"
        )
    lines += [
        "",
        f"{scenario['house_days']} {scenario['split']} house-days "
        f"({scenario['houses']} houses, {scenario['days']} days). The optimum is certified within "
        f"{results['certified_gap_eur']:.1e} EUR a day and "
        f"{results['certified_gap_percent']:.2f} % of "
        "the value of flexibility, or better.",
    ]
    return "\n".join(lines)


def block_marks(document: Path, name: str) -> tuple[str, str, str]:
    """Content of a document and the marks of a block in it.

    Raises:
        RunError: The document cannot be read or lacks the marks.
    """
    try:
        content = document.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"cannot read the document {document}.") from error
    first, last = f"<!-- {name} -->\n", f"\n<!-- end {name} -->"
    if content.count(first) != 1 or content.count(last) != 1:
        raise RunError(f"{document} lacks the marks {first.strip()} ... {last.strip()}.")
    return content, first, last


def update_block(document: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- end name -->`` in a document.

    Raises:
        RunError: The document cannot be read or lacks the marks.
    """
    content, first, last = block_marks(document, name)
    begin = content.index(first) + len(first)
    # An empty block's marks share their line break.
    end = content.index(last, begin - 1)
    document.write_text(content[:begin] + text + content[end:])


def made_with(results: Mapping[str, Any]) -> str:
    """When the numbers of a ``results.json`` were made, and with what, in a line."""
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    commit = results["git"]
    return f"{results['date']}, {versions}{f', commit {commit[:12]}' if commit else ''}."


def publish(document: Path, name: str, table: str, results: Mapping[str, Any]) -> None:
    """Put a table between a document's marks, and below it what its numbers were made with.

    Raises:
        RunError: The document cannot be read or lacks the marks.
    """
    update_block(document, name, published(table, results))


def published(table: str, results: Mapping[str, Any]) -> str:
    """What `publish` puts between the marks."""
    return f"{table}\n\n*{made_with(results)}*"
