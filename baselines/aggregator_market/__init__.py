"""Exact and rule-based references of the 33-bus market."""
