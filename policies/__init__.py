"""Everything that maps what a house sees to what it does."""
