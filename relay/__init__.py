"""Relay: a zip lands in a bucket, the function is imported, the team is told, and nothing is lost on the way."""

__version__ = "0.1.0"
