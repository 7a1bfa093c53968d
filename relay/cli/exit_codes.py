"""The exit codes of `relay`: 0 done, 1 failed, 2 usage (click's own), 78 configuration."""

FAILED = 1
MISCONFIGURED = 78
"""EX_CONFIG of sysexits.h: a supervisor can tell that starting again will not help."""
