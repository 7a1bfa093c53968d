"""Azure Blob Storage: `kind = "azure"`."""

from relay.handlers.azure.handler import Handler

__all__ = ["Handler"]
