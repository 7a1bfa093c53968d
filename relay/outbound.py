"""The only place where HTTP sessions are made: timeouts, proxies, a guard over where they lead."""

from __future__ import annotations


class Outbound:
    """Makes the sessions of targets and channels."""
