"""Every error flexgym raises on purpose.

Each is also the built-in a caller would expect, and its message says what was got,
what was expected and what to do.
"""


class FlexgymError(Exception):
    """Base of all flexgym errors."""


class HouseError(FlexgymError, ValueError):
    """A device or connection parameter is outside its physical range."""


class JobError(FlexgymError, ValueError):
    """A job of an appliance is longer than its window, or its data describe none."""


class SeriesError(FlexgymError, ValueError):
    """Exogenous series have wrong shapes, NaN, or impossible values."""


class PriceDataError(FlexgymError, ValueError):
    """A price file cannot be used as it is."""


class ForecastError(FlexgymError, ValueError):
    """Forecasts or their updates have wrong shapes, gaps, or are no numbers."""


class ProfileDataError(FlexgymError, ValueError):
    """A file of consumption and solar profiles cannot be used as it is."""


class SessionDataError(FlexgymError, ValueError):
    """A file of car sessions cannot be used as it is."""


class ScenarioError(FlexgymError, ValueError):
    """An unknown scenario, split, day or option was asked for."""


class ActionError(FlexgymError, ValueError):
    """An action or dispatch has the wrong shape or lies outside its range."""


class ResetNeededError(FlexgymError, AttributeError):
    """Something of an episode was asked for before one began."""


class StateError(FlexgymError, ValueError):
    """A state of charge or Markov state lies outside its limits."""


class ChartError(FlexgymError, ValueError):
    """Points or a message do not describe a convex function."""


class MenuError(ChartError):
    """A menu sent to the operator is refused; ``reason`` says why in a word or two."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class ConvexityError(FlexgymError, ValueError):
    """The prices make the cost-to-go non-convex, so the exact recursion does not apply."""


class SolverError(FlexgymError, RuntimeError):
    """A solver did not return an optimum."""


class SolverTimeoutError(SolverError, TimeoutError):
    """A solver was stopped by its time limit."""


class NetworkError(FlexgymError, ValueError):
    """A network is not radial, not complete, or holds what the tree model cannot."""


class PowerFlowError(FlexgymError, ValueError):
    """Powers given to a power flow have a wrong shape or are no finite numbers."""


class MarketError(FlexgymError, ValueError):
    """Data of the 33-bus market or an exchange in it breaks the market's rules."""


class PriceBoundError(MarketError):
    """An aggregator's price lies outside its bounds: what it pays <= what it gets <= real time."""


class PartitionError(MarketError):
    """A map of customers to buses or of buses to aggregators is no partition."""


class ContractError(MarketError):
    """A contract, or what somebody wants to do with one, breaks its terms or the ledger's rules."""


class InfeasibleError(MarketError):
    """No choice meets the constraint; ``smallest_slack`` is the least that would, where known."""

    def __init__(self, message: str, smallest_slack: float | None = None) -> None:
        super().__init__(message)
        self.smallest_slack = smallest_slack


class OrderError(MarketError):
    """An order of the local market has no finite price or volume, or trades with itself."""


class RunError(FlexgymError, RuntimeError):
    """A run folder or checkpoint is missing, damaged or of another kind."""
