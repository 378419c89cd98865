"""The 33-bus market: consumers that herd, aggregators, a DSO and the real-time market."""
