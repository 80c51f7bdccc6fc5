"""What a code object is, and which names it reaches. Everything that differs by Python version is here.

Read against CPython 3.11, 3.12, 3.13 and 3.14. ``co_code`` is the code before it warms up, with zeroed
inline caches, so its opcodes (even bytes) and arguments (odd bytes) can be searched apart from each other
with regular expressions, which is much faster than a loop over instructions.
"""

from __future__ import annotations

import opcode
import re
import sys
import weakref
from types import CodeType

from passprint.identity.canonical import canonical, frame
from passprint.identity.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_OP = {name: code for name, code in opcode.opmap.items() if code < 256}  # less the pseudo ones
_EXTENDED = _OP["EXTENDED_ARG"]
_CO_OPTIMIZED = 0x1
_CO_HAS_DOCSTRING = 0x4000000  # 3.14
_CO_UNCOUNTED = _CO_HAS_DOCSTRING

# The arguments of these hold flags in their lowest bits: 3.11 has LOAD_METHOD, 3.12 folded it into LOAD_ATTR.
_ATTR_SHIFT = 1 if sys.version_info >= (3, 12) else 0
_GLOBAL_SHIFT = 1
_NAME_SHIFTS = {
    code: shift
    for name, shift in {
        "LOAD_GLOBAL": _GLOBAL_SHIFT,
        "LOAD_NAME": 0,
        "LOAD_FROM_DICT_OR_GLOBALS": 0,
    }.items()
    if (code := _OP.get(name)) is not None
}
_ATTR_SHIFTS = {
    code: shift
    for name, shift in {"LOAD_ATTR": _ATTR_SHIFT, "LOAD_METHOD": 0}.items()
    if (code := _OP.get(name)) is not None
}
_SHIFTS = {**_NAME_SHIFTS, **_ATTR_SHIFTS}


def _any_of(codes: Any) -> bytes:
    return b"[" + b"".join(re.escape(bytes([code])) for code in codes) + b"]"


def _codes(*names: str) -> list[int]:
    return [_OP[name] for name in names if name in _OP]


_EXT = re.escape(bytes([_EXTENDED]))
_ATTRS = b"(?:" + _EXT + b"*" + _any_of(_ATTR_SHIFTS) + b"\0*)*"
_CHAIN = re.compile(_any_of(_NAME_SHIFTS) + b"\0*" + _ATTRS, re.DOTALL)
_STEP = re.compile(b"[^\0" + _EXT + b"]", re.DOTALL)
_CONST_LOADS = re.compile(
    _any_of(_codes("LOAD_CONST", "RETURN_CONST", "KW_NAMES", "LOAD_CONST_IMMORTAL", "LOAD_CONST_MORTAL"))
)
_IMPORT_NAME, _IMPORT_FROM = _OP["IMPORT_NAME"], _OP["IMPORT_FROM"]
_LOAD_CONST = _OP["LOAD_CONST"]
_SMALL_INT = _OP.get("LOAD_SMALL_INT", -1)
_LOCAL_LOADS = frozenset(_codes("LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW", "LOAD_FAST_AND_CLEAR"))
_LOCAL_PAIRS = frozenset(_codes("LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW"))
_LOCAL_STORES = frozenset(_codes("STORE_FAST"))
_LOCAL_USES = frozenset(opcode.haslocal) - _LOCAL_STORES
_SIMPLE_LOADS = frozenset((_LOAD_CONST, _SMALL_INT, *_LOCAL_LOADS, *_NAME_SHIFTS))
_NULLS = frozenset(_codes("PUSH_NULL", "NULL"))
_CALLS = frozenset(_codes("PRECALL", "CALL"))
_BETWEEN_IMPORT_AND_STORE = frozenset(_codes("SWAP", "POP_TOP", "ROT_TWO"))


def _probe(source: str) -> CodeType:
    scope: dict[str, Any] = {}
    exec(compile(source, "<passprint probe>", "exec"), scope)
    found: CodeType = scope["f"].__code__
    return found


_EMPTY_DOC_SLOT = _probe("def f(): return 70000").co_consts[:1] == (None,)
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


def _argument(ops: bytes, args: bytes, position: int) -> int:
    """An instruction's argument with what its EXTENDED_ARG prefixes add."""
    value = args[position]
    shift = 8
    while position > 0 and ops[position - 1] == _EXTENDED:
        position -= 1
        value |= args[position] << shift
        shift += 8
    return value


