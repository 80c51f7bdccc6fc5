"""What a code object is, and which names it reaches.

What differs by Python version is here and in ``opcodes.py``. Read against CPython 3.11, 3.12, 3.13 and 3.14.
"""

from __future__ import annotations

import os
import weakref
from types import CodeType

from passprint.identity.canonical import canonical
from passprint.identity.digests import pack
from passprint.identity.opcodes import (
    ATTR_SHIFTS,
    BETWEEN_IMPORT_AND_STORE,
    CALLS,
    IMPORT_FROM,
    IMPORT_NAME,
    KINDS,
    LOAD_CONST,
    LOCAL_KINDS,
    LOCAL_LOADS,
    LOCAL_PAIRS,
    LOCAL_STORES,
    LOCAL_USES,
    NAME_SHIFTS,
    NULLS,
    SIMPLE_LOADS,
    SMALL_INT,
    is_plain,
    move_constants,
    read_chains,
    read_instructions,
    without_caches,
)
from passprint.identity.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_CO_OPTIMIZED = 0x1
_CO_HAS_DOCSTRING = 0x4000000  # 3.14
_CO_UNCOUNTED = _CO_HAS_DOCSTRING


def _probe(source: str) -> CodeType:
    scope: dict[str, Any] = {}
    exec(compile(source, "<passprint probe>", "exec"), scope)
    found: CodeType = scope["f"].__code__
    return found


_EMPTY_DOC_SLOT = _probe("def f(): return 70000").co_consts[:1] == (None,)
# From 3.14 on the first constant is kept though nothing loads it: a docstring, or whatever else came first.
_KEEPS_FIRST = _probe("def f(x): return x + 1").co_consts == (1,)
_FLAGGED_DOC = bool(_probe("def f():\n 'doc'").co_flags & _CO_HAS_DOCSTRING)
_NO_DOC_NAMES = frozenset({"<lambda>", "<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"})


class ImportRef(Record):
    """A name imported inside a function.

    ``module`` and ``level`` are as written, ``taken`` is the name taken from it (None: the module itself).
    ``uses`` are the attribute chains that follow uses of the variable; an empty one is a use of it as such.
    """

    __slots__ = ("module", "level", "taken", "uses")  # noqa: RUF023  (in the order of arguments)

    module: str
    level: int
    taken: str | None
    uses: tuple[tuple[str, ...], ...]

    def __init__(self, module: str, level: int, taken: str | None, uses: tuple[tuple[str, ...], ...]) -> None:
        self._fill(module, level, taken, uses)


class CodeFacts:
    """What one code object, nested ones included, is and reaches.

    ``computed`` has the objects of which an attribute is taken by a computed name:
    ``getattr(OBJECT, <computed>)``.
    """

    __slots__ = ("chains", "computed", "imports", "payload")

    def __init__(
        self,
        payload: bytes,
        chains: tuple[tuple[str, ...], ...],
        imports: tuple[ImportRef, ...],
        computed: tuple[tuple[str, ...], ...],
    ) -> None:
        self.payload = payload
        self.chains = chains
        self.imports = imports
        self.computed = computed


def _attributes_after(
    code: CodeType, steps: list[tuple[int, int]], position: int
) -> tuple[tuple[str, ...], int]:
    """The attribute chain that starts at a position, and where it ends."""
    names = []
    while position < len(steps) and steps[position][0] in ATTR_SHIFTS:
        op, arg = steps[position]
        names.append(code.co_names[arg >> ATTR_SHIFTS[op]])
        position += 1
    return tuple(names), position


def _uses_of_local(
    code: CodeType, steps: list[tuple[int, int]], uses: list[int], variable: int
) -> tuple[tuple[str, ...], ...]:
    """The chains that follow uses of a local variable; one that a nested function sees is used as such.

    ``uses`` are the places of the steps that use any local.
    """
    name = code.co_varnames[variable] if variable < len(code.co_varnames) else ""
    if not name or name in code.co_cellvars:
        return ((),)
    found: dict[tuple[str, ...], None] = {}
    for position in uses:
        op, arg = steps[position]
        if op in LOCAL_LOADS:
            if arg == variable:
                found[_attributes_after(code, steps, position + 1)[0]] = None
        elif op in LOCAL_PAIRS:
            if arg >> 4 == variable:
                found[()] = None
            if arg & 15 == variable:
                found[_attributes_after(code, steps, position + 1)[0]] = None
        elif variable in (arg, arg >> 4, arg & 15):
            found[()] = None
    return tuple(found)


