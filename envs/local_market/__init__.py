"""The neighbourhood market: prosumers and consumers post price and volume every hour."""
