"""What the benchmark plays: an arena for each environment, behind one protocol."""
