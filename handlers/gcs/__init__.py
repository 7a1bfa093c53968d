"""Google Cloud Storage: `kind = "gcs"`."""

from relay.handlers.gcs.handler import Handler

__all__ = ["Handler"]
