"""The figures of a whole demo, what counts as a failure, and their JSON form."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from passprint.demo.models import Prepared
from passprint.demo.task import PhaseResult

SCHEMA = 1
TOLERANCE = 1e-3

EAGER = "eager"
COLD = "passprint cold"
WARM = "passprint warm"
BASELINE_COLD = "baseline cold"
BASELINE_WARM = "baseline warm"
LIBRARY = "every pass"


@dataclass(frozen=True)
class PhaseError:
    """Why a phase has no figures: what happened, and the end of its process's stderr."""

    message: str
    tail: str = ""


@dataclass
class DemoResult:
    """All that a demo found. ``phases`` and ``errors`` are keyed by the phase's name."""

    model: str
    prompt: str | None
    prepared: Prepared
    passes: str | None
    environment: dict[str, Any]
    phases: dict[str, PhaseResult] = field(default_factory=dict)
    errors: dict[str, PhaseError] = field(default_factory=dict)

    def failures(self) -> list[str]:
        """One sentence for each failure: a phase without figures, a difference above the tolerance, other
        text."""
        found = [f"{phase}: {error.message}" for phase, error in self.errors.items()]
        for phase, result in self.phases.items():
            if result.difference is not None and not result.difference <= TOLERANCE:
                found.append(
                    f"{phase}: the logits differ from eager's by {result.difference:.2e}, "
                    f"more than {TOLERANCE:.0e}"
                )
            if result.same_text is False:
                found.append(f"{phase}: the decoded text is not eager's: {result.text!r}")
        return found

    def notes(self) -> list[str]:
        """What a reader should know though nothing failed: phases that were not what their name says."""
        found: dict[tuple[str, str | None], list[str]] = {}
        for phase, expected in ((COLD, "cold"), (WARM, "warm"), (LIBRARY, "cold")):
            report = self.report(phase)
            if report is not None and report["status"] != expected:
                found.setdefault((report["status"], report["why"]), []).append(phase)
        return [
            f"{', '.join(phases)}: the compile's status is {status}" + (f": {why}" if why else "")
            for (status, why), phases in found.items()
        ]

    def seconds(self, phase: str, name: str = "first logits") -> float | None:
        """Seconds of one part of a phase, None when the phase did not run."""
        result = self.phases.get(phase)
        return None if result is None else result.seconds.get(name)

    def report(self, phase: str) -> dict[str, Any] | None:
        """The compile report's data of a phase."""
        result = self.phases.get(phase)
        return None if result is None else result.report

    def to_dict(self) -> dict[str, Any]:
        """JSON data, everything included. Figures that are no finite number become text."""
        failures = self.failures()
        data: dict[str, Any] = {
            "schema": SCHEMA,
            "kind": "passprint-demo",
            "model": {
                "name": self.model,
                "layers": self.prepared.layers,
                "parameters": self.prepared.parameters,
            },
            "prompt": {"text": self.prompt, "token_ids": list(self.prepared.prompt_ids)},
            "passes": self.passes,
            "environment": self.environment,
            "phases": {phase: result.to_dict() for phase, result in self.phases.items()},
            "errors": {phase: asdict(error) for phase, error in self.errors.items()},
            "notes": self.notes(),
            "tolerance": TOLERANCE,
            "failures": failures,
            "ok": not failures,
        }
        finite: dict[str, Any] = _finite(data)
        return finite


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
