"""The feeder: houses on a low-voltage grid, coupled by one AC power flow."""
