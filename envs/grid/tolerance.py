"""What an AC power flow may exceed a limit by and still count as keeping it.

Optimisers work on linear models that are exact at a point only; costs of violations begin at the
limits themselves, counts and hours of violations here.
"""

CLEAN_PU = 1e-4
"""Of voltages, pu."""
CLEAN_PERCENT = 0.1
"""Of loadings, % of the rating."""
