"""What trading and delivery cost: pure functions on arrays with leading batch axes.

The environment plays them and the dynamic program minimises over them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexgym.envs.household.params import Floats
from flexgym.envs.trader.params import TraderTerms

Ints = NDArray[np.int64]


def forward_room(terms: TraderTerms, covered: Any, optioned: Any) -> Any:
    """Lots that can be bought forward now: the market's depth, at most what is still open."""
    return np.minimum(terms.forward_depth, terms.need_lots - covered - optioned)


def option_room(terms: TraderTerms, covered: Any, optioned: Any) -> Any:
    """Lots whose options can be bought now, after the forwards."""
    return np.minimum(terms.option_depth, terms.need_lots - covered - optioned)


def lots(action: Floats, most: Ints) -> Ints:
    """Lots that an action stands for: -1 none, 1 all that can be, between the nearest share."""
    return np.rint(0.5 * (action + 1.0) * most).astype(np.int64)


def action_of(wanted: Ints, most: Ints) -> Floats:
    """The action that stands for lots, 0 to ``most``: the right inverse of `lots`."""
    return np.where(most > 0, 2.0 * wanted / np.maximum(most, 1) - 1.0, -1.0)


def contract_eur(terms: TraderTerms, bought: Any, price_eur_per_kwh: Any) -> Any:
    """Cost of lots of a contract at its price for a kWh, EUR."""
    return bought * terms.contract_kwh * price_eur_per_kwh


def delivery_eur(
    terms: TraderTerms, covered: Any, exercised: Any, price_eur_per_kwh: Any, strike: Any
) -> tuple[Any, Any]:
    """What an hour of delivery costs: exercised options at the strike, the rest at spot, EUR.

    What was bought forward was booked when it was struck.
    """
    rest = terms.need_lots - covered - exercised
    return exercised * terms.lot_kwh * strike, rest * terms.lot_kwh * price_eur_per_kwh
