"""Which passes a model is compiled with, as a start knows it: without importing the default pipeline."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from passprint.compiler.guards.refs import CannotRecordError
from passprint.compiler.lowering import user_code
from passprint.errors import PipelineError
from passprint.identity import Change, Fingerprint

if TYPE_CHECKING:
    from passprint.pipeline import PassManager


class PassesFound(NamedTuple):
    """A digest of the passes, and the tree behind it (None: the default pipeline, not looked at).

    Where nothing has imported the default pipeline, it is what passprint's own files say, and they are checked apart.
    ``users``: there are passes that are not passprint's.
    """

    default: bool = True
    digest: str | None = None
    tree: Fingerprint | None = None
    users: bool = False

    @classmethod
    def of(cls, manager: PassManager, *, default: bool) -> PassesFound:
        """The passes of a manager. Raises :class:`CannotRecordError` where they cannot be identified."""
        try:
            tree = manager.identity()
        except PipelineError as error:
            raise CannotRecordError(str(error)) from error
        if tree.opaque:
            raise CannotRecordError(f"a pass cannot be identified: {tree.opaque[0]}")
        return cls(default, tree.digest, tree, user_code.in_passes(manager.leaves()))

    @property
    def key(self) -> str:
        """What stands for the passes in a program's key: of the default ones, passprint's own files say which."""
        return "default" if self.default else str(self.digest)

    def record(self) -> tuple[bool, str, str]:
        """As a manifest keeps it."""
        assert self.tree is not None
        return (self.default, self.tree.digest, json.dumps(self.tree.to_dict()))

    def difference(self, recorded: tuple[bool, str, str]) -> str | None:
        """Why what was recorded is something else, or None."""
        default, digest, text = recorded
        if self.digest == digest or (self.digest is None and default):
            return None
        older = Fingerprint.from_dict(json.loads(text))
        if self.tree is None:
            return "the program was compiled with other passes than the default"
        from passprint.cache.miss import and_more, without_moved  # only a miss needs it

        changes = without_moved(self.tree.diff(older))
        return f"the passes differ: {and_more([_told(change) for change in changes])}"


_CODE = re.compile(r"[a-z ]+ [0-9a-f]{12}")
"""What a change shows of a part that has no text: its kind and digest."""


def _told(change: Change) -> str:
    """A change in words: of code, that it is another; of a value, which it was and is."""
    if (
        change.kind == "changed"
        and _CODE.fullmatch(change.before or "")
        and _CODE.fullmatch(change.after or "")
    ):
        return f"{change.path.partition(' → ')[2] or change.path} has changed"
    from passprint.cache.miss import change_text  # only a miss needs it

    return change_text(change)
