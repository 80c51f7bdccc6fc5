"""Who passes are: `hash_source`, `hash_dict` and `uuid()` of vLLM's, and of its pass manager, as fingerprints."""

from __future__ import annotations

import hashlib
import json
import weakref
from typing import TYPE_CHECKING, Any

from passprint.errors import PipelineError
from passprint.identity import Fingerprint, default_memo
from passprint.passes.naming import name_of
from passprint.pipeline import PassManager
from passprint.pipeline.filters import current_selection
from passprint.pipeline.limits import limit_identity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from passprint.integrations.vllm.bypass import Bypass
    from passprint.integrations.vllm.door import Door


class PassIdentities:
    """Answers who a pass is: by all that it reaches, not by the text of its class.

    What cannot be identified keeps vLLM's plain digest, and the process caches nothing (see `Bypass`).
    """

    def __init__(self, door: Door, bypass: Bypass) -> None:
        self._door = door
        self._bypass = bypass
        self._memo = default_memo()
        self._plain = door.original("hash_source")
        self._plain_dict = door.original("hash_dict")
        self._managers: weakref.WeakKeyDictionary[Any, tuple[object, str]] = weakref.WeakKeyDictionary()

    # -- what stands in the place of vLLM's functions

    def hash_source(self, *srcs: Any) -> str:
        """sha256 (hex) over ``srcs``: texts as they are, of all else the fingerprint."""
        objects = tuple(src for src in srcs if not isinstance(src, str))
        digests = self._digests(objects)
        if None in digests:
            return str(self._plain(*srcs))
        if len(srcs) == 1 and objects:
            return str(digests[0])
        given = iter(digests)
        return _digest(["text", src] if isinstance(src, str) else ["object", next(given)] for src in srcs)

    def hash_dict(self, dict_: dict[Any, Any]) -> str:
        """sha256 (hex) of a dict: as JSON, and by its fingerprint where JSON cannot say it."""
        try:
            return str(self._plain_dict(dict_))
        except TypeError:
            digest = self._digests((dict_,))[0]
            return str(self._plain_dict({"passprint": digest or self._bypass.nonce}))

    def uuid(self, pass_: Any) -> str:
        """The uuid of a pass that has none of its own."""
        return self._digests((pass_,))[0] or str(self._plain(type(pass_)))

    def manager_uuid(self, manager: Any) -> str:
        """The uuid of vLLM's pass manager: the passes in order, flags, what operators are lowered to, the range."""
        members = self._door.members(manager)
        digests = self._digests((*members, manager.pass_config, *self._door.implementations()))
        state = (str(self._door.compile_range()), digests, self._own_uuids(members), self._bypass.nonce)
        known = self._managers.get(manager)
        if known is None or known[0] != state:
            known = self._managers[manager] = (state, _digest(state))
        return known[1]

    # -- for keys

    def of_configuration(self, vllm_config: Any) -> dict[str, object]:
        """By name: the passes of a configuration, the platform's pass manager, what operators are lowered to."""
        parts: dict[str, object] = {"pass manager": self._tree(self._door.manager_class())}
        for hook, pass_ in self._door.configured_passes(vllm_config).items():
            parts[f"{hook} {name_of(pass_)}"] = self._tree(pass_)
            if own := self._own_uuids((pass_,)):
                parts[f"{hook} uuid"] = str(own[0])
        parts["operators"] = self._tree(self._door.implementations())
        selection = current_selection()
        if selection is not None:
            parts["selection"] = str(selection)
        limit = self._limit()
        if limit is not None:
            parts["limit"] = limit
        return parts

    def check(self, vllm_config: Any) -> None:
        """Switch the caches off if a pass of a configuration has no identity, or a limit counts over the process."""
        self._limit()
        for pass_ in self._door.configured_passes(vllm_config).values():
            function = self._door.wrapped_function(pass_)
            if function is not None:
                pass_._uuid = self.hash_source(function)
        self._digests(tuple(self._door.configured_passes(vllm_config).values()))

    def _limit(self) -> str | None:
        try:
            return limit_identity()
        except PipelineError as error:
            self._bypass.begin(str(error), "")
            return None

    def _tree(self, obj: Any) -> Fingerprint:
        if isinstance(obj, PassManager):
            return obj.identity()
        found = self._memo.fingerprint(obj)
        if found.opaque:
            self._bypass.opaque(obj)
        return found

    def _own_uuids(self, members: tuple[Any, ...]) -> tuple[str, ...]:
        """What passes say themselves. It counts besides: it may tell of what no code shows, as a kernel's text."""
        return tuple(str(member.uuid()) for member in members if self._door.has_own_uuid(member))

    def _digests(self, objects: tuple[Any, ...]) -> tuple[str | None, ...]:
        digests = self._memo.digests(objects)
        if any(
            isinstance(obj, PassManager) for obj in objects
        ):  # it says itself who it is, selections and all
            digests = tuple(
                obj.uuid() if isinstance(obj, PassManager) else digest
                for obj, digest in zip(objects, digests, strict=True)
            )
        for obj, digest in zip(objects, digests, strict=True):
            if digest is None:
                self._bypass.opaque(obj)
        return digests


def _digest(parts: Iterable[object]) -> str:
    return hashlib.sha256(json.dumps(list(parts)).encode("utf-8")).hexdigest()
