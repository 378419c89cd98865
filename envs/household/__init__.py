"""One house: PV, battery, tariff. See docs/household.md."""
