"""What an hour of the market was worth to whom.

Equations are those of the reconstructed paper, per hour and with the DSO's price to aggregators
equal to the real-time price: with b_i m_i what bus i drops and d_i what it buys from the DSO, as
shares of the network's load, and E the load in MWh,

- a bus gets E (quote (b m + d) - retail d)        (24)
- an aggregator gets E (rtem - quote) sum (b m + d) (25)
- the DSO gets E (retail - rtem) sum d             (26), rho summed up by (21)
- all together E rtem sum b m                       (27), (28): the welfare
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flexgym.envs.household.params import Floats

HOUR_NAMES = (
    "welfare_eur",
    "customers_eur",
    "aggregators_eur",
    "dso_eur",
    "directive_eur",
    "settlement_eur",
    "voltage_eur",
    "dropped_mwh",
    "losses_mwh",
    "lowest_pu",
    "highest_pu",
    "outside_pu_h",
    "collapsed",
)
"""Columns of an hour. The first is the sum of the next three; ``directive_eur``,
``settlement_eur`` and ``voltage_eur`` are paid besides. ``dropped_mwh`` is what all have consumed
less than scheduled."""


@dataclass(frozen=True, eq=False)
class Hour:
    """Money of one hour in n markets, EUR; positive is received.

    Attributes:
        energy_mwh: Scheduled load of the network.
        rtem: Real-time price, shape (n,), EUR/MWh.
        buses: Of the customers on each bus, shape (n, B).
        aggregators: Shape (n, K).
        dso: Shape (n,).
        welfare: Shape (n,); the sum of the three.
    """

    energy_mwh: float
    rtem: Floats
    buses: Floats
    aggregators: Floats
    dso: Floats
    welfare: Floats

    def worth(self, dropped: Floats) -> Floats:
        """At the real-time price, of shares of the load that are dropped, shape (n, any), EUR."""
        return self.energy_mwh * self.rtem[:, None] * dropped


def trade(
    energy_mwh: float,
    rtem: Floats,
    retail: float,
    quote: Floats,
    aggregator: np.ndarray,
    dropped: Floats,
    bought: Floats,
) -> Hour:
    """Settle the trade of an hour.

    Args:
        energy_mwh: Scheduled load of the network.
        rtem: Real-time price, shape (n,), EUR/MWh.
        retail: Price at which buses buy from the DSO, EUR/MWh.
        quote: Price that each aggregator pays, shape (n, K), EUR/MWh.
        aggregator: Of each bus, shape (B,); -1 for none.
        dropped: b m of each bus, shape (n, B); 0 where nobody takes part.
        bought: d of each bus, shape (n, B); 0 where nobody takes part.
    """
    sold = dropped + bought
    of_bus = quote[:, np.maximum(aggregator, 0)]
    buses = energy_mwh * (of_bus * sold - retail * bought)
    each = np.stack([sold[:, aggregator == k].sum(axis=1) for k in range(quote.shape[1])], axis=1)
    aggregators = energy_mwh * (rtem[:, None] - quote) * each
    dso = energy_mwh * (retail - rtem) * bought.sum(axis=1)
    welfare = energy_mwh * rtem * dropped.sum(axis=1)
    return Hour(energy_mwh, rtem, buses, aggregators, dso, welfare)
