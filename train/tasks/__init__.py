"""Environments to train in; see `flexgym.train.task`."""
