"""What code can read: the names that its code objects hold, and how they use what is behind them.

A trace goes through code objects. What they can look up has a name: a global, an attribute, a closure's cell, a key
or an attribute among the constants. So what a trace depended on is what lies behind these names, wherever in the reach
of the model it lies (:mod:`passprint.compiler.dependencies.state`); what no inlined code names does not count. The
list of names is stored with a request, and with its present values it gives the key of a program, as in
ccache's direct mode.
"""

from __future__ import annotations

import marshal
import sys
from collections.abc import Iterable, Iterator
from hashlib import sha256
from types import CodeType, FunctionType
from typing import Any, Final, NamedTuple

from passprint.compiler.dependencies.constants import calls_of, is_found, marked
from passprint.compiler.dependencies.uses import ANY, MADE, SELF, uses_of
from passprint.errors import CacheError
from passprint.identity.origin import PYTHON

_LONGEST_NAME: Final = 64
_ENVIRONMENT: Final = frozenset({"environ", "getenv", "environb", "getenvb"})
_COMPUTES_TEXT: Final = frozenset({"join", "format", "upper", "lower", "replace", "removeprefix"})
_HASHES: Final = frozenset({"hash", "__hash__"})

# Functions that Dynamo calls while it traces and whose answer it takes for a constant, though another process has
# another one. By name: the module, and whether they are asked with a text of the code that names them.
_QUESTIONS: Final = {
    "getrecursionlimit": ("sys", False),
    "get_int_max_str_digits": ("sys", False),
    "getswitchinterval": ("sys", False),
    "cpu_count": ("os", False),
    "find_spec": ("importlib.util", True),
    "version": ("importlib.metadata", True),
}


Question = tuple[str, str, tuple[Any, ...], tuple[tuple[str, Any], ...]]
"""A module, a function's name there, positional arguments, named arguments."""


class Inlined(NamedTuple):
    """Code that a trace went through. ``label`` is the distribution that owns it, or None where content counts.

    ``attributes``: where it is the getter of a property, the names of that; how code uses what it gives is known then.
    """

    code: CodeType
    function: FunctionType | None
    module: str | None
    label: str | None
    attributes: frozenset[str] = frozenset()

    @property
    def namespace(self) -> dict[str, Any]:
        """The globals that the code looks names up in, where its function is known."""
        function: Any = self.function
        return {} if function is None else function.__globals__

    @property
    def key(self) -> str:
        """How the code is called in a list: the module and the qualified name."""
        return f"{self.module}:{self.code.co_qualname}"


class CanRead(NamedTuple):
    """What to look at.

    Attributes:
        names: of attributes, globals and keys.
        texts: constants among them; a module may be asked whether it has one.
        ordered: names of sets whose order may count.
        keyed: names of dicts of which any key may be read, and not only those among ``names``; and ``module:Class`` of
            classes derived from dict.
        whole: names of objects, and ``module:Class``, of which every attribute counts; `ANY` for all.
        stored: names of attributes that the code itself sets: their values are left to guards.
        inlined: the code that was gone through, as ``module:qualified.name``.
        roots: functions and classes that are looked up by module and path, beside the model.
        packages: the top packages of installed code that was inlined.
        variables: of the environment, or None where every one may be read.
        questions: what is asked again.
        hashing: code that may depend on the hash of a text.
        operators: the custom operators that the graph calls.
    """

    names: frozenset[str]
    texts: frozenset[str]
    ordered: frozenset[str]
    keyed: frozenset[str]
    whole: frozenset[str]
    stored: frozenset[str]
    inlined: frozenset[str]
    roots: tuple[tuple[str, str], ...] = ()
    packages: tuple[str, ...] = ()
    variables: tuple[str, ...] | None = ()
    questions: tuple[Question, ...] = ()
    hashing: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """The bytes that :meth:`decode` takes: the same for equal lists."""
        return marshal.dumps([sorted(part) if isinstance(part, frozenset) else part for part in self], 2)

    @classmethod
    def decode(cls, data: bytes) -> CanRead:
        """Raises ``CacheError`` for anything else than what :meth:`encode` wrote."""
        try:
            parts: Any = marshal.loads(data)
            parts = [frozenset(part) if isinstance(part, list) else part for part in parts]
            return cls(*parts)
        except (ValueError, EOFError, TypeError) as error:
            raise CacheError(f"A stored list of names cannot be read: {error}") from error

    @property
    def digest(self) -> str:
        """What tells one list from another."""
        return sha256(self.encode()).hexdigest()


