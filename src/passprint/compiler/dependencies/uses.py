"""How code uses what it takes by a name, as far as its bytecode tells: does it go through it, or ask for all it has?

Membership, equality, length and sorting do not depend on the order of a set; going through it does, and so may whatever
it is handed to. The order of a set of texts is another one in each process (``PYTHONHASHSEED``). ``vars(x)``,
``x.__dict__`` and ``dir(x)`` read names that no code holds, so everything in ``x`` counts.

The bytecode is read once from top to bottom, with a stack of where values come from. What is not understood, and what
is on the stack where control flow meets, counts as used in every way. What only ends up in an exception, in a log or in
a warning does not count.
Read against CPython 3.11 to 3.14.
"""

from __future__ import annotations

import dis
import logging
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from types import CodeType, MappingProxyType
from typing import Final, NamedTuple

MADE: Final = "<made>"
"""A set that the code makes itself, in an order that another process need not have."""
FRESH: Final = "<fresh>"
"""A set that the code fills item by item. In a trace it has the order in which it was filled, as long as it is only
gone through: Dynamo keeps it as the keys of a dict. What operators and methods make of it is `MADE`.
"""
ANY: Final = "<any>"
"""Something that comes from elsewhere: an argument, an item."""
SELF: Final = "<self>"
"""The object that a method is called on."""

Value = frozenset[str]
"""Where a value may come from: names of attributes and globals, `MADE`, a local as ``"=name"``, a text as ``"'text"``,
a builtin that makes the same of any order, as ``"len()"``, or what is in the ``__dict__`` of one, as ``"@name"``."""

_NOTHING: Final[Value] = frozenset()
_MAKING: Final[Value] = frozenset({"<making>"})
"""A set that a comprehension fills while control flow goes round."""
_SET_METHODS: Final = frozenset(
    {"copy", "difference", "intersection", "symmetric_difference", "union", "pop"}
    | {"difference_update", "intersection_update", "symmetric_difference_update"}
)
"""Methods of sets whose result depends on the order, or is a set again."""
_ORDER_FREE: Final = frozenset(
    {"all", "any", "bool", "frozenset", "len", "max", "min", "set", "sorted", "type"}
)
_FREE_CALLS: Final = frozenset(f"{name}()" for name in _ORDER_FREE)
_GOES_THROUGH: Final = frozenset({"enumerate", "filter", "iter", "list", "map", "sum", "tuple", "zip"})
_THROUGH_CALLS: Final = frozenset(f"{name}()" for name in _GOES_THROUGH)
_MAKERS: Final = frozenset({"set()", "frozenset()"})
_KEY_METHODS: Final = frozenset(
    {"items", "keys", "values", "popitem", "update", "clear", "move_to_end", "__iter__", "__len__"}
)
"""Methods of dicts that read other keys than one that they are given."""
_ASKS_ONE: Final = frozenset({"get", "pop", "setdefault", "__getitem__", "__contains__"})
_ASKS_BY_NAME: Final = frozenset({"getattr", "hasattr"})
_BY_NAME_CALLS: Final = frozenset(f"{name}()" for name in _ASKS_BY_NAME)
_COMPUTES: Final = frozenset({"attrgetter", "__getattribute__", "fget"})
_ASKED: Final = "'<asked>"
"""The name that ``__getattr__`` is asked for."""
_GETTERS: Final = ("__getattr__", "__getattribute__")
_LISTS_NAMES: Final = frozenset({"vars", "dir"})
_SKIPPED: Final = frozenset(
    {"CACHE", "EXTENDED_ARG", "KW_NAMES", "NOP", "NOT_TAKEN", "PRECALL", "RESUME", "COPY_FREE_VARS"}
    | {"MAKE_CELL", "RETURN_GENERATOR", "TO_BOOL", "SETUP_ANNOTATIONS"}
)
_SET_OPERATORS: Final = frozenset({"|", "&", "-", "^", "|=", "&=", "-=", "^="})
_ENDS: Final = ("POP_JUMP", "JUMP", "RETURN", "RAISE", "RERAISE", "FOR_ITER", "SEND")
# By name: how many values an instruction takes and uses in any way, and how many it gives. "n": its argument.
_EFFECTS: Final[dict[str, tuple[int | str, int]]] = {
    "BUILD_TUPLE": ("n", 1),
    "BUILD_LIST": ("n", 1),
    "BUILD_STRING": ("n", 1),
    "BUILD_SLICE": ("n", 1),
    "FORMAT_SIMPLE": (1, 1),
    "LIST_APPEND": (1, 0),
    "DICT_UPDATE": (1, 0),
    "STORE_GLOBAL": (1, 0),
    "YIELD_VALUE": (1, 1),
}


