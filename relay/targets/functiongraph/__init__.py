"""Functiongraph: `kind = "functiongraph"`."""

from relay.targets.functiongraph.target import Target

__all__ = ["Target"]
