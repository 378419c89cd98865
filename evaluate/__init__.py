"""Rollouts, scores, statistics, tables and pictures."""
