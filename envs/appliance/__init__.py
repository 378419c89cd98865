"""Appliances: jobs of some periods that run within a window. See docs/appliance.md."""
