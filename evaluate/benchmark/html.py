"""The report of the benchmark: one HTML file that needs no network and no script."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flexgym.evaluate.benchmark.pictures import overview_picture, setting_picture
from flexgym.evaluate.benchmark.tables import (
    HEADS,
    believable,
    caption,
    entries_of,
    name_of,
    provenance,
    settings_of,
)

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
       max-width: 62rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.7rem; margin: .5rem 0; } h2 { font-size: 1.25rem; margin: 2.2rem 0 .4rem; }
a { color: #1f4e8c; } nav ul { columns: 3 14rem; padding-left: 1.2rem; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
.wide { overflow-x: auto; } .wide:focus { outline: 2px solid #1f4e8c; }
table { border-collapse: collapse; width: 100%; font-size: .85rem;
        font-variant-numeric: tabular-nums; }
caption { text-align: left; color: #444; padding: .3rem 0; }
th, td { padding: .22rem .5rem; border-bottom: 1px solid #ddd; text-align: right;
         white-space: nowrap; }
th:first-child, td:nth-child(2), thead th:nth-child(2) { text-align: left; }
thead th { border-bottom: 2px solid #333; } tbody th { font-weight: normal; }
tr.learned th, tr.learned td, tr.own th, tr.own td { font-weight: 600; }
tr.bound th, tr.bound td { color: #666; }
footer { margin-top: 2.5rem; border-top: 1px solid #ddd; color: #444; font-size: .85rem;
         overflow-wrap: anywhere; }
@media print { body { max-width: none; padding: 0; font-size: 11px; }
  nav { display: none; } section { break-inside: avoid; } .wide { overflow: visible; } }
"""

OVERVIEW = "overview.png"
METHOD = (
    "All policies of a setting play the same episodes with the same random numbers: days and "
    "houses of the test split, which nobody trained on; where an environment has no split, random "
    "numbers that nobody trained on. A score is the share of what the "
    "reference saves over no control, a ratio of sums. The interquartile mean (IQM) is that of "
    "the scores of groups of episodes and training seeds, a quarter cut off at each end. "
    "Intervals are of 95 %, bootstrapped over episodes within their groups and over seeds. "
    "Better than rule is the chance to cost less than the strongest rule on one episode, ties "
    "one half. A decision's time is computing time for one episode, where many are played "
    "side by side; what is added is preparing the episode."
)


def write_report(path: Path, results: Mapping[str, Any]) -> None:
    """Write the report, and beside it its first picture.

    Args:
        path: HTML file to write.
        results: Content of ``results.json``.
    """
    settings = list(settings_of(results))
    title = f"flexgym benchmark, {results['scenario']['title']}"
    overview = path.with_name(OVERVIEW)
    overview_picture(overview, settings)
    summary = _image(overview, "Strongest rule and learned policies of every setting by score")
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / "picture.png"
        sections = []
        for what, rows, timings in settings:
            setting_picture(file, what, rows, timings)
            best = max(
                believable(rows, "rule", "exact", "learned", "own"),
                key=lambda row: row["score"]["mean"],
            )
            told = f"Scores in {name_of(what)}; best policy: {best['policy']}. Numbers: table below"
            sections.append(_section(what, rows, timings, _image(file, told)))
    links = "".join(
        f'<li><a href="#{_anchor(what)}">{escape(name_of(what))}</a></li>'
        for what, _, _ in settings
    )
    path.write_text(
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<header>\n"
        f"<h1>{escape(title)}</h1>\n<p>{escape(METHOD)}</p>\n</header>\n<main>\n{summary}"
        f'<nav aria-label="settings"><ul>{links}</ul></nav>\n{"".join(sections)}</main>\n'
        f"<footer><p>{escape(provenance(results))}</p></footer>\n</body>\n</html>\n",
        encoding="utf-8",
    )


def _section(
    title: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    timings: Sequence[Mapping[str, Any]],
    image: str,
) -> str:
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in HEADS)
    body = []
    for row, timing in zip(rows, timings, strict=True):
        first, *others = map(escape, entries_of(title, row, timing))
        cells = "".join(f"<td>{entry}</td>" for entry in others)
        body.append(f'<tr class="{row["kind"]}"><th scope="row">{first}</th>{cells}</tr>\n')
    name = escape(name_of(title))
    return (
        f'<section id="{_anchor(title)}">\n<h2>{name}</h2>\n{image}'
        f'<div class="wide" tabindex="0" role="region" aria-label="table of {name}">\n'
        f"<table>\n<caption>{escape(caption(title))}</caption>\n"
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{''.join(body)}</tbody>\n</table>\n"
        "</div>\n</section>\n"
    )


def _image(file: Path, told: str) -> str:
    data = base64.b64encode(file.read_bytes()).decode("ascii")
    return f'<figure><img alt="{escape(told)}" src="data:image/png;base64,{data}"></figure>\n'


def _anchor(title: Mapping[str, Any]) -> str:
    return name_of(title).replace("/", "-")
