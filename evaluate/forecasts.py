"""``flexgym describe forecasts``: how prices are forecast, how wrong, and how that is revised."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexgym.envs.forecasts.estimate import ForecastStatistics
    from flexgym.envs.forecasts.record import ForecastRecord
    from flexgym.envs.forecasts.signal_fit import SignalFit

SHOWN = (1, 2, 3, 6, 12, 18, 24, 36, 48, 72, 96, 120, 144, 168)
"""Lead times in tables and pictures, hours; the longest is always shown."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--prices", type=Path,
        help="CSV with your own prices, or with forecasts (columns issued,target,"
        "price_eur_per_kwh); default: the synthetic prices",
    )  # fmt: skip
    parser.add_argument("--leads", type=int, help="longest lead time, hours (default 24)")
    parser.add_argument("--bins", type=int, default=100, help="bars of a histogram (default 100)")
    parser.add_argument(
        "--document", type=Path, help="Markdown file whose block <!-- forecasts --> gets the table"
    )


def run(arguments: argparse.Namespace) -> int:
    """Estimate, print, write."""
    from flexgym.envs.forecasts.estimate import estimate
    from flexgym.envs.forecasts.generator import ForecastGenerator
    from flexgym.envs.forecasts.signal_fit import fit_signals
    from flexgym.evaluate.forecast_pictures import fan_picture, histogram_picture
    from flexgym.evaluate.report import (
        block_marks,
        output_folder,
        publish,
        write_csv,
        write_results,
    )

    if arguments.document:
        block_marks(arguments.document, "forecasts")
    record = read(arguments.prices, arguments.leads)
    statistics, generator = estimate(record), ForecastGenerator.of(record)
    fit = fit_signals(statistics)
    counted = histogram_rows(record, arguments.bins)
    folder = output_folder(arguments.out or Path("results/describe-forecasts"))
    results = write_results(
        folder,
        command=arguments.command,
        seed=arguments.seed,
        environment="flexgym.envs.forecasts",
        scenario={
            "title": f"Forecasts of {record.name}",
            "forecaster": record.forecaster,
            "start": record.start.isoformat(),
            "hours": record.periods,
            "leads": record.leads,
        },
        rows=lead_rows(statistics, fit, generator.error_sd_eur_per_kwh.tolist()),
        price_eur_per_kwh={
            "mean": statistics.price_mean_eur_per_kwh,
            "sd": statistics.price_sd_eur_per_kwh,
        },
        martingale_p=statistics.martingale.p_value,
        signals={
            "persistence": fit.persistence,
            "sd_eur_per_kwh": fit.sd_eur_per_kwh,
            "misfit": fit.misfit,
        },
    )
    write_csv(folder / "histograms.csv", counted)
    histogram_picture(folder / "histograms.png", results, counted)
    fan_picture(folder / "fan.png", record, statistics, generator, arguments.seed)
    print_statistics(results)
    if arguments.document:
        publish(arguments.document, "forecasts", markdown(results), results)
    print(f"wrote {folder}/results.json, histograms.csv, histograms.png, fan.png")
    return 0


def read(path: Path | None, leads: int | None) -> ForecastRecord:
    """The user's forecasts or prices, or the synthetic prices of 2016 as hourly means."""
    from flexgym.envs.data import HourlyPrices, synthetic_prices
    from flexgym.envs.forecasts.forecast_file import read_record
    from flexgym.envs.forecasts.forecaster import LEADS, Forecaster

    if path is not None:
        return read_record(path, leads)
    prices = HourlyPrices.of_year(synthetic_prices())
    return Forecaster().record(prices, LEADS if leads is None else leads)


def lead_rows(
    statistics: ForecastStatistics, fit: SignalFit, independent_sd: list[float]
) -> list[dict[str, Any]]:
    """One row a lead time k = 1..K: the error e_{t,k} and the next update of it, u_{t,k-1}."""
    error, update, test = statistics.error, statistics.update, statistics.martingale
    fitted = fit.fitted_sd_eur_per_kwh
    rows = []
    for i in range(statistics.leads):
        last = i == statistics.leads - 1
        rows.append(
            {
                "lead_h": i + 1,
                "error_mean_eur_per_kwh": float(error.mean[i]),
                "error_sd_eur_per_kwh": float(error.sd[i]),
                "error_q05_eur_per_kwh": float(error.quantiles[0, i]),
                "error_q50_eur_per_kwh": float(error.quantiles[2, i]),
                "error_q95_eur_per_kwh": float(error.quantiles[-1, i]),
                "independent_sd_eur_per_kwh": independent_sd[i],
                "signals_sd_eur_per_kwh": float(fitted[i]),
                "update_mean_eur_per_kwh": float(update.mean[i]),
                "update_sd_eur_per_kwh": float(update.sd[i]),
                "update_q05_eur_per_kwh": float(update.quantiles[0, i]),
                "update_q95_eur_per_kwh": float(update.quantiles[-1, i]),
                "mean_z": float(test.mean_z[i]),
                "serial_correlation": float(test.serial_correlation[i]),
                "serial_z": float(test.serial_z[i]),
                "revision_correlation": None if last else float(test.revision_correlation[i]),
                "revision_z": None if last else float(test.revision_z[i]),
            }
        )
    return rows


