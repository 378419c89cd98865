"""``flexgym describe feeder``: what a scenario is made of, and what it does to the grid."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from flexgym.evaluate import feeder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command: those of the evaluation, with two policies."""
    feeder.add_arguments(parser)
    parser.set_defaults(policies="unmanaged,selfish", days=48)


def run(arguments: argparse.Namespace) -> int:
    """Print the scenario's numbers, then evaluate it."""
    from flexgym.envs.feeder.scenario import FeederScenario

    scenario = FeederScenario.create(arguments.scenario, arguments.split)
    print_scenario(scenario)
    arguments.out = arguments.out or Path(f"results/describe-{arguments.scenario}")
    return feeder.run(arguments)


def print_scenario(scenario: Any) -> None:
    """Print grid, houses and prices of a `FeederScenario`."""
    from rich.console import Console
    from rich.table import Table

    network, homes = scenario.network, scenario.homes
    cars = [house.car for house in homes.houses if house.car is not None]
    batteries = [house.battery for house in homes.houses if house.battery is not None]
    pool = len(homes.houses)
    costs = scenario.costs

    def span(values: list[float], unit: str) -> str:
        return f"{min(values):.1f} to {max(values):.1f} {unit}" if values else "none"

    table = Table(title=f"Feeder-v0 {scenario.name}", title_justify="left", show_header=False)
    table.add_row(
        "grid", f"{network.n_bus} buses, {len(network.line_index)} lines, slack "
        f"{network.slack_pu:g} pu, transformer {network.trafo_rating_kva.sum():g} kVA"
    )  # fmt: skip
    low, high = scenario.band_pu
    table.add_row("voltage band", f"{low:g} to {high:g} pu")
    table.add_row("houses", f"{scenario.n_houses} on the feeder, {scenario.draws} draws of them")
    table.add_row("roofs", span([house.pv_kwp for house in homes.houses], "kWp"))
    table.add_row(
        "batteries", f"{len(batteries) / pool:.0%} of houses, "
        + span([battery.capacity_kwh for battery in batteries], "kWh")
    )  # fmt: skip
    table.add_row(
        "cars", f"{len(cars) / pool:.0%} of houses, " + span([car.power_kw for car in cars], "kW")
    )
    table.add_row("days", f"{len(homes.days)} days of 2016")
    table.add_row("prices", homes.prices.name)
    table.add_row(
        "grid costs", f"losses {costs.loss_eur_per_kwh:g} EUR/kWh, voltage "
        f"{costs.voltage_eur_per_pu_h:g} EUR/(pu h), overload {costs.overload_eur_per_kwh:g} "
        "EUR/kWh"
    )  # fmt: skip
    Console(soft_wrap=True).print(table)
