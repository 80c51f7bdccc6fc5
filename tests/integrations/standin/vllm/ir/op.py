"""Operators with several implementations."""


class _Implementation:
    def __init__(self, function):
        self.impl_fn = function


class IrOp:
    registry = None

    def __init__(self, name, **functions):
        self.impls = {provider: _Implementation(function) for provider, function in functions.items()}
        IrOp.registry[name] = self

    def get_priority(self):
        return list(self.impls)


IrOp.registry = {}
