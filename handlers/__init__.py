"""Storages, one file each: `kind = "s3"` is `handlers/s3.py`, class `Handler`."""
