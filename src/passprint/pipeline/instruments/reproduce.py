"""Writes a folder for a pass that fails, from which the failure can be shown again."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import ClassVar, TextIO

from passprint.errors import PassError, PassprintError
from passprint.pipeline.graph_file import to_data
from passprint.pipeline.instruments.base import Instrument, PassRun, PipelineRun
from passprint.pipeline.instruments.numerics import Numerics
from passprint.pipeline.instruments.session import active
from passprint.pipeline.reproducer import Failure, GivenInputs, kind_of, place_of, write
from passprint.pipeline.snapshots import Snapshot
from passprint.warned import warn

#: Instruments that stop a pipeline, which therefore belong to a failure.
_CHECKS = ("verify", "numerics")


class Reproduce(Instrument):
    """For a pass that raises, breaks the graph, or is stopped by Verify or Numerics: a folder that shows it again.

    ``folder``: where the folders are made, ``<pass>-<digest>`` each. ``stream``: where it is said;
    standard error unless given. ``passprint reproduce FOLDER`` runs one in a fresh process, and with ``--reduce``
    makes the graph smaller. Of a pass over the scheduler's nodes the graph is kept that the nodes are made from.
    """

    beyond_graphs: ClassVar[bool] = True

    def __init__(self, folder: str | Path = "passprint-failures", *, stream: TextIO | None = None) -> None:
        self.written: list[Path] = []
        self._folder = Path(folder)
        self._stream = stream
        self._before: dict[PassRun, Snapshot] = {}
        self._given: dict[PassRun, GivenInputs] = {}

    def before_pass(self, run: PassRun) -> None:
        self._before[run] = Snapshot(run.graph)
        given = _inputs_of(run)
        if given is not None:
            self._given[run] = given

        # The one before is through: an instrument that objects to it does so before the next pass begins.
        for known in [known for known in self._before if known.within == run.within and known is not run]:
            self._forget(known)

    def after_pipeline(self, run: PipelineRun) -> None:
        for known in [known for known in self._before if run in known.within]:
            self._forget(known)

    def _forget(self, run: PassRun) -> None:
        del self._before[run]
        self._given.pop(run, None)

    def on_error(self, run: PassRun, error: Exception) -> None:
        before = self._before.pop(run, None)
        if before is None or not isinstance(error, PassError):
            return
        try:
            folder = self._write(run, before, error)
        except (PassprintError, OSError) as problem:
            warn(f"the failure of '{run.name}' could not be written down: {problem}")
            return
        self.written.append(folder)
        stream = self._stream if self._stream is not None else sys.stderr
        stream.write(
            f"the failure of '{run.name}' is in {folder}; show it with: passprint reproduce {folder}\n"
        )

    def _write(self, run: PassRun, before: Snapshot, error: PassError) -> Path:
        data, parts = to_data(before)
        text = before.text()
        module, file, attribute = place_of(run.pass_)
        session = active.get()
        heard = session.instruments if session is not None else ()
        failure = Failure(
            pass_name=run.name,
            reason=error.reason,
            kind=kind_of(error),
            node=error.node,
            pipeline=str(run.pass_),
            hook=run.within[0].hook or "post_grad_post",
            module=module,
            file=file,
            attribute=attribute,
            instruments=",".join(str(one) for one in heard if one.name in _CHECKS),
            start=run.context.compile_range.start,
            end=run.context.compile_range.end,
            options={key: value for key, value in run.options.items() if _is_plain(value)},
        )
        digest = hashlib.sha256(f"{failure.kind} {text}".encode()).hexdigest()
        folder = self._folder / f"{run.name}-{digest[:8]}"
        write(folder, data, parts, failure, text, self._given.pop(run, None))
        return folder


def _is_plain(value: object) -> bool:
    """Whether a file gives back what was written."""
    return isinstance(value, (str, int, float, type(None))) or (
        isinstance(value, list) and all(_is_plain(item) for item in value)
    )


def _inputs_of(run: PassRun) -> GivenInputs | None:
    """The inputs on which Numerics compares the graph, if it listens."""
    session = active.get()
    listening = session.instruments if session is not None else ()
    numerics = next((one for one in listening if isinstance(one, Numerics)), None)
    inputs = None if numerics is None else numerics.inputs_of(run)
    if numerics is None or inputs is None:
        return None
    names = [node.name for node in run.graph.nodes if node.op == "placeholder"]
    return GivenInputs(dict(zip(names, inputs, strict=False)), numerics.tolerances, numerics.seed)