class Uses(NamedTuple):
    """By the names that things are taken under.

    ``ordered``: those whose order may count. ``keyed``: those of which other keys may be read than the texts that the
    code holds. ``whole``: those all of whose attributes may count. ``returned``: those that it gives back as they are;
    how they are used is whoever asked's to say. ``asked``: those of which a ``__getattr__`` reads what it is asked for.

    ``computes``: the objects that it asks for attributes whose names no code holds.
    """

    ordered: frozenset[str]
    keyed: frozenset[str]
    whole: frozenset[str]
    returned: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    computes: frozenset[str] = frozenset()


def uses_of(code: CodeType, namespace: Mapping[str, object] = MappingProxyType({})) -> Uses:
    """The uses in ``code`` and the code nested in it.

    ``namespace`` are the globals of the code: a builtin that is shadowed there is no builtin.
    """
    return _read(code, namespace).uses()


def _read(code: CodeType, namespace: Mapping[str, object]) -> _Reader:
    reader = _Reader(code, namespace)
    reader.read()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            reader.take_over(_read(constant, namespace))
    return reader


class _Reader:
    def __init__(self, code: CodeType, namespace: Mapping[str, object]) -> None:
        self._code = code
        self._namespace = namespace
        self._stack: list[Value] = []
        self._stored: defaultdict[str, set[str]] = defaultdict(set)
        self._nested: list[Uses] = []
        self._taken_over: set[str] = set()
        self.used: set[str] = set()
        self.returned: set[str] = set()
        self.asked: set[str] = set()
        self.computes: set[str] = set()
        self._uncalled = 0
        self.gone_through: set[str] = set()
        self.keyed: set[str] = set()
        self.whole: set[str] = set()

    def read(self) -> None:
        """Go through the code once."""
        for block in _blocks(self._code):
            if block[-1].opname == "RAISE_VARARGS":
                self._stack = []
                continue
            logged = self._logged(block)
            for number, step in enumerate(block):
                if step.is_jump_target:
                    self._meet()
                if number in logged:
                    kept = [set(found) for found in self._found]
                    self._step(step)
                    for found, before in zip(self._found, kept, strict=True):
                        found &= before
                elif step.opname not in _SKIPPED:
                    self._step(step)

    @property
    def _found(self) -> tuple[set[str], ...]:
        return self.used, self.gone_through, self.keyed, self.whole

    def _logged(self, block: Sequence[dis.Instruction]) -> set[int]:
        """The places of instructions that only make what is handed to a logger or to ``warnings``."""
        found: set[int] = set()
        for start, step in enumerate(block[1:], 1):
            if (
                start in found
                or step.opname not in ("LOAD_ATTR", "LOAD_METHOD")
                or not self._logs(block[start - 1])
            ):
                continue
            depth = 0
            for place in range(start + 1, len(block)):
                each = block[place]
                depth += dis.stack_effect(each.opcode, each.arg if each.opcode >= dis.HAVE_ARGUMENT else None)
                if depth < 0:
                    if each.opname.startswith("CALL"):
                        found |= {n for n in range(start + 1, place + 1) if block[n].opname not in _SKIPPED}
                    break
        return found

    def _logs(self, step: dis.Instruction) -> bool:
        owner = self._namespace.get(str(step.argval)) if step.opname == "LOAD_GLOBAL" else None
        return isinstance(owner, logging.Logger) or owner is logging or owner is warnings

    def uses(self) -> Uses:
        """By names, with the uses in nested code."""
        ordered = {*self._names(self.used), *self._names(self.gone_through, fresh=False)}
        keyed = ordered | {*self._names(self.keyed, fresh=False)}
        returned = frozenset(self._names(self.returned))
        whole = {*self._names(self.whole), *[name[1:] for name in keyed | returned if name.startswith("@")]}
        nested = [
            (inner.ordered | inner.returned, inner.keyed | inner.returned, inner.whole)
            for inner in self._nested
        ]
        ordered, keyed, whole = (
            found.union(*others) for found, *others in zip((ordered, keyed, whole), *nested, strict=True)
        )
        if MADE in returned:
            ordered |= returned
            keyed |= returned
        asked = frozenset(self._names(self.asked, fresh=False)).union(
            *[inner.asked for inner in self._nested]
        )
        computes = {*self._names(self.computes, fresh=False)}.union(
            *[inner.computes for inner in self._nested]
        )
        if self._uncalled or not _COMPUTES.isdisjoint(self._code.co_names):
            computes.add(ANY)
        computes.difference_update(self._taken_over)
        return Uses(*map(frozenset, (ordered, keyed, whole, returned, asked, computes)))

    def take_over(self, inner: _Reader) -> None:
        """Add what nested code does, to its own names and to the variables of this code that it closes over."""
        self._nested.append(inner.uses())
        free = set(inner._code.co_freevars)
        self._taken_over |= free.difference(self._code.co_freevars)
        for mine, its in (
            (self.used, inner._names(inner.used | inner.gone_through | inner.returned)),
            (self.keyed, inner._names(inner.keyed, fresh=False)),
            (self.computes, inner._names(inner.computes, fresh=False)),
            (self.whole, inner._names(inner.whole)),
        ):
            mine |= {
                name if name in self._code.co_freevars else f"={name}" for name in free.intersection(its)
            }

    def _names(self, found: Iterable[str], *, fresh: bool = True) -> Iterator[str]:
        """The names behind origins: what was stored in a local is used as the local is.

        ``fresh``: whether it counts that a set is filled here.
        """
        todo, seen = [(name, fresh) for name in found], set[tuple[str, bool]]()
        while todo:
            name, counts = todo.pop()
            if (name, counts) in seen:
                continue
            seen.add((name, counts))
            if not name.startswith("="):
                if name.startswith("?"):
                    todo.append((name[1:], counts))
                elif name.startswith("~"):
                    todo.append((name[1:], True))
                elif name.startswith("@"):
                    yield from (f"@{owner}" for owner in self._names([name[1:]]))
                elif name in _MAKING or name == FRESH:
                    if counts:
                        yield MADE
                elif name.isidentifier() or name in (MADE, ANY, SELF):
                    yield name
                if name == "self":  # in code that is nested in a method
                    yield SELF
            elif name in self._stored:
                todo.extend([(each, counts) for each in self._stored[name]])
            elif name != "=.0":  # what a comprehension goes through, which its caller took
                yield SELF if self._is_method and name[1:] in self._code.co_varnames[:1] else ANY

    def _local(self, name: str) -> Value:
        """A local; what ``__getattr__`` is asked for is a name that the code that asks holds."""
        return frozenset({_ASKED}) if name == self._asked else frozenset({f"={name}"})

    @cached_property
    def _asked(self) -> str | None:
        code = self._code
        if code.co_name not in _GETTERS or code.co_argcount != 2 or code.co_varnames[1] in code.co_cellvars:
            return None
        name = code.co_varnames[1]
        stored = any(
            s.opname.startswith("STORE_FAST") and name in str(s.argval) for s in dis.get_instructions(code)
        )
        return None if stored else name

    @property
    def _is_method(self) -> bool:
        owner = self._code.co_qualname.rpartition(".")[0]
        return bool(owner) and not owner.endswith("<locals>")

    # -- the stack

    def _pop(self, count: int = 1) -> list[Value]:
        taken = [self._stack.pop() if self._stack else _NOTHING for _ in range(count)]
        return taken[::-1]

    def _push(self, *values: Value) -> None:
        self._stack.extend(values)

    def _use(self, values: Iterable[Value]) -> None:
        for value in values:
            self.used |= value

    def _go_through(self, values: Iterable[Value]) -> None:
        for value in values:
            self.gone_through |= value

    def _take_keys(self, values: Iterable[Value]) -> None:
        for value in values:
            self.keyed |= value

    def _push_item(self, owner: Value, key: Value) -> None:
        if not _is_text(key):
            self._take_keys((owner,))
        elif _ASKED in key:
            self.asked |= owner
        self._push(_item(key))

    def _meet(self) -> None:
        """Control flow meets here: what is on the stack may come from elsewhere, and be used in any way."""
        self._use([value for value in self._stack if value != _MAKING])
        self._stack = [value if value == _MAKING else _NOTHING for value in self._stack]

    # -- instructions

    def _step(self, step: dis.Instruction) -> None:
        name, arg = step.opname, step.arg or 0
        if name.startswith("LOAD_"):
            self._load(step)
        elif name == "STORE_FAST":
            self._stored[f"={step.argval}"] |= self._pop()[0] or {ANY}
        elif name == "CALL":
            self._call(arg)
        elif name in ("CONTAINS_OP", "COMPARE_OP"):
            one, two = self._pop(2)
            if name == "COMPARE_OP" or not _is_text(one):
                self._take_keys((one, two))
            elif _ASKED in one:
                self.asked |= two
            self._push(_NOTHING)
        elif name == "IS_OP":
            self._pop(2)
            self._push(_NOTHING)
        elif name == "BINARY_OP":
            one, two = self._pop(2)
            if step.argrepr == "[]":  # an item, in 3.14
                self._push_item(one, two)
            else:
                self._push(_combined(one | two) if step.argrepr in _SET_OPERATORS else _NOTHING)
        elif name == "BINARY_SUBSCR":
            self._push_item(*self._pop(2))
        elif name == "BUILD_SET":
            self._pop(arg)
            self._push(frozenset({FRESH}) if arg else _MAKING)
        elif name == "SET_UPDATE":
            added = self._pop()[0]
            if 0 < arg <= len(self._stack):
                self._stack[-arg] = frozenset({FRESH}) | added
        elif name in ("SET_ADD", "POP_TOP"):
            self._pop()
        elif name == "GET_ITER":
            self._go_through(self._pop())
            self._push(_NOTHING)
        elif name == "LIST_EXTEND":
            self._go_through(self._pop())
        elif name == "STORE_DEREF":
            stored = self._pop()
            if step.argval in self._code.co_cellvars:
                self._stored[f"={step.argval}"] |= stored[0] or {ANY}
            else:
                self._use(stored)
        elif name.startswith(("POP_JUMP", "JUMP")):
            if name.startswith("POP_JUMP"):
                self._take_keys(self._pop())
            self._meet()
        elif name == "FOR_ITER":
            self._go_through(self._pop())
            self._push(_NOTHING, _NOTHING)
        elif (
            name == "END_FOR"
        ):  # takes the iterator with it up to 3.12, and leaves it to POP_TOP from 3.13 on
            self._pop(0 if sys.version_info >= (3, 13) else 1)
        elif name == "UNARY_NOT":
            self._take_keys(self._pop())
            self._push(_NOTHING)
        elif name == "MAKE_FUNCTION":
            made = self._pop()[0]
            self._use(self._pop(arg.bit_count() if arg < 16 else 0))
            self._push(made)
        elif name == "STORE_ATTR":
            self._use(self._pop(2)[:1])
        elif name == "FORMAT_VALUE":
            self._use(self._pop(2 if arg & 4 else 1))
            self._push(_NOTHING)
        elif name == "RETURN_VALUE":
            given = self._pop()[0]
            if self._code.co_name != "<setcomp>":
                self.returned |= given
        elif name == "PUSH_NULL":
            self._push(_NOTHING)
        elif name == "COPY" and len(self._stack) >= arg:
            self._push(self._stack[-arg])
        elif name == "SWAP" and len(self._stack) >= arg:
            self._stack[-1], self._stack[-arg] = self._stack[-arg], self._stack[-1]
        elif name in _EFFECTS:
            takes, gives = _EFFECTS[name]
            self._use(self._pop(arg if isinstance(takes, str) else takes))
            self._push(*[_NOTHING] * gives)
        else:
            self._other(step)

    def _other(self, step: dis.Instruction) -> None:
        """Anything else may use all that is on the stack, in any way."""
        self._use(self._stack)
        try:
            effect = dis.stack_effect(step.opcode, step.arg, jump=False)
        except ValueError:
            effect = 0
        self._stack = [_NOTHING] * max(0, len(self._stack) + effect)

    def _load(self, step: dis.Instruction) -> None:
        name, argument = step.opname, step.argval
        if name.startswith("LOAD_FAST"):
            names = argument if isinstance(argument, tuple) else (argument,)
            # a cell itself, in 3.13 and newer: what nested code does with what is in it is known from there
            cells = (*self._code.co_cellvars, *self._code.co_freevars)
            self._push(*[_NOTHING if each in cells else self._local(each) for each in names])
        elif name.startswith("LOAD_CONST") or name == "LOAD_SMALL_INT":
            self._push(_constant(argument))
        elif name in ("LOAD_ATTR", "LOAD_METHOD"):
            owner = self._pop()
            if argument in _SET_METHODS:
                self._use(owner)
            elif argument == "__dict__":
                self._push(frozenset({f"@{name}" for name in owner[0]}))
                return
            elif argument in _KEY_METHODS:
                self._take_keys(owner)
            self._uncalled += argument == _GETTERS[0]
            is_method = name == "LOAD_METHOD" or "NULL" in step.argrepr
            value = frozenset({argument})
            if argument in _ASKS_ONE:  # whether it asks for a text is known at the call
                value |= {f"?{each}" for each in owner[0]}
            self._push(value, *([_NOTHING] if is_method else []))
        elif name == "LOAD_GLOBAL":
            null = [_NOTHING] if (step.arg or 0) & 1 else []
            known = _ORDER_FREE | _GOES_THROUGH | _ASKS_BY_NAME
            is_free = argument in known and argument not in self._namespace
            self._uncalled += is_free and argument in _ASKS_BY_NAME
            self._push(*null, frozenset({f"{argument}()" if is_free else argument}))
        elif name == "LOAD_CLOSURE":
            self._push(_NOTHING)
        elif (
            name.startswith("LOAD_SUPER") and argument == _GETTERS[0]
        ):  # 3.12 and newer: of what, is not followed
            self._uncalled += 1
            self._other(step)
        elif name in ("LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF"):
            is_own = name == "LOAD_DEREF" and argument in self._code.co_cellvars
            self._push(frozenset({f"={argument}" if is_own else argument}))
        else:
            self._other(step)

    def _call(self, count: int) -> None:
        taken = self._pop(
            count + 2
        )  # a callable and NULL, or a method and its object, in an order of the version
        called, arguments = taken[0] | taken[1], taken[2:]
        self.keyed |= {
            name for name in called if name[:1] not in "?@'"
        }  # an enum gives the member of a value
        owners = {name[1:] for name in called if name.startswith("?")}
        if not (arguments and _is_text(arguments[0])):
            self.keyed |= owners
        elif _ASKED in arguments[0]:
            self.asked |= owners
        if _GETTERS[0] in called and arguments and _is_text(arguments[0]):
            self._uncalled -= 1
        if called == {"super"}:
            self._push(frozenset({SELF}))
        elif called == {"<setcomp>"}:
            self._push(frozenset({FRESH}))
        elif count and called and called <= _FREE_CALLS:
            self._take_keys(arguments)
            self._push(frozenset({FRESH}).union(*arguments) if called & _MAKERS else _NOTHING)
        elif called and called <= _BY_NAME_CALLS and len(arguments) in (2, 3):
            self._uncalled -= 1
            self._ask(*arguments)
        elif called and called <= _THROUGH_CALLS:
            self._go_through(arguments)
            self._push(_NOTHING)
        else:
            if called and called <= _LISTS_NAMES:
                self.whole.update(*arguments)
            self._use(arguments)
            self._push(_NOTHING)

    def _ask(self, owner: Value, name: Value, *default: Value) -> None:
        """A call of ``getattr`` or ``hasattr``."""
        self._use(default)
        if _is_text(name):
            self.asked |= owner if _ASKED in name else _NOTHING
            self._push(_item(name).union(*default))
        else:
            self.computes |= owner or {ANY}
            self._use((owner, name))
            self._push(_NOTHING)


def _constant(value: object) -> Value:
    if isinstance(value, CodeType):
        return frozenset({value.co_name})
    if isinstance(value, frozenset) and len(value) > 1:
        return frozenset({MADE})
    return frozenset({f"'{value}"}) if isinstance(value, str) else _NOTHING


def _combined(operands: Value) -> Value:
    """What an operator of sets makes: its order need not be that in which they were filled."""
    return operands | {f"~{name}" for name in operands if not name.startswith("~")}


def _is_text(key: Value) -> bool:
    return bool(key) and all(name.startswith("'") for name in key)


def _item(key: Value) -> Value:
    """What ``x["name"]`` gives is known by that name."""
    named = frozenset(name[1:] for name in key if name.startswith("'"))
    return named or frozenset({ANY})


def _blocks(code: CodeType) -> Iterator[Sequence[dis.Instruction]]:
    """Runs of instructions without a way in or out but at their ends."""
    block: list[dis.Instruction] = []
    for step in dis.get_instructions(code):
        if step.is_jump_target and block:
            yield block
            block = []
        block.append(step)
        if step.opname.startswith(_ENDS):
            yield block
            block = []
    if block:
        yield block
