"""What a pass is: a frozen dataclass with one method, whose identity is its code and its field values."""

from __future__ import annotations

import dataclasses
import weakref
from abc import ABCMeta, abstractmethod
from typing import Any, ClassVar, dataclass_transform

import torch

from passprint.passes.context import CompileRange
from passprint.passes.identity import pass_uuid
from passprint.passes.naming import changed_options, kebab_case, pass_text
from passprint.passes.sources import hash_dict, hash_source
from passprint.passes.torch_door import CustomGraphPass

_PARAMS = "__dataclass_params__"


class _PassType(ABCMeta):
    """Lets an author write ``@dataclass(frozen=True)`` above a class that is one already.

    A second decoration would find a class whose ``field(...)`` declarations the first one has consumed. So
    the first one is taken back when the second begins, which is when it sets its parameters on the class.
    """

    # How a class came to be a dataclass is no part of what its passes do.
    __fingerprint_ignore__ = ("_made", "make_dataclass", "__setattr__")

    _made: ClassVar[weakref.WeakKeyDictionary[type, tuple[set[str], dict[str, Any]]]] = (
        weakref.WeakKeyDictionary()
    )

    def make_dataclass(cls) -> None:
        """Turn ``cls`` into a frozen dataclass, and remember how to take that back."""
        before = dict(vars(cls))
        declared = {name: value for name, value in before.items() if isinstance(value, dataclasses.Field)}
        dataclasses.dataclass(frozen=True)(cls)  # type: ignore[arg-type]
        _PassType._made[cls] = (set(vars(cls)) - set(before), declared)

    def __setattr__(cls, name: str, value: Any) -> None:
        if name == _PARAMS and (made := _PassType._made.pop(cls, None)) is not None:
            added, declared = made
            for attribute in added & set(vars(cls)):
                super().__delattr__(attribute)
            for attribute, field in declared.items():
                super().__setattr__(attribute, field)
        super().__setattr__(name, value)


#: What a class may declare about its place among other passes.
ORDER = ("requires", "after", "before", "invalidates")


def _check_declarations(cls: type[Any]) -> None:
    """Raise TypeError for a declaration that cannot be meant."""
    fields = {field.name for field in dataclasses.fields(cls)}
    if "name" in fields:
        raise TypeError(
            f"{cls.__qualname__} declares a field called 'name', which is what pipelines call the pass. "
            'Rename the field, or write `name: ClassVar[str] = "my-pass"` to choose what it is called'
        )
    for declared in ORDER:
        if declared in fields:
            raise TypeError(
                f"{cls.__qualname__} declares a field called {declared!r}, which is where a pass says its place "
                f'among others. Rename the field, or write `{declared} = ("other-pass",)` without a type'
            )
        names = getattr(cls, declared)
        if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
            raise TypeError(
                f"{cls.__qualname__}.{declared} is {names!r}; it must be a tuple of names of passes, as in "
                f'{declared} = ("noop-elimination",)'
            )


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
@dataclasses.dataclass(frozen=True)
class BasePass(metaclass=_PassType):
    """What all kinds of passes have in common; `InductorPass` is the one for graphs.

    Every subclass is made a frozen dataclass, so fields give equality, text and identity at once. `uuid()`,
    which Inductor puts into its cache keys, is the digest of the pass's fingerprint: its class, its bases,
    what they call, and the field values. ``name`` is the class name in kebab case unless the class sets its
    own, as in ``name: ClassVar[str] = "my-pass"``; it must not be a field (TypeError).

    A class may declare its place among other passes, by their names; a manager checks it when it is built:

    - ``requires``: these must have run before, and nothing since may have invalidated what they did;
    - ``after``, ``before``: if these are in the pipeline at all, they run earlier, or later;
    - ``invalidates``: what these passes did no longer holds afterwards.

    The declarations change no graph, so they are no part of the identity. Each is a tuple of names
    (TypeError for anything else).
    """

    # What a pass is called, where it may stand and how it says who it is changes no graph.
    __fingerprint_ignore__: ClassVar[tuple[str, ...]] = (
        "__deepcopy__",
        "__init_subclass__",
        "__str__",
        "hash_dict",
        "hash_source",
        "uuid",
        *ORDER,
    )

    name: ClassVar[str] = "base-pass"
    requires: ClassVar[tuple[str, ...]] = ()
    after: ClassVar[tuple[str, ...]] = ()
    before: ClassVar[tuple[str, ...]] = ()
    invalidates: ClassVar[tuple[str, ...]] = ()

    #: A pass that sets this to True may leave new nodes without ``meta["val"]``: the manager then computes it.
    fill_meta: ClassVar[bool] = False

    #: A pass that sets this to True asks `may_rewrite(node)` before each rewrite, so that single ones can be held back.
    asks_before_rewrites: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = kebab_case(cls.__name__)
        if _PARAMS not in cls.__dict__:
            cls.make_dataclass()
        _check_declarations(cls)

    def uuid(self) -> str | None:
        """The digest of this pass's fingerprint (64 hex digits), or None when its identity is incomplete.

        None is torch's word for "do not cache"; it comes with one warning that names what is opaque.
        """
        return pass_uuid(self)

    def is_applicable_for_range(self, compile_range: CompileRange) -> bool:
        """Whether to run on graphs compiled for ``compile_range``; a subclass may say no."""
        return True

    def __str__(self) -> str:
        return pass_text(self.name, changed_options(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> BasePass:
        # Inductor deep-copies its whole configuration for each compile; a frozen pass is its own copy.
        return self


class InductorPass(BasePass, CustomGraphPass):
    """A graph pass for Inductor. Write a class with typed fields (its options) and ``__call__(graph)``.

    Name, text, identity and place among other passes are what `BasePass` says.
    """

    @abstractmethod
    def __call__(self, graph: torch.fx.Graph) -> None:
        """Rewrite ``graph`` in place; return nothing."""

    hash_source = staticmethod(hash_source)
    hash_dict = staticmethod(hash_dict)
