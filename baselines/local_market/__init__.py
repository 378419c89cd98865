"""Exact references of the local market: welfare-optimal trade and best deviations."""
