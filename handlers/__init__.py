"""Storages, a file or folder each: `kind = "b2"` is class `Handler` in `handlers/b2.py`."""
