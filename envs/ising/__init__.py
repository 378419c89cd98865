"""Ising spins: compiled Metropolis chains, couplings, constrained chains, measurements.

Nothing is imported before its name is asked for.
"""
