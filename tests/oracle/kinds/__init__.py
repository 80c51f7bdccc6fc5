"""The kinds of state, by subject. Importing them registers them."""

from tests.oracle.kinds import attributes, containers, data, flow, functions, modules, objects, tensors

__all__ = ["attributes", "containers", "data", "flow", "functions", "modules", "objects", "tensors"]
