"""What a local market is made of. Plain data: no derived values are stored, nothing is drawn."""

from __future__ import annotations

from dataclasses import dataclass, fields
from numbers import Real

from flexgym.envs.errors import ScenarioError

HOURS = 24
"""Periods of an episode: hours from 06:00 to 06:00."""
RULES = ("pay-as-bid", "uniform", "mid-price")
"""Who pays what; see `flexgym.envs.local_market.clearing`."""

LARGEST = 1e9
"""Largest amount that an order, a contract or a message may name, in EUR/kWh or kWh: far beyond any
that is meant, and products and sums of many of them are still finite."""

Range = tuple[float, float]


@dataclass(frozen=True)
class Limits:
    """Ranges from which participants, their tariffs and their private values are drawn. Ours.

    Attributes:
        prosumer_share: Probability that a participant has a solar roof.
        retail_factor: Its retail price as a multiple of the hour's import price.
        feed_in_factor: Its feed-in price as a multiple of the hour's export price, at most its
            retail price.
        value_factor: What energy is worth to it, as a multiple of its retail price; below 1 it
            does without what the market has no cheaper.
        cost_share: What giving energy away costs it, as a share of the way from its feed-in price
            to its retail price; below 0 it feeds in what the market does not take.
    """

    prosumer_share: float = 0.6
    retail_factor: Range = (0.9, 1.1)
    feed_in_factor: Range = (0.7, 1.3)
    value_factor: Range = (0.7, 1.5)
    cost_share: Range = (-0.3, 0.6)

    def __post_init__(self) -> None:
        for field in fields(self):
            given = getattr(self, field.name)
            pair = (0.0, given) if field.name == "prosumer_share" else given
            good = isinstance(pair, tuple) and len(pair) == 2
            good = good and all(isinstance(x, Real) and not isinstance(x, bool) for x in pair)
            if not good or not -1.0 <= pair[0] <= pair[1] <= 10.0:
                raise ScenarioError(
                    f"{field.name} is {given!r}; expected {_EXPECTED.get(field.name, 'a range')}."
                )
            if field.name != "cost_share" and pair[0] < 0.0:
                raise ScenarioError(f"{field.name} is {given!r}; expected it from 0.")
        if self.prosumer_share > 1.0 or self.cost_share[1] > 1.0:
            raise ScenarioError(
                f"prosumer_share is {self.prosumer_share} and cost_share {self.cost_share}; "
                "expected shares of at most 1."
            )


_EXPECTED = {"prosumer_share": "a share from 0 to 1"}