def _read_chains(code: CodeType, ops: bytes, args: bytes) -> dict[tuple[str, ...], None]:
    names = code.co_names
    found: dict[tuple[str, ...], None] = {}
    for match in _CHAIN.finditer(ops):
        start, end = match.span()
        chain = []
        for at in range(start, end):
            op = ops[at]
            if op and op != _EXTENDED:
                arg = _argument(ops, args, at) if ops[at - 1] == _EXTENDED else args[at]
                chain.append(names[arg >> _SHIFTS[op]])
        found[tuple(chain)] = None
    return found


def _instructions(code: CodeType, ops: bytes, args: bytes) -> list[tuple[int, int]]:
    """Every opcode with its whole argument; caches and argument prefixes are left out."""
    if _EXTENDED not in ops:
        return [(op, arg) for op, arg in zip(ops, args, strict=True) if op]
    found = []
    high = 0
    for op, arg in zip(ops, args, strict=True):
        if op == _EXTENDED:
            high = (high | arg) << 8
        elif op:
            found.append((op, high | arg))
            high = 0
    return found


def _attributes_after(
    code: CodeType, steps: list[tuple[int, int]], position: int
) -> tuple[tuple[str, ...], int]:
    """The attribute chain that starts at a position, and where it ends."""
    names = []
    while position < len(steps) and steps[position][0] in _ATTR_SHIFTS:
        op, arg = steps[position]
        names.append(code.co_names[arg >> _ATTR_SHIFTS[op]])
        position += 1
    return tuple(names), position


def _uses_of_local(
    code: CodeType, steps: list[tuple[int, int]], variable: int
) -> tuple[tuple[str, ...], ...]:
    """The chains that follow uses of a local variable; one that a nested function sees is used as such."""
    name = code.co_varnames[variable] if variable < len(code.co_varnames) else ""
    if not name or name in code.co_cellvars:
        return ((),)
    found: dict[tuple[str, ...], None] = {}
    for position in [at for at, (op, _) in enumerate(steps) if op in _LOCAL_USES]:
        op, arg = steps[position]
        if op in _LOCAL_LOADS:
            if arg == variable:
                found[_attributes_after(code, steps, position + 1)[0]] = None
        elif op in _LOCAL_PAIRS:
            if arg >> 4 == variable:
                found[()] = None
            if arg & 15 == variable:
                found[_attributes_after(code, steps, position + 1)[0]] = None
        elif variable in (arg, arg >> 4, arg & 15):
            found[()] = None
    return tuple(found)


def _read_imports(code: CodeType, steps: list[tuple[int, int]]) -> list[ImportRef]:
    found = []
    for position, (op, arg) in enumerate(steps):
        if op != _IMPORT_NAME or position < 2:
            continue
        (level_op, level_arg), (_, from_arg) = steps[position - 2 : position]
        level = level_arg if level_op == _SMALL_INT else code.co_consts[level_arg]
        module = code.co_names[arg]
        if code.co_consts[from_arg] is None:
            found.append(_plain_import(code, steps, position + 1, module, level))
            continue
        at = position + 1
        while at < len(steps) and steps[at][0] == _IMPORT_FROM:
            taken = code.co_names[steps[at][1]]
            at, uses = _stored(code, steps, at + 1)
            found.append(ImportRef(module, level, taken, uses))
        if at == position + 1:
            found.append(ImportRef(module, level, None, ((),)))  # from module import *
    return found


def _plain_import(
    code: CodeType, steps: list[tuple[int, int]], at: int, module: str, level: int
) -> ImportRef:
    """``import a.b`` binds ``a``; ``import a.b as c`` binds ``a.b``."""
    renamed = False
    while at < len(steps) and steps[at][0] in (_IMPORT_FROM, *_BETWEEN_IMPORT_AND_STORE):
        renamed = True
        at += 1
    uses = _stored(code, steps, at)[1]
    if not renamed and "." in module:
        top, _, rest = module.partition(".")
        inner = tuple(rest.split("."))
        # The submodules are attributes of what is bound, so uses start at the top.
        return ImportRef(top, level, None, uses or (inner,))
    return ImportRef(module, level, None, uses)


def _stored(code: CodeType, steps: list[tuple[int, int]], at: int) -> tuple[int, tuple[tuple[str, ...], ...]]:
    """The position after a store, and the uses of the variable stored to."""
    if at < len(steps) and steps[at][0] in _LOCAL_STORES:
        return at + 1, _uses_of_local(code, steps, steps[at][1])
    return at + 1, ((),)


