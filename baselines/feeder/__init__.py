"""References of the feeder."""
