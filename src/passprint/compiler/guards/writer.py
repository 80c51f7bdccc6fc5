"""Guards of a trace as generated Python: cheap enough for every call, and free of torch's compiler.

Three functions come out. ``fetch(model, args, kwargs)`` gives the classes, functions and modules that guards name, so
that a later process can hold them against their references. ``check`` says which guard does not hold (its number, or
-1) and is run at every call; it hands all tensors, each once, to a function ``tensors``. ``rest`` has those guards only
that do not hold anyway while all that is watched is what it was (:mod:`passprint.compiler.guards.pins`); it gives the
tensors that are reached otherwise, or None where one fails. Each expression is evaluated once: common parts become
variables. Of hooks there are no guards: the ledger has rows for them.

The kinds of guards are those of ``torch/_dynamo/guards.py``, read against torch 2.11 to 2.13. A kind or an expression
that is not known here is a reason to record nothing, never a reason to leave a guard out.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import CodeType, FunctionType, ModuleType
from typing import Any

import torch

from passprint.compiler.guards.code import flatten_context, ordered_keys, tensor_text
from passprint.compiler.guards.facts import GuardFact, TensorFact
from passprint.compiler.guards.pins import Pins
from passprint.compiler.guards.refs import CannotRecordError, find
from passprint.compiler.guards.scope import Scope
from passprint.compiler.guards.source import Sources, Values

# Held by the check of modes (compiler/start/ambient.py) at every call.
_AMBIENT = frozenset(
    {
        "GRAD_MODE",
        "DETERMINISTIC_ALGORITHMS",
        "GLOBAL_STATE",
        "TORCH_FUNCTION_STATE",
        "DEFAULT_DEVICE",
        "AUTOGRAD_SAVED_TENSORS_HOOKS",
        "DUAL_LEVEL",
        "FUNCTORCH_STACK_MATCH",
    }
)
_SAME_OBJECT = frozenset({"ID_MATCH", "MODULE_MATCH", "CLASS_MATCH", "BUILTIN_MATCH", "FUNCTION_MATCH"})
_EASY = (bool, int, str, float, bytes, type(None))
_OF_TORCH = (torch.dtype, torch.layout, torch.memory_format)

_OF_HOOKS = re.compile(r"_(forward|backward)(_pre)?_hooks(_with_kwargs(\[\d+\])?|_always_called(\[\d+\])?)?$")
_NUMBERED = re.compile(r"_hooks\[\d+\]")
_ARGUMENTS = ("L['args']", "L['kwargs']")

# Dynamo's own modules count by torch's version; what they hold is no part of what a user can change.
_DYNAMO = "torch._dynamo"


@dataclass
class GuardCode:
    """The guards of one trace as code, with what the code names.

    ``objects[i]`` is what ``fetch`` gives at place ``i``, and people call it ``names[i]``; ``modules``
    names the modules that the code reaches as ``m0``, ``m1``, …; ``told[n]`` says what guard ``n`` is. ``tensors`` are
    the facts of the tensors that are handed to ``tensors``, in order: source, kind, sizes and strides. ``open_tensors``
    are the numbers of those that ``rest`` gives.
    """

    code: CodeType
    objects: list[object]
    names: list[str]
    modules: list[str]
    told: list[str]
    tensors: list[tuple[Any, ...]]
    open_tensors: list[int]


@dataclass
class GuardWriter:
    """Writes the functions for the guards of one trace, whose frame has these locals and globals."""

    frame_locals: Mapping[str, Any]
    frame_globals: Mapping[str, Any]
    tensor_facts: Mapping[str, TensorFact]
    modules: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    hooked: list[object] = field(default_factory=list)
    """What has the hooks that were looked at; its rows in the ledger say which they are, and no guard does."""

    def __post_init__(self) -> None:
        self._sources = sources = Sources()
        self._values = Values(sources, self.frame_locals, self.frame_globals)
        self._pins = Pins(None, {}, sources, ())
        self._check, self._fetch = (Scope(sources, self.global_name, self.imported) for _ in range(2))
        self._rest = Scope(sources, self.global_name, self.imported, self._pinned_class)
        self._here = self._check
        self._written: set[str] = set()
        self._asked: set[str] = set()
        self._open_tensors: dict[int, str] = {}
        self._fetched: list[str] = []
        self.objects: list[object] = []
        self._named: list[str] = []
        self._constants: dict[int, tuple[object, str]] = {}
        self._tensor_names: dict[int, tuple[object, str, str, int]] = {}
        self._tensor_meta: list[tuple[Any, ...]] = []

    def check(self, facts: Sequence[GuardFact]) -> None:
        """Write ``check`` and ``fetch``. Raises :class:`CannotRecordError` for a guard that has no stable form."""
        for fact in facts:
            self._one(fact)
        tensors = ", ".join(name for _, _, name, _ in self._tensor_names.values())
        self._fail_if(
            f"not tensors({tensors})", GuardFact("the dtype, device, sizes or strides of a tensor", "")
        )

    def finish(self, facts: Sequence[GuardFact], watched: Sequence[tuple[Any, ...]]) -> GuardCode:
        """Write ``rest``, now that it is known what a walk watches, and put all together."""
        self._here = self._rest
        self._pins = Pins(self.frame_locals.get("model"), self.frame_globals, self._sources, watched)
        for fact in facts:
            if fact.kind not in _AMBIENT and not self._is_pinned(fact):
                self._one(fact)
        open_tensors = "".join(f"{name}, " for name in self._open_tensors.values())
        source = "\n".join(
            [
                *_function("fetch", self._fetch.lines, f"[{', '.join(self._fetched)}]"),
                *_function("check", self._check.lines, "-1"),
                *_function("rest", self._rest.lines, f"({open_tensors})"),
            ]
        )
        return GuardCode(
            compile(source, "<passprint guards>", "exec"),
            self.objects,
            self._named,
            self.modules,
            self.told,
            self._tensor_meta,
            list(self._open_tensors),
        )

    # -- names

    def global_name(self, name: str) -> str:
        """How the generated code names a global of the traced frame: only modules and builtins have a stable name."""
        value = self.frame_globals.get(name)
        if name.startswith("__builtins_dict__"):
            return "builtins_dict"
        if not isinstance(value, ModuleType):
            raise CannotRecordError(f"a guard is on the global {name}, a {type(value).__qualname__}")
        return self._module(value)

    def imported(self, package: str) -> str:
        """How the generated code names a package that guards reach by importing it."""
        module = sys.modules.get(package)
        if module is None:
            raise CannotRecordError(f"a guard is on the module {package}, which is not imported")
        return self._module(module)

    def _module(self, module: ModuleType) -> str:
        if module.__name__ not in self.modules:
            self.modules.append(module.__name__)
        return f"m{self.modules.index(module.__name__)}"

    def _is_pinned(self, fact: GuardFact) -> bool:
        """Whether the guard reads only what is watched, and so does what it is compared with."""
        if fact.kind == "TENSOR_MATCH":
            first = self._tensor_names.get(id(self._evaluate(fact.source)))
            if first is not None and not self._pins.covers(GuardFact("TENSOR_MATCH", first[1])):
                return False
        return self._pins.covers(fact)

    def _pinned_class(self, node: ast.expr) -> str | None:
        cls = self._pins.class_of(node)
        return None if cls is None else self._constant(cls, ast.unparse(node), "type({})")

    def _evaluate(self, source: str) -> Any:
        try:
            return self._values.of(source)
        except Exception as error:
            raise CannotRecordError(f"the guard on {source} cannot be read: {error}") from error

    def _set_of(self, source: str) -> str | None:
        """The set that a source takes an item of (``list(x)[0]``), or None."""
        for text in _LISTED.findall(source):
            if isinstance(self._evaluate(text), (set, frozenset)):
                return str(text)
        return None

    def _readable(self, source: str) -> str:
        """An expression as a person would write it: ``model.blocks.0.eps``, ``net.FACTOR``."""
        for alias in set(_GLOBAL.findall(source)):
            name = getattr(self.frame_globals.get(alias), "__name__", alias)
            source = source.replace(f"G['{alias}']", "builtins" if alias.startswith("__builtins") else name)
        source = _TABLE.sub(r".\1", source)
        return (
            source.replace("L['model']", "model")
            .replace("L['args']", "args")
            .replace("L['kwargs']", "kwargs")
        )

    def _is_dynamos(self, source: str) -> bool:
        if not source.startswith("G['"):
            return False
        value = self.frame_globals.get(source[3:].partition("'")[0])
        if type(value) is dict:
            return _is_of_a_namedtuple(value)
        return isinstance(value, ModuleType) and (value.__name__ + ".").startswith(f"{_DYNAMO}.")

    def _constant(self, value: object, source: str, form: str = "{}") -> str:
        """A name for an object that is fetched (``form`` of the source) and checked when the program is loaded."""
        known = self._constants.get(id(value))
        if known is None:
            name = f"k{len(self._fetched)}"
            self._fetched.append(form.format(self._fetch.source(source)))
            self.objects.append(value)
            self._named.append(self._readable(source))
            known = self._constants[id(value)] = (value, name)
        return known[1]

    def _fail_if(self, condition: str, fact: GuardFact) -> None:
        if self._here is self._rest:
            if condition not in self._asked:
                self._asked.add(condition)
                self._rest.lines.append(f"if {condition}: return None")
        elif condition not in self._written:
            self._written.add(condition)
            self._check.lines.append(f"if {condition}: return {len(self.told)}")
            self.told.append(f"{self._readable(fact.source or fact.kind)}{_detail(fact)}")

    # -- kinds

    def _one(self, fact: GuardFact) -> None:
        kind, source = fact.kind, fact.source
        if kind in _AMBIENT or self._is_dynamos(source):
            return
        if _OF_HOOKS.search(source) and not source.startswith(_ARGUMENTS):
            self.hooked.append(self._evaluate(source.rpartition(".")[0]))
            return
        if _NUMBERED.search(source):
            raise CannotRecordError("a hook is found by its number, which is another one in each process")
        if kind == "SHAPE_ENV":
            self._conditions(fact)
            return
        if kind == "DUPLICATE_INPUT":
            other = str(fact.detail)
            if not self._is_dynamos(other):
                self._fail_if(f"{self._here.source(other)} is not {self._here.source(source)}", fact)
            return
        of_set = self._set_of(source)
        if of_set is not None:  # an item by its place in a set: the set has to be equal, in whatever order
            self._keys(GuardFact("SET_CONTAINS", of_set), self._here.source(of_set), self._evaluate(of_set))
            return
        value = self._evaluate(source)
        here = self._here.source(source)
        if kind == "TENSOR_MATCH":
            self._tensor(fact, value)
        elif kind == "TENSOR_SUBCLASS_METADATA_MATCH":
            context = self._constant(flatten_context(value), source, "flatten_context({})")
            self._fail_if(f"not same(flatten_context({here}), {context})", fact)
        elif kind == "TYPE_MATCH":
            cls = self._constant(type(value), source, "type({})")
            self._fail_if(f"type({here}) is not {cls}", fact)
        elif kind in ("CLOSURE_MATCH", "FUNCTION_MATCH") and type(value) is FunctionType:
            self._constant(value, source)
            code = self._constant(value.__code__, source, "{}.__code__")
            self._fail_if(f"{here}.__code__ is not {code}", fact)
        elif kind in _SAME_OBJECT or kind == "CLOSURE_MATCH":
            self._fail_if(f"{here} is not {self._constant(value, source)}", fact)
        elif kind in ("CONSTANT_MATCH", "EQUALS_MATCH", "BOOL_MATCH", "NONE_MATCH"):
            self._equal(fact, here, value)
        elif kind in ("SEQUENCE_LENGTH", "EMPTY_NN_MODULE_HOOKS_DICT"):
            cls = self._constant(type(value), source, "type({})")
            self._fail_if(f"type({here}) is not {cls} or len({here}) != {len(value)}", fact)
        elif kind in ("DICT_KEYS_MATCH", "MAPPING_KEYS_CHECK"):
            self._keys(fact, here, value)
        elif kind in ("DICT_CONTAINS", "DICT_NOT_CONTAINS", "SET_CONTAINS", "SET_NOT_CONTAINS"):
            self._contains(fact, here, value)
        elif kind == "ORDER":
            if isinstance(value, dict):
                ordered = GuardFact(kind, source, "in this order")
                self._keys(ordered, f"list(dict.keys({here}))", list(dict.keys(value)))
        elif kind == "HASATTR":
            there = hasattr(value, str(fact.detail))
            self._fail_if(f"hasattr({here}, {str(fact.detail)!r}) is not {there}", fact)
        elif kind == "NOT_PRESENT_IN_GENERIC_DICT":
            self._fail_if(f"{str(fact.detail)!r} in {here}.__dict__", fact)
        elif kind == "CONSTANT_SUBCLASS_MATCH":
            base = next(cls for cls in (int, float, str, bytes, complex) if isinstance(value, cls))
            self._fail_if(f"repr({base.__name__}({here})) != {repr(base(value))!r}", fact)
        elif kind in ("NOT_NONE_MATCH", "WEAKREF_ALIVE"):
            self._fail_if(f"{here} is None", fact)
        else:
            raise CannotRecordError(
                f"a guard of the kind {kind} (on {source}) has no form that can be stored"
            )

    def _conditions(self, fact: GuardFact) -> None:
        for text in fact.conditions:
            tree = ast.parse(text, mode="eval").body
            told = GuardFact(text, "")
            self._fail_if(f"not {self._here.value(tree)}", told)

    def _equal(self, fact: GuardFact, here: str, value: object) -> None:
        if value is None or value is True or value is False:
            self._fail_if(f"{here} is not {value}", fact)
        elif type(value) in (int, str, bytes):
            self._fail_if(f"type({here}) is not {type(value).__name__} or {here} != {value!r}", fact)
        elif isinstance(value, (torch.dtype, torch.layout, torch.memory_format, type, CodeType)):
            self._fail_if(f"{here} is not {self._constant(value, fact.source)}", fact)
        elif isinstance(value, (list, set, dict)):
            name = self._constant(value, fact.source, "copied({})")
            self._fail_if(f"not same({here}, {name})", fact)
        else:
            name = self._constant(value, fact.source)
            self._fail_if(f"{here} is not {name} and not same({here}, {name})", fact)

    def _keys(self, fact: GuardFact, here: str, value: Any) -> None:
        """The keys of a mapping in their order, or the members of a set in any."""
        if isinstance(value, (set, frozenset)):
            members = self._constant(frozenset(value), fact.source, "frozenset({})")
            self._fail_if(f"{here} != {members}", fact)
            return
        form, keys = "list({})", list(value)
        if isinstance(value, OrderedDict):  # its order is not the one that it has as a dict
            form, keys = "ordered_keys({})", ordered_keys(value)
        elif isinstance(value, dict):
            form, keys = "list(dict.keys({}))", list(dict.keys(value))
        whole = form.format(here)
        if all(type(key) in (str, int, bool, type(None)) for key in keys):
            self._fail_if(f"{whole} != {keys!r}", fact)
            return
        names = [self._constant(key, fact.source, f"{form}[{index}]") for index, key in enumerate(keys)]
        self._fail_if(f"{whole} != [{', '.join(names)}]", fact)

    def _contains(self, fact: GuardFact, here: str, value: Any) -> None:
        if isinstance(fact.detail, _OF_TORCH):
            key = f"{self._module(torch)}.{str(fact.detail).removeprefix('torch.')}"
        elif isinstance(fact.detail, Enum) and _is_named(fact.detail):
            cls = type(fact.detail)
            key = f"{self._module(sys.modules[cls.__module__])}.{cls.__qualname__}[{fact.detail.name!r}]"
        elif type(fact.detail) in _EASY or (
            type(fact.detail) is tuple and all(type(part) in _EASY for part in fact.detail)
        ):
            key = repr(fact.detail)
        else:
            kind = type(fact.detail).__qualname__
            raise CannotRecordError(f"a guard asks whether {fact.source} holds a {kind}")
        kind = "dict" if fact.kind.startswith("DICT") else "set"
        call = f"{key} in {here}" if type(value) is dict else f"{kind}.__contains__({here}, {key})"
        if kind == "set" and not isinstance(value, set):
            call = f"{key} in {here}"
        expected = "NOT" not in fact.kind
        self._fail_if(f"({call}) is not {expected}", fact)

    def _tensor(self, fact: GuardFact, value: Any) -> None:
        if not isinstance(value, torch.Tensor):
            raise CannotRecordError(f"{fact.source} is a {type(value).__qualname__}")
        if type(value) not in _PLAIN and not hasattr(value, "__tensor_flatten__"):
            raise CannotRecordError(
                f"{fact.source} is a tensor subclass, {type(value).__qualname__}, without parts"
            )
        if value.layout is not torch.strided:
            raise CannotRecordError(f"{fact.source} has the layout {value.layout}")
        if fact.source.startswith(_FROM_NUMPY):
            self._numpy_class(fact, fact.source.removeprefix(_FROM_NUMPY)[:-1])
        here = self._here.source(fact.source)
        known = self._tensor_names.get(id(value))
        if known is not None and known[1] != fact.source:
            self._fail_if(f"{here} is not {self._here.source(known[1])}", fact)
            return
        if known is not None:
            self._open_tensors[known[3]] = here
        else:
            self._new_tensor(fact, value, here)
        self._marks(fact, value, here)

    def _numpy_class(self, fact: GuardFact, source: str) -> None:
        """What numpy has is guarded as the tensor that it becomes; a tensor would do for that too."""
        cls = self._constant(type(self._evaluate(source)), source, "type({})")
        self._fail_if(f"type({self._here.source(source)}) is not {cls}", fact)

    def _new_tensor(self, fact: GuardFact, value: torch.Tensor, here: str) -> None:
        self._tensor_names[id(value)] = (value, fact.source, here, len(self._tensor_names))
        fixed = self.tensor_facts.get(fact.source) or TensorFact(tuple(value.shape), tuple(value.stride()))
        self._tensor_meta.append((fact.source, tensor_text(value), fixed.sizes, fixed.strides))

    def _marks(self, fact: GuardFact, value: torch.Tensor, here: str) -> None:
        """Which dimensions of an argument the caller marked."""
        if not fact.source.startswith("L['model']"):
            for mark in (
                "_dynamo_dynamic_indices",
                "_dynamo_weak_dynamic_indices",
                "_dynamo_unbacked_indices",
                "_dynamo_strict_unbacked_indices",
                "_dynamo_static_indices",
            ):
                allowed = sorted(getattr(value, mark, ()))
                self._fail_if(
                    f"not getattr({here}, {mark!r}, none).issubset({set(allowed) or set()!r})"
                    if allowed
                    else f"getattr({here}, {mark!r}, none)",
                    fact,
                )


def _is_of_a_namedtuple(scope: dict[str, Any]) -> bool:
    """The globals that ``collections.namedtuple`` gives a ``__new__``: no module's, and the same for all."""
    names = {"__builtins__", "__name__", "_tuple_new"}
    return scope.keys() == names and scope["_tuple_new"] is tuple.__new__


_LISTED = re.compile(r"list\(([^()]+)\)\[\d+\]")
_PLAIN = (torch.Tensor, torch.nn.Parameter)
_FROM_NUMPY = "___from_numpy("  # how Dynamo writes the tensor that an array becomes
_GLOBAL = re.compile(r"G\['(\w+)'\]")
_TABLE = re.compile(r"\._(?:modules|parameters|buffers)\['([^']+)'\]")


def _is_named(member: Enum) -> bool:
    """Whether a member of an enumeration is found again by its name and the class's."""
    cls = type(member)
    try:
        return find(cls.__module__, cls.__qualname__) is cls and member.name in cls.__members__
    except LookupError:
        return False


def _detail(fact: GuardFact) -> str:
    return "" if fact.detail is None else f" ({fact.detail})"


def _function(name: str, lines: Sequence[str], result: str) -> list[str]:
    return [f"def {name}(model, args, kwargs):", *(f"    {line}" for line in lines), f"    return {result}"]
