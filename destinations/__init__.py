"""Destinations: where the clean stream goes."""