def _read_imports(code: CodeType, steps: list[tuple[int, int]]) -> list[ImportRef]:
    found = []
    places = [place for place, step in enumerate(steps) if step[0] == IMPORT_NAME and place >= 2]
    uses_of_any = [place for place, step in enumerate(steps) if step[0] in LOCAL_USES] if places else []
    for position in places:
        (level_op, level_arg), (_, from_arg) = steps[position - 2 : position]
        level = level_arg if level_op == SMALL_INT else code.co_consts[level_arg]
        module = code.co_names[steps[position][1]]
        if code.co_consts[from_arg] is None:
            found.append(_plain_import(code, steps, uses_of_any, position + 1, module, level))
            continue
        at = position + 1
        while at < len(steps) and steps[at][0] == IMPORT_FROM:
            taken = code.co_names[steps[at][1]]
            at, uses = _stored(code, steps, uses_of_any, at + 1)
            found.append(ImportRef(module, level, taken, uses))
        if at == position + 1:
            found.append(ImportRef(module, level, None, ((),)))  # from module import *
    return found


def _plain_import(
    code: CodeType, steps: list[tuple[int, int]], uses_of_any: list[int], at: int, module: str, level: int
) -> ImportRef:
    """``import a.b`` binds ``a``; ``import a.b as c`` binds ``a.b``."""
    renamed = False
    while at < len(steps) and steps[at][0] in (IMPORT_FROM, *BETWEEN_IMPORT_AND_STORE):
        renamed = True
        at += 1
    uses = _stored(code, steps, uses_of_any, at)[1]
    if not renamed and "." in module:
        top, _, rest = module.partition(".")
        inner = tuple(rest.split("."))
        # The submodules are attributes of what is bound, so uses start at the top.
        return ImportRef(top, level, None, uses or (inner,))
    return ImportRef(module, level, None, uses)


def _stored(
    code: CodeType, steps: list[tuple[int, int]], uses_of_any: list[int], at: int
) -> tuple[int, tuple[tuple[str, ...], ...]]:
    """The position after a store, and the uses of the variable stored to."""
    if at < len(steps) and steps[at][0] in LOCAL_STORES:
        return at + 1, _uses_of_local(code, steps, uses_of_any, steps[at][1])
    return at + 1, ((),)


