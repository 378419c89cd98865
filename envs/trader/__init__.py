"""A consumer that covers its need by forwards, options or at spot."""
