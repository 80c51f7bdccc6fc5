"""What a trace reads of dicts, sets and Python's own library without a guard of Dynamo's.

Dynamo guards on a key that it finds. ``d[key]`` that ends in a ``KeyError``, ``list(d)`` and ``d.popitem()`` leave no
guard, or one on the length alone; neither does the order of a set, which is another in each process where it holds
texts (``PYTHONHASHSEED``); and ``os.getenv`` reads a global of the standard library, which Dynamo takes for constant.
Guards are added where Dynamo has a kind for them. The order of a set that the trace went through is noted by its
source, to be compared; where a set has none (a constant of the code), nothing is recorded.

What is reached here, and why there is no public way: methods of classes in ``torch._dynamo`` get a layer.
Read against torch 2.11 to 2.13.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from functools import partial, wraps
from typing import Any

from passprint.compiler.trace.noting import current

_ANY_ORDER = (all, any, frozenset, len, max, min, set, sorted)
"""What gives the same for a set in any order."""
_TEXTS = (ascii, format, repr, str)


def hook_into_dynamo() -> None:
    """Put the layers in, once in a process."""
    _hook_dicts()
    _hook_sets()
    _hook_attributes()
    _hook_library()


def _layer(cls: Any, method: str, before: Callable[..., None]) -> None:
    """Have ``before`` called with the same arguments, where a trace is noted."""
    original = getattr(cls, method, None)
    if original is None:  # another torch
        return

    @wraps(original)
    def layered(*args: Any, **kwargs: Any) -> Any:
        if current() is not None:
            before(*args, **kwargs)
        return original(*args, **kwargs)

    setattr(cls, method, layered)


# ---- dicts ----------------------------------------------------------------------------------------------


def _hook_dicts() -> None:
    from torch._dynamo.exc import ObservedKeyError
    from torch._dynamo.variables.dicts import ConstDictVariable
    from torch._dynamo.variables.lists import ListVariable

    variable: Any = ConstDictVariable
    item = variable.getitem_const_raise_exception_if_absent

    @wraps(item)
    def getitem(self: Any, tx: Any, arg: Any) -> Any:
        try:
            return item(self, tx, arg)
        except ObservedKeyError:
            if current() is not None:
                self.install_dict_contains_guard(tx, [arg])
            raise

    def before_method(self: Any, tx: Any, name: str, *_: Any) -> None:
        if name in ("pop", "popitem"):  # what is left is written back as a whole
            self.install_dict_keys_match_guard()

    def before_extend(self: Any, tx: Any, name: str, args: Any, *_: Any) -> None:
        if name == "extend" and args:
            given = args[0].realize()
            if isinstance(given, ConstDictVariable):
                given.install_dict_keys_match_guard()
            _note_order(given, tx)

    variable.getitem_const_raise_exception_if_absent = getitem
    _layer(variable, "call_method", before_method)
    _layer(ListVariable, "call_method", before_extend)


# ---- sets -----------------------------------------------------------------------------------------------


def _hook_sets() -> None:
    from torch._dynamo.variables.builtin import BuiltinVariable

    variables = _variables()

    def before_method(self: Any, tx: Any, name: str, *_: Any) -> None:
        if name == "pop":
            _note_order(self, tx)

    def before_text(self: Any, tx: Any, name: str, args: Any, *_: Any) -> None:
        for arg in args:  # ", ".join(names)
            _note_order(arg.realize(), tx)

    held: Any = variables.SetVariable
    for cls in (held, variables.FrozensetVariable):
        _layer(cls, "repr_impl", _note_order)
    _layer(held, "unpack_var_sequence", _note_order)
    _layer(held, "tp_iter_impl", _note_order)
    _layer(held, "call_method", before_method)
    _layer(variables.ConstantVariable, "call_method", before_text)

    builtin: Any = BuiltinVariable
    call = builtin.call_function

    @wraps(call)
    def call_function(self: Any, tx: Any, args: Any, kwargs: Any) -> Any:
        notes = current()
        if notes is None or not args or not _is_set(args[0].realize()):
            return call(self, tx, args, kwargs)
        if any(self.fn is function for function in _TEXTS):
            _note_order(args[0].realize(), tx)
        before = notes.is_merging
        notes.is_merging = before or (not kwargs and any(self.fn is function for function in _ANY_ORDER))
        try:
            return call(self, tx, args, kwargs)
        finally:
            notes.is_merging = before

    builtin.call_function = call_function


def _variables() -> Any:
    from torch._dynamo import variables

    return variables


def _is_set(variable: Any) -> bool:
    """Whether this is a set or frozenset of Python's own, and not one that keeps an order."""
    variables = _variables()
    return type(variable) in (variables.SetVariable, variables.FrozensetVariable)


def _note_order(variable: Any, tx: Any) -> None:
    """The trace goes through a set."""
    from torch._dynamo.source import is_constant_source

    notes = current()
    if notes is None or notes.is_merging or not _is_set(variable) or len(variable.items) < 2 or _merges(tx):
        return
    source = variable.source
    if source is not None and not is_constant_source(source):
        notes.ordered.append(name_of(source))
        return
    members = [item.vt for item in variable.items]
    constants = [member.as_python_constant() for member in members if member.is_python_constant()]
    if constants and not _is_fixed(constants):
        shown = ", ".join(sorted(map(repr, constants)))[:80]
        notes.refuse(f"it goes through a set of {shown}, in an order that may be another in each process")


