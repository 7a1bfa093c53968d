"""Relay: imports function zips from object storage and notifies the team."""

__version__ = "0.9.0.dev0"