_TABLES_OF_ENUMS: Final = frozenset({"_member_map_", "_value2member_map_", "_member_names_"})
"""What the module ``enum`` looks members up in; which of them, the code that asks it says."""


def can_read(inlined: Iterable[Inlined]) -> CanRead:
    """The list for code that a trace went through, without roots."""
    names: set[str] = set()
    texts: set[str] = set()
    ordered: set[str] = set()
    keyed: set[str] = set()
    whole: set[str] = set()
    stored: set[str] = set()
    hashing: list[str] = []
    getters: list[tuple[Inlined, set[str]]] = []
    asked: list[tuple[Inlined, set[str]]] = []
    computes: set[str] = set()
    variables: set[str] | None = set()
    questions: dict[Question, None] = {}
    refused: set[tuple[str, str]] = set()
    reads_environment = False
    code = [each for each in inlined if not _is(each, "passprint")]
    for each in code:
        if _is(each, "torch"):  # what it holds is torch's version's to say, but not what it finds in a module
            if str(each.module).startswith("torch.nn."):
                names |= set(_names(each.code))
            continue
        own_texts = set(_texts(each.code))
        names |= set(_names(each.code)) - (_TABLES_OF_ENUMS if each.module == "enum" else set())
        texts |= own_texts
        stored |= set(_stored(each.code))
        uses = uses_of(each.code, each.namespace)
        ordered |= uses.ordered
        keyed |= {_class_of(each) if name == SELF else name for name in uses.keyed}
        given = {_class_of(each) if name == SELF else name for name in uses.returned}
        asked.append((each, {f"@{_class_of(each)}" if name == f"@{SELF}" else name for name in uses.asked}))
        # code nested in a method has its object by its name, too
        computes |= {_class_of(each) if name in (SELF, "self") else ANY for name in uses.computes}
        if each.attributes:
            getters.append((each, given))
        else:
            ordered |= given
            keyed |= given
        if each.label != PYTHON or "dir" in each.code.co_names:
            whole |= {_class_of(each) if name == SELF else name for name in uses.whole}
        found = set(each.code.co_names)
        if MADE in uses.ordered or (found & _HASHES and each.code.co_name != "__hash__"):
            hashing.append(each.key)
        for name in {name for nested in nested_code(each.code) for name in nested.co_names}:
            constant = marked(each.namespace.get(name))
            if constant is not None:
                path = constant.__module__, constant.__qualname__
                calls = calls_of(each.code, name) if is_found(constant) else None
                refused |= {path} if calls is None else set()
                questions |= {(*path, *call): None for call in calls or ()}
        if each.label == PYTHON:
            continue
        for name in sorted(found & _QUESTIONS.keys()):
            questions |= dict.fromkeys(_asked(name, each, sorted(own_texts)))
        if found & _ENVIRONMENT:
            reads_environment = True
            if variables is not None and (not own_texts or _computes_text(each.code)):
                variables = None
    if reads_environment and variables is not None:
        variables = texts
    # Where code computes names, it is not known what a property is asked by, and what a __getattr__ is asked for.
    for each, named in asked:
        if named and _may_be_asked(each, computes):
            whole |= {name[1:] for name in named if name.startswith("@")}
            keyed |= named
    for each, given in getters:
        if _may_be_asked(each, computes):
            ordered |= given
            keyed |= given
    for _ in getters:  # one may give what another one gave
        for each, given in getters:
            for found in (ordered, keyed, whole):
                if not each.attributes.isdisjoint(found):
                    found |= given
    return CanRead(
        names=frozenset(names | texts),
        texts=frozenset(texts),
        ordered=frozenset(ordered - {ANY, SELF, MADE}),
        keyed=frozenset(keyed - {ANY, MADE}),
        whole=frozenset(whole),
        stored=frozenset(stored),
        inlined=frozenset({each.key for each in code}),
        packages=tuple(sorted({str(e.module).partition(".")[0] for e in code if e.label is not None})),
        variables=None if variables is None else tuple(sorted(variables)),
        questions=tuple(sorted((one for one in questions if one[:2] not in refused), key=repr)),
        hashing=tuple(sorted(set(hashing))),
    )