def _read_getattrs(
    code: CodeType, steps: list[tuple[int, int]]
) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Chains that ``getattr`` with a constant name makes, and objects of which a computed name is taken."""
    constant: list[tuple[str, ...]] = []
    computed: list[tuple[str, ...]] = []
    taken = {
        index << shift | flag
        for index, name in enumerate(code.co_names)
        if name == "getattr"
        for shift in (0, 1)
        for flag in range(1 << shift)
    }
    for position in [
        place for place, step in enumerate(steps) if step[1] in taken and step[0] in NAME_SHIFTS
    ]:
        op, arg = steps[position]
        if code.co_names[arg >> NAME_SHIFTS[op]] != "getattr":
            continue
        at = position + 1
        while at < len(steps) and steps[at][0] in NULLS:
            at += 1
        if at >= len(steps) or steps[at][0] not in NAME_SHIFTS:
            continue  # of a parameter or local: what it holds is known from elsewhere, or given by the caller
        first = code.co_names[steps[at][1] >> NAME_SHIFTS[steps[at][0]]]
        rest, at = _attributes_after(code, steps, at + 1)
        name = code.co_consts[steps[at][1]] if at < len(steps) and steps[at][0] == LOAD_CONST else None
        after = at + 1
        if after < len(steps) and steps[after][0] in SIMPLE_LOADS:
            after += 1  # the default
        if type(name) is str and after < len(steps) and steps[after][0] in CALLS:
            constant.append((first, *rest, name))
        else:
            computed.append((first, *rest))
    return constant, computed


def _has_docstring(code: CodeType) -> bool:
    if _FLAGGED_DOC:
        return bool(code.co_flags & _CO_HAS_DOCSTRING)
    return (
        bool(code.co_flags & _CO_OPTIMIZED)
        and bool(code.co_consts)
        and type(code.co_consts[0]) is str
        and code.co_name not in _NO_DOC_NAMES
        and not code.co_name.startswith("<generic parameters")
    )


def _without_docstring(code: CodeType, text: bytes) -> tuple[bytes, tuple[Any, ...]]:
    """The code and constants that the compiler makes where the docstring is left out."""
    consts = code.co_consts
    rest = consts[1:]
    if not _EMPTY_DOC_SLOT:
        places = [0, *range(len(rest))]
        kept = rest
    elif None in rest:
        moved = rest.index(None) + 1
        places = [0 if i == moved else i - (i > moved) for i in range(len(consts))]
        kept = (None, *rest[: moved - 1], *rest[moved:])
    else:
        return text, (None, *rest)
    if len(consts) > 255:
        return text, (None, *rest)
    rewritten = move_constants(text, bytes(places))
    return (text, consts) if rewritten is None else (rewritten, kept)


def _without_unused_first(code: CodeType, text: bytes) -> tuple[bytes, tuple[Any, ...]]:
    """The code and constants less a first constant that nothing loads, so that a docstring makes no difference."""
    consts = code.co_consts
    if not consts or len(consts) > 255:
        return text, consts
    rest = consts[1:]
    moved = move_constants(text, bytes([0, *range(len(rest))]))
    return (text, consts) if moved is None else (moved, rest)


def _split_consts(
    consts: tuple[Any, ...], nested: list[CodeFacts]
) -> tuple[tuple[Any, ...], tuple[tuple[int, str, bytes], ...]]:
    """The plain constants, None in the places of others, and those by their place."""
    if is_plain(consts):
        return consts, ()
    plain = []
    others = []
    for index, const in enumerate(consts):
        if is_plain(const):
            plain.append(const)
            continue
        plain.append(None)
        if type(const) is CodeType:
            inner = code_facts_in_python(const)
            nested.append(inner)
            others.append((index, "code", inner.payload))
        else:
            others.append((index, "data", canonical(const)))
    return tuple(plain), tuple(others)


def _counted_parts(code: CodeType, text: bytes) -> tuple[bytes, tuple[Any, ...]]:
    """The code and constants without a docstring, and without what one makes the compiler keep."""
    if _KEEPS_FIRST:
        return _without_unused_first(code, text)
    if _has_docstring(code):
        return _without_docstring(code, text)
    return text, code.co_consts


def read_facts_in_python(code: CodeType) -> CodeFacts:
    """The facts of a code object, read anew."""
    text = code.co_code
    names = code.co_names
    counted, consts = _counted_parts(code, text)
    nested: list[CodeFacts] = []
    payload = pack(
        (
            code.co_name,
            code.co_argcount,
            code.co_posonlyargcount,
            code.co_kwonlyargcount,
            code.co_flags & ~_CO_UNCOUNTED,
            names,
            code.co_varnames,
            code.co_freevars,
            code.co_cellvars,
            without_caches(counted),
            code.co_exceptiontable,
            _split_consts(consts, nested),
        )
    )
    chains = read_chains(text, names)
    has_steps = "getattr" in names or IMPORT_NAME in text[::2]
    if not has_steps and not nested:
        return CodeFacts(payload, tuple(chains), (), ())
    imports: dict[ImportRef, None] = {}
    computed: dict[tuple[str, ...], None] = {}
    if has_steps:
        steps = read_instructions(text)
        imports.update(dict.fromkeys(_read_imports(code, steps)))
        if "getattr" in names:
            constant, unknown = _read_getattrs(code, steps)
            chains.update(dict.fromkeys(constant))
            computed.update(dict.fromkeys(unknown))
    for inner in nested:
        chains.update(dict.fromkeys(inner.chains))
        imports.update(dict.fromkeys(inner.imports))
        computed.update(dict.fromkeys(inner.computed))
    return CodeFacts(payload, tuple(chains), tuple(imports), tuple(computed))


class _Reference(weakref.ref[CodeType]):
    """A weak reference to a code object that knows where its facts are."""

    __slots__ = ("key",)

    key: int


class _Table:
    """The facts of code objects, as long as those live. What it has met so far is no part of what code does."""

    __fingerprint_ignore__ = ("known",)

    def __init__(self) -> None:
        self.known: dict[int, tuple[_Reference, CodeFacts]] = {}

    def forget(self, reference: _Reference) -> None:
        """Drop the facts of a code object that is gone."""
        self.known.pop(reference.key, None)


_FACTS = _Table()


def code_facts_in_python(code: CodeType) -> CodeFacts:
    """The facts of a code object, remembered as long as it lives (code objects never change)."""
    known = _FACTS.known.get(id(code))
    if known is not None:
        return known[1]
    facts = read_facts_in_python(code)
    reference = _Reference(code, _FACTS.forget)
    reference.key = id(code)
    _FACTS.known[reference.key] = (reference, facts)
    return facts


try:
    if os.environ.get("PASSPRINT_PURE_PYTHON"):
        raise ImportError("PASSPRINT_PURE_PYTHON is set")
    from passprint.identity import _facts
except ImportError:
    code_facts: Callable[[CodeType], CodeFacts] = code_facts_in_python
else:
    _facts.setup(
        CodeFacts,
        ImportRef,
        canonical,
        read_facts_in_python,
        KINDS,
        LOCAL_KINDS,
        (IMPORT_NAME, IMPORT_FROM, LOAD_CONST, SMALL_INT),
        (_CO_UNCOUNTED, _CO_HAS_DOCSTRING),
        (_KEEPS_FIRST, _FLAGGED_DOC, _EMPTY_DOC_SLOT),
    )
    code_facts = _facts.code_facts


def forget_facts() -> None:
    """Forget the facts of all code objects, so that a first answer can be measured again."""
    _FACTS.known.clear()
    if code_facts is not code_facts_in_python:
        _facts.forget()
