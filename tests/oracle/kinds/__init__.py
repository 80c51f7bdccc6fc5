"""The kinds of state, by subject. Importing them registers them."""

from tests.oracle.kinds import attributes, containers, data, functions, modules, tensors

__all__ = ["attributes", "containers", "data", "functions", "modules", "tensors"]