def histogram_rows(record: ForecastRecord, bins: int) -> list[dict[str, Any]]:
    """Counts of prices, of errors by lead time, and of updates by the lead time they end."""
    from flexgym.envs.forecasts.estimate import histogram

    samples = {
        "price": record.price_eur_per_kwh,
        "error": record.error_eur_per_kwh[:, 1:],
        "update": record.update_eur_per_kwh,
    }
    rows = []
    for quantity, values in samples.items():
        edges, counts = histogram(values, bins)
        rows += [
            {
                "quantity": quantity,
                "lead_h": 0 if quantity == "price" else k + 1,
                "low_eur_per_kwh": float(edges[j]),
                "high_eur_per_kwh": float(edges[j + 1]),
                "count": int(count),
            }
            for k, column in enumerate(counts)
            for j, count in enumerate(column)
        ]
    return rows


def shown(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the lead times that tables show."""
    K = results["scenario"]["leads"]
    return [row for row in results["rows"] if row["lead_h"] in SHOWN or row["lead_h"] == K]


def _ct(key: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: f"{round(100 * row[f'{key}_eur_per_kwh'], 2) + 0.0:.2f}"


def _number(key: str, digits: int) -> Callable[[dict[str, Any]], str]:
    return lambda row: "" if row[key] is None else f"{round(row[key], digits) + 0.0:.{digits}f}"


_COLUMNS: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("h", lambda row: f"{row['lead_h']}"),
    ("bias", _ct("error_mean")),
    ("sd", _ct("error_sd")),
    ("5 %", _ct("error_q05")),
    ("95 %", _ct("error_q95")),
    ("sum", _ct("independent_sd")),
    ("chain", _ct("signals_sd")),
    ("update", _ct("update_sd")),
    ("z", _number("mean_z", 1)),
    ("rev.", _number("revision_correlation", 2)),
    ("ser.", _number("serial_correlation", 2)),
)
LEGEND = (
    "Per hours ahead, in ct/kWh: bias, standard deviation and quantiles of forecast minus price; "
    "sum: its sd if updates were independent; chain: its sd in the fitted chain of signals; "
    "update: sd of the next update of that forecast; z: of the mean of the update, and its "
    "correlation with the update before it of the same hour (rev.) and with the one of the same "
    "lead time an hour before (ser.), all three near 0 for a martingale."
)


def print_statistics(results: dict[str, Any]) -> None:
    """Print the table of lead times and what the signals fit."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=results["scenario"]["title"], title_justify="left")
    for name, _ in _COLUMNS:
        table.add_column(name, justify="right")
    for row in shown(results):
        table.add_row(*(text(row) for _, text in _COLUMNS))
    console = Console(soft_wrap=True)
    if not console.is_terminal:
        # Into a file nothing needs to be cut.
        console = Console(soft_wrap=True, width=160)
    console.print(table)
    for text in (LEGEND, verdict(results)):
        console.print(text, markup=False, highlight=False)


def verdict(results: dict[str, Any]) -> str:
    """What the record is, whether it is a martingale, and which chain fits it, in sentences."""
    scenario, price, fit = results["scenario"], results["price_eur_per_kwh"], results["signals"]
    p = results["martingale_p"]
    chance = "below 0.001" if p < 1e-3 else f"{p:.3f}"
    found = "They are no martingale" if p < 0.05 else "They may be a martingale"
    return (
        f"{scenario['hours']} hours from {scenario['start']}, price {100 * price['mean']:.2f} "
        f"ct/kWh with sd {100 * price['sd']:.2f}; forecasts: {scenario['forecaster']}. {found} "
        f"(p {chance}). Chain of signals: persistence {fit['persistence']:.3f} an hour, sd "
        f"{100 * fit['sd_eur_per_kwh']:.2f} ct/kWh, misfit {fit['misfit']:.1%}."
    )


def markdown(results: dict[str, Any]) -> str:
    """The table and its sentences in Markdown."""
    lines = ["| " + " | ".join(name for name, _ in _COLUMNS) + " |", "|---:" * len(_COLUMNS) + "|"]
    lines += ["| " + " | ".join(text(row) for _, text in _COLUMNS) + " |" for row in shown(results)]
    return "\n".join([*lines, "", LEGEND, "", verdict(results)])
