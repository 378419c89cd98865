"""Figures 2 to 8 of the Ising paper, computed anew: data, claims, pictures."""
