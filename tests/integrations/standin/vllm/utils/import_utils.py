import importlib


def resolve_obj_by_qualname(name):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)
