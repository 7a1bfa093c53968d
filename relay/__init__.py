"""A zip lands in a bucket, the function is imported, the team is told, nothing is lost."""

__version__ = "0.1.0"
