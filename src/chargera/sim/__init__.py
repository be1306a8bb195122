"""Stations in software that speak the real protocols as a stranger would."""
