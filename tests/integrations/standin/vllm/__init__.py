"""Stands in for vLLM in tests: the names that passprint touches, and an engine in miniature."""

__version__ = "0.32.0"
