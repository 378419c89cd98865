"""Forecasts of prices and how they are revised."""
