"""Exact and rule-based reference solutions of the worlds in `flexgym.envs`."""