def _read_getattrs(
    code: CodeType, steps: list[tuple[int, int]]
) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Chains that ``getattr`` with a constant name makes, and objects of which a computed name is taken."""
    constant: list[tuple[str, ...]] = []
    computed: list[tuple[str, ...]] = []
    for position, (op, arg) in enumerate(steps):
        if op not in _NAME_SHIFTS or code.co_names[arg >> _NAME_SHIFTS[op]] != "getattr":
            continue
        at = position + 1
        while at < len(steps) and steps[at][0] in _NULLS:
            at += 1
        if at >= len(steps) or steps[at][0] not in _NAME_SHIFTS:
            continue  # of a parameter or local: what it holds is known from elsewhere, or given by the caller
        first = code.co_names[steps[at][1] >> _NAME_SHIFTS[steps[at][0]]]
        rest, at = _attributes_after(code, steps, at + 1)
        name = code.co_consts[steps[at][1]] if at < len(steps) and steps[at][0] == _LOAD_CONST else None
        after = at + 1
        if after < len(steps) and steps[after][0] in _SIMPLE_LOADS:
            after += 1  # the default
        if type(name) is str and after < len(steps) and steps[after][0] in _CALLS:
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


def _without_docstring(code: CodeType, text: bytes, ops: bytes) -> tuple[bytes, tuple[Any, ...]]:
    """The code and constants that the compiler makes where the docstring is left out."""
    consts = code.co_consts
    rest = consts[1:]
    if not _EMPTY_DOC_SLOT:
        where = {0: 0, **{index: index - 1 for index in range(1, len(consts))}}
        kept = rest
    elif None in rest:
        moved = rest.index(None) + 1
        where = {i: 0 if i == moved else i - (i > moved) for i in range(len(consts))}
        kept = (None, *rest[: moved - 1], *rest[moved:])
    else:
        return text, (None, *rest)
    if len(consts) > 255:
        return text, (None, *rest)
    rewritten = bytearray(text)
    for match in _CONST_LOADS.finditer(ops):
        at = 2 * match.start() + 1
        if rewritten[at] == 0:
            return text, consts  # the docstring is also used as a value: leave all as it is
        rewritten[at] = where[rewritten[at]]
    return bytes(rewritten), kept


_PLAIN_CONSTS = frozenset({type(None), bool, int, float, complex, str, bytes, type(Ellipsis)})


def _const_bytes(consts: tuple[Any, ...], nested: list[CodeFacts]) -> bytes:
    """Constants by type and value; ``ascii`` of a tuple of plain constants is unambiguous and quick."""
    if _PLAIN_CONSTS.issuperset(map(type, consts)):
        return ascii(consts).encode()
    items = []
    for const in consts:
        if type(const) is CodeType:
            inner = code_facts(const)
            nested.append(inner)
            items.append(frame(b"C", inner.payload))
        else:
            items.append(canonical(const))
    return b"".join(items)


def _build_facts(code: CodeType) -> CodeFacts:
    text = code.co_code
    ops, args = text[::2], text[1::2]
    consts = code.co_consts
    if _has_docstring(code):
        text, consts = _without_docstring(code, text, ops)
    nested: list[CodeFacts] = []
    head = (
        code.co_name,
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_flags & ~_CO_UNCOUNTED,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
    )
    payload = b"".join(
        (
            frame(b"h", ascii(head).encode()),
            frame(b"o", text),
            frame(b"x", code.co_exceptiontable),
            frame(b"k", _const_bytes(consts, nested)),
        )
    )
    chains = _read_chains(code, ops, args)
    imports: dict[ImportRef, None] = {}
    computed: dict[tuple[str, ...], None] = {}
    if _IMPORT_NAME in ops or "getattr" in code.co_names:
        steps = _instructions(code, ops, args)
        imports.update(dict.fromkeys(_read_imports(code, steps)))
        constant, unknown = _read_getattrs(code, steps)
        chains.update(dict.fromkeys(constant))
        computed.update(dict.fromkeys(unknown))
    for inner in nested:
        chains.update(dict.fromkeys(inner.chains))
        imports.update(dict.fromkeys(inner.imports))
        computed.update(dict.fromkeys(inner.computed))
    return CodeFacts(payload, tuple(chains), tuple(imports), tuple(computed))


_FACTS: dict[int, tuple[weakref.ref[CodeType], CodeFacts]] = {}


def code_facts(code: CodeType) -> CodeFacts:
    """The facts of a code object, remembered as long as it lives (code objects never change)."""
    key = id(code)
    known = _FACTS.get(key)
    if known is not None:
        return known[1]
    facts = _build_facts(code)
    _FACTS[key] = (weakref.ref(code, lambda _: _FACTS.pop(key, None)), facts)
    return facts
