"""What a pipeline is, for a cache: the hook, the range of sizes, the order, every pass, and the limit in force."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from passprint.errors import PipelineError
from passprint.identity import Fingerprint, compose, default_memo
from passprint.passes import CompileRange, current_pass_context
from passprint.passes.naming import name_of
from passprint.pipeline.limits import limit_identity
from passprint.pipeline.members import has_default_uuid

if TYPE_CHECKING:
    from passprint.pipeline.manager import PassManager

_ANY_SIZE = str(CompileRange.any())


class PipelineIdentity:
    """The identity of one manager, as it runs under the selection in force.

    ``extra``: what counts beside the passes, by name. Asked again, `uuid` only asks the members whether they are what
    they were.
    """

    def __init__(self, manager: PassManager, extra: Mapping[str, object]) -> None:
        self._manager = manager
        self._extra = extra
        self._passes = manager.passes
        self._own = tuple(member for member in self._passes if has_default_uuid(member))
        self._changing = tuple(one for one in manager.instruments if one.changes_graph)
        self._asked = (*self._own, *self._changing)
        self._known: tuple[tuple[object, ...], str] | None = None

    def uuid(self, *, is_limited: bool = False) -> str | None:
        """The digest of `tree`, or None when a member has no identity, or the limit leaves none."""
        parts = self._uuids()
        if parts is None:
            return None
        if is_limited:
            try:
                parts = (limit_identity(), *parts)
            except PipelineError:
                return None
        known = self._known
        if known is None or known[0] != parts:
            known = self._known = (parts, self.tree(is_limited=is_limited).digest)
        return known[1]

    def tree(self, *, is_limited: bool = False) -> Fingerprint:
        """Named parts. Raises PipelineError for a pass that brings its own uuid and has none, and for the limit."""
        manager = self._manager
        if manager.hook is None:
            return compose("pipeline", {hook: stage.identity() for hook, stage in manager.stages.items()})
        parts: dict[str, object] = {
            "hook": manager.hook,
            "range": _active_range(),
            "order": tuple(name_of(pass_) for pass_ in self._passes),
        }
        for position, pass_ in enumerate(self._passes):
            parts[f"{position} {name_of(pass_)}"] = _identity_of(pass_)
        for instrument in self._changing:
            parts[f"instrument {instrument.name}"] = default_memo().fingerprint(instrument)
        parts |= self._extra
        if is_limited and (limit := limit_identity()) is not None:
            parts["limit"] = limit
        return compose("pipeline", parts)

    def _uuids(self) -> tuple[object, ...] | None:
        digests = default_memo().digests(self._asked)
        if None in digests:
            for pass_, digest in zip(self._own, digests, strict=False):
                if digest is None:
                    pass_.uuid()  # says once what is opaque
            return None
        if len(self._own) == len(self._passes):
            return (_active_range(), digests)
        ours = iter(digests)
        uuids = [next(ours) if has_default_uuid(pass_) else self._uuid_of(pass_) for pass_ in self._passes]
        return (_active_range(), *uuids, *ours) if all(uuids) else None

    def _uuid_of(self, pass_: Any) -> Any:
        # inside a hook's pipeline what is selected has been settled already, and the limit counts once
        inner = identity_in(pass_)
        return inner.uuid() if inner is not None and self._manager.hook is not None else pass_.uuid()


def identity_in(pass_: Any) -> PipelineIdentity | None:
    """The identity of a manager that stands inside another one; None for a pass."""
    found = getattr(pass_, "inner_identity", None)
    return found if isinstance(found, PipelineIdentity) else None


def _identity_of(pass_: Any) -> object:
    inner = identity_in(pass_)
    if inner is not None:
        return inner.tree()
    if has_default_uuid(pass_):
        return default_memo().fingerprint(pass_)
    uuid = pass_.uuid()
    if not uuid:
        raise PipelineError(
            f"the pass '{name_of(pass_)}' ({type(pass_).__qualname__}) has no uuid, so the pipeline has no "
            "identity. Let it inherit from passprint.InductorPass, or return a uuid()"
        )
    return uuid


def _active_range() -> str:
    context = current_pass_context()
    return _ANY_SIZE if context is None else str(context.compile_range)