def _is(each: Inlined, package: str) -> bool:
    return str(each.module).partition(".")[0] == package


def _class_of(each: Inlined) -> str:
    """The class that a method, or code nested in one, stands in."""
    path = each.code.co_qualname.partition(".<locals>")[0]
    return f"{each.module}:{path.rpartition('.')[0]}"


def _may_be_asked(method: Inlined, computes: set[str]) -> bool:
    """Whether the object of a method may be one that is asked for computed names: any, or instances of classes."""
    return ANY in computes or any(_share_instances(_class_of(method), other) for other in computes)


def _share_instances(one: str, other: str) -> bool:
    first, second = _class_at(one), _class_at(other)
    if first is None or second is None or issubclass(first, second) or issubclass(second, first):
        return True
    return any(issubclass(derived, second) for derived in _derived(first))


def _class_at(path: str) -> type | None:
    module, _, names = path.partition(":")
    found: Any = sys.modules.get(module)
    for name in names.split("."):
        found = getattr(found, name, None)
    return found if isinstance(found, type) else None


def _derived(cls: type) -> Iterator[type]:
    below: list[type] = type.__subclasses__(cls)
    for derived in below:
        yield derived
        yield from _derived(derived)


def nested_code(code: CodeType) -> Iterator[CodeType]:
    """A code object and those that are nested in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested_code(constant)


def _names(code: CodeType) -> Iterator[str]:
    for each in nested_code(code):
        yield from each.co_names


def _texts(code: CodeType) -> Iterator[str]:
    """Constants that can be names; those in tuples and sets as well."""
    todo = [constant for each in nested_code(code) for constant in each.co_consts]
    while todo:
        value = todo.pop()
        if type(value) is str:
            if len(value) <= _LONGEST_NAME and value.isidentifier():
                yield value
        elif type(value) in (tuple, frozenset):
            todo.extend(value)


def _stored(code: CodeType) -> Iterator[str]:
    import dis

    for each in nested_code(code):
        for step in dis.get_instructions(each):
            if step.opname == "STORE_ATTR":
                yield step.argval


def _computes_text(code: CodeType) -> bool:
    import dis

    for each in nested_code(code):
        if not _COMPUTES_TEXT.isdisjoint(each.co_names):
            return True
        for step in dis.get_instructions(each):
            if step.opname in ("BUILD_STRING", "FORMAT_VALUE", "FORMAT_SIMPLE") or step.argrepr in ("+", "%"):
                return True
    return False


def _asked(name: str, each: Inlined, texts: list[str]) -> Iterator[Question]:
    module, takes_text = _QUESTIONS[name]
    function = getattr(sys.modules.get(module), name, None)
    namespace = each.namespace
    last = module.rpartition(".")[2]
    if (
        namespace.get(name) is not function
        and last not in each.code.co_names
        and module not in each.code.co_names
    ):
        return  # another one of that name
    if not takes_text:
        yield module, name, (), ()
    for text in _dotted(each.code) if takes_text else ():
        yield module, name, (text,), ()


def _dotted(code: CodeType) -> Iterator[str]:
    """Constants that can name a module or a distribution."""
    for each in nested_code(code):
        for constant in each.co_consts:
            is_name = isinstance(constant, str) and 0 < len(constant) <= _LONGEST_NAME
            if is_name and constant.replace(".", "_").replace("-", "_").isidentifier():
                yield constant
