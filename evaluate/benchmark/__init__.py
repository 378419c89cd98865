"""The benchmark: every policy on the same days, scored 0 to 100, with honest intervals."""