def _merges(tx: Any) -> bool:
    """Whether the code that goes through a set is Dynamo's, and makes a set of it again (``a | b``)."""
    home = str(tx.f_globals.get("__name__"))
    return home.startswith("torch._dynamo.polyfills") and tx.f_code.co_name.startswith("set_")


def _is_fixed(members: list[Any]) -> bool:
    """Whether a set of these has the same order everywhere: numbers that do not get in each other's way."""
    backwards = members[::-1]
    return all(type(member) in (int, bool) for member in members) and list(set(members)) == list(
        set(backwards)
    )


def name_of(source: Any) -> str:
    """The expression that a source of Dynamo's stands for."""
    name = source.name
    return str(name() if callable(name) else name)


# ---- the __dict__ of objects ----------------------------------------------------------------------------


def _hook_attributes() -> None:
    """``name in obj.__dict__``, its length and its names: Dynamo guards on what is taken out of it alone."""
    try:
        from torch._dynamo.variables.dicts import SideEffectsProxyDict
    except ImportError:  # torch 2.11
        _hook_get_attr()
        return
    proxy: Any = SideEffectsProxyDict
    contains = proxy.__contains__

    @wraps(contains)
    def guarded(self: Any, key: Any) -> Any:
        there = contains(self, key)
        name = self._maybe_unwrap_key(key)
        changed = self.side_effects.store_attr_mutations.get(self.item, {})
        if _is_noted(self.item) and not {name, "__dict__"}.intersection(changed):  # by the traced code itself
            _guard_attribute(self.item, name, there)
        return there

    proxy.__contains__ = guarded
    for method in ("__iter__", "__len__"):
        _refuse_at(proxy, method)


def _refuse_at(proxy: Any, method: str) -> None:
    original = getattr(proxy, method)

    @wraps(original)
    def refused(self: Any) -> Any:
        if _is_noted(self.item):
            _refuse_dict(self.item)
        return original(self)

    setattr(proxy, method, refused)


_ASK_ONE = ("get", "__getitem__", "__contains__")


def _hook_get_attr() -> None:
    from torch._dynamo.variables.misc import GetAttrVariable

    variable: Any = GetAttrVariable
    original = variable.call_method

    @wraps(original)
    def call_method(self: Any, tx: Any, name: str, args: Any, kwargs: Any) -> Any:
        if self.name == "__dict__" and name != "__setitem__" and _is_noted(self.obj):
            key = args[0].as_python_constant() if args and args[0].is_python_constant() else None
            _note_asked(self.obj, tx, name, key)
        return original(self, tx, name, args, kwargs)

    variable.call_method = call_method


def _note_asked(owner: Any, tx: Any, method: str, key: Any) -> None:
    if not (method in _ASK_ONE and isinstance(key, str) and hasattr(owner, "has_key_in_generic_dict")):
        _refuse_dict(owner)
    elif tx.output.side_effects.has_pending_mutation_of_attr(owner, key):
        return  # what the traced code put there itself
    elif not owner.has_key_in_generic_dict(tx, key):
        _guard_attribute(owner, key, False)
    elif method == "__contains__":  # the others guard on what they take out
        _refuse_dict(owner)


def _is_noted(owner: Any) -> bool:
    """Whether the owner of a ``__dict__`` was there before the trace. A function counts with its attributes."""
    from torch._dynamo.variables.functions import BaseUserFunctionVariable

    return current() is not None and not (owner.source is None or isinstance(owner, BaseUserFunctionVariable))


def _guard_attribute(owner: Any, name: str, there: bool) -> None:
    from torch._dynamo.guards import GuardBuilder, install_guard
    from torch._dynamo.source import AttrSource

    if there:
        made = AttrSource(owner.source, "__dict__").make_guard(partial(GuardBuilder.DICT_CONTAINS, key=name))
    else:
        made = owner.source.make_guard(partial(GuardBuilder.NOT_PRESENT_IN_GENERIC_DICT, attr=name))
    install_guard(made)


def _refuse_dict(owner: Any) -> None:
    notes = current()
    if notes is not None:
        kind = owner.python_type_name()
        notes.refuse(f"it relies on what the __dict__ of a {kind} held, which nothing guards")


# ---- the standard library -------------------------------------------------------------------------------


def _hook_library() -> None:
    """``os.environ`` as ``os.getenv`` reads it: Dynamo skips guards on what the library's own code takes of itself."""
    from torch._dynamo.source import SkipGuardSource
    from torch._dynamo.symbolic_convert import InliningInstructionTranslator

    translator: Any = InliningInstructionTranslator
    original = translator.get_globals_source_and_value

    @wraps(original)
    def guarded(self: Any, name: str) -> tuple[Any, Any, Any]:
        module, variable, source = original(self, name)
        changes = isinstance(self.f_globals.get(name), (list, set, MutableMapping))
        if current() is not None and changes and isinstance(source, SkipGuardSource):
            source = source.base
        return module, variable, source

    translator.get_globals_source_and_value = guarded
