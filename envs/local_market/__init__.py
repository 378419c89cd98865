"""The neighbourhood market: orders, clearing, contracts, ledger, and its environment."""
