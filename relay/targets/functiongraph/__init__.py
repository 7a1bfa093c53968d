"""The target kind `functiongraph`: FunctionGraph of Huawei Cloud."""

from relay.targets.functiongraph.target import Target

__all__ = ["Target"]
