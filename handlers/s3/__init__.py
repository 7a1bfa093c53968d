"""Amazon S3 and compatible stores: `kind = "s3"`."""

from relay.handlers.s3.handler import Handler

__all__ = ["Handler"]
