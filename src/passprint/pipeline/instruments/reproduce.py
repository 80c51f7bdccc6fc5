"""Writes a folder for a pass that fails, from which the failure can be shown again."""

from __future__ import annotations

import hashlib
import sys
import warnings
from pathlib import Path
from typing import TextIO

from passprint.errors import PassError, PassprintError
from passprint.pipeline.graph_file import to_data
from passprint.pipeline.instruments.base import Instrument, PassRun, PipelineRun
from passprint.pipeline.instruments.session import active
from passprint.pipeline.reproducer import Failure, kind_of, place_of, write
from passprint.pipeline.snapshots import Snapshot

#: Instruments that stop a pipeline, which therefore belong to a failure.
_CHECKS = ("verify", "numerics")


class Reproduce(Instrument):
    """For a pass that raises, breaks the graph, or is stopped by Verify or Numerics: a folder that shows it again.

    ``folder``: where the folders are made, ``<pass>-<digest>`` each. ``stream``: where it is said;
    standard error unless given. ``passprint reproduce FOLDER`` runs one in a fresh process, and with ``--reduce``
    makes the graph smaller.
    """

    def __init__(self, folder: str | Path = "passprint-failures", *, stream: TextIO | None = None) -> None:
        self.written: list[Path] = []
        self._folder = Path(folder)
        self._stream = stream
        self._before: dict[PassRun, Snapshot] = {}

    def before_pass(self, run: PassRun) -> None:
        self._before[run] = Snapshot(run.graph)

        # The one before is through: an instrument that objects to it does so before the next pass begins.
        for known in [known for known in self._before if known.within == run.within and known is not run]:
            del self._before[known]

    def after_pipeline(self, run: PipelineRun) -> None:
        for known in [known for known in self._before if run in known.within]:
            del self._before[known]

    def on_error(self, run: PassRun, error: Exception) -> None:
        before = self._before.pop(run, None)
        if before is None or not isinstance(error, PassError):
            return
        try:
            folder = self._write(run, before, error)
        except (PassprintError, OSError) as problem:
            warnings.warn(f"the failure of '{run.name}' could not be written down: {problem}", stacklevel=2)
            return
        self.written.append(folder)
        stream = self._stream if self._stream is not None else sys.stderr
        stream.write(
            f"the failure of '{run.name}' is in {folder}; show it with: passprint reproduce {folder}\n"
        )

    def _write(self, run: PassRun, before: Snapshot, error: PassError) -> Path:
        data, constants = to_data(before)
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
        )
        digest = hashlib.sha256(f"{failure.kind} {text}".encode()).hexdigest()
        folder = self._folder / f"{run.name}-{digest[:8]}"
        write(folder, data, constants, failure, text)
        return folder
