"""Exact references of the 33-bus market."""
