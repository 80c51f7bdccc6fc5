"""What one process of the demo does: ``python -m passprint.demo.child``, a task as JSON on stdin, JSON
lines out.

Each line on stdout is ``{"stage": text}`` or, at the end, ``{"result": …}``. Everything else that is printed
(by torch, compilers, transformers) goes to stderr, which the parent keeps in a file.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from passprint.demo import models
from passprint.demo.task import DEFAULT_PASS, OPT_IN_PASS, PhaseResult, Task

if TYPE_CHECKING:
    import torch

    from passprint.pipeline import PassManager

_COMPILER_PACKAGES = ("torch._dynamo", "torch._functorch.aot_autograd", "torch._inductor.compile_fx")
_SEQUENCE_DIM = 1

Stage = Callable[[str], None]
Call = Callable[["torch.Tensor"], "torch.Tensor"]


def main() -> int:
    """Reads a task, does it, answers. The process exits non-zero with a traceback on stderr when it
    cannot."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # prints of libraries must not mix with the answers

    def answer(**entry: Any) -> None:
        print(json.dumps(entry), file=answers, flush=True)

    task = Task.from_dict(json.loads(sys.stdin.buffer.read()))
    answer(result=perform(task, lambda text: answer(stage=text)))
    answers.close()
    return 0


def perform(task: Task, stage: Stage) -> dict[str, Any]:
    """Does the task in this process; what it found, as JSON data."""
    seconds: dict[str, float] = {}
    stage("importing torch")
    with _timed(seconds, "import torch"):
        import torch
    torch.set_num_threads(task.threads)
    with _timed(seconds, "import transformers"):
        import transformers  # noqa: F401
    if task.kind == "prepare":
        if task.source is None:
            raise ValueError("a prepare task needs its source")
        stage("reading the model" if task.source.kind != "random" else "building the model")
        return asdict(models.prepare(task.source, Path(task.folder), task.prompt))
    return _run_phase(task, seconds, stage).to_dict()


def _run_phase(task: Task, seconds: dict[str, float], stage: Stage) -> PhaseResult:
    import torch

    prepared = task.prepared
    if prepared is None:
        raise ValueError(f"a {task.kind} task needs a prepared model")
    stage("loading the model")
    with _timed(seconds, "load"):
        model = models.load(prepared.folder)
    ids = torch.tensor([prepared.prompt_ids])
    with torch.no_grad():
        stage("to the first logits")
        with _timed(seconds, "first logits"):
            call, compiled = _prepare_call(task, model)
            logits = call(ids)
        steps = [logits]
        with _timed(seconds, "decode"):
            token_ids = _decode(call, ids, steps, task.tokens, stage)
    text = models.decode_text(prepared.folder, token_ids, prepared.has_tokenizer)
    found: dict[str, Any] = {}
    if task.kind == "eager":
        torch.save({"steps": steps, "token_ids": token_ids, "text": text}, task.reference)
    else:
        reference = torch.load(task.reference, weights_only=True)
        found["difference"] = _difference(steps, token_ids, reference["steps"], tuple(reference["token_ids"]))
        found["same_text"] = token_ids == tuple(reference["token_ids"]) and text == reference["text"]
    if task.kind == "baseline":
        from torch._dynamo.utils import counters

        found["graphs"] = int(counters["stats"]["unique_graphs"])
    if task.kind in ("passprint", "library"):
        found["report"] = compiled.report.to_dict()
    if task.kind == "library":
        found["pass_roles"] = _pass_roles()
    return PhaseResult(
        seconds=seconds,
        token_ids=token_ids,
        text=text,
        tokens_per_second=(task.tokens - 1) / seconds["decode"],
        imported=tuple(name for name in _COMPILER_PACKAGES if name in sys.modules),
        **found,
    )


def _prepare_call(task: Task, model: Any) -> tuple[Call, Any]:
    """The function from token numbers to logits, and the compiled object behind it. Compiling starts here."""
    if task.kind == "eager":
        return _logits_of(model), model
    if task.kind == "baseline":
        import torch

        compiled: Any = torch.compile(model, fullgraph=True)
        plain = _logits_of(compiled)

        def marked(ids: torch.Tensor) -> torch.Tensor:
            torch._dynamo.mark_dynamic(ids, _SEQUENCE_DIM)
            return plain(ids)

        return marked, compiled
    import passprint

    passes = _every_pass() if task.kind == "library" else task.passes
    compiled = passprint.compile(
        model, passes=passes, cache=task.cache, dynamic={"input_ids": (_SEQUENCE_DIM,)}
    )
    return _logits_of(compiled), compiled


def _every_pass() -> PassManager:
    from passprint.passes.library import ALL
    from passprint.pipeline import PassManager

    return PassManager([kind() for kind in ALL])


def _pass_roles() -> dict[str, str]:
    """For each library pass, in the library's order, whether the default pipeline has it."""
    from passprint.passes.library import ALL, DEFAULT

    return {kind.name: DEFAULT_PASS if kind in DEFAULT else OPT_IN_PASS for kind in ALL}


def _logits_of(model: Any) -> Call:
    def call(ids: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits
        return logits

    return call


def _decode(
    call: Call, ids: torch.Tensor, steps: list[torch.Tensor], tokens: int, stage: Stage
) -> tuple[int, ...]:
    """Greedy decoding over the growing sequence: ``tokens`` tokens, the first from the logits already in
    ``steps``, to which the last position's logits of every further step are added."""
    import torch

    token_ids = [int(steps[0][0, -1].argmax())]
    while len(token_ids) < tokens:
        stage(f"decoding {len(token_ids) + 1} of {tokens}")
        ids = torch.cat([ids, torch.tensor([[token_ids[-1]]])], dim=_SEQUENCE_DIM)
        last = call(ids)[:, -1].clone()
        steps.append(last)
        token_ids.append(int(last[0].argmax()))
    return tuple(token_ids)


def _difference(
    steps: list[torch.Tensor],
    token_ids: tuple[int, ...],
    reference_steps: list[torch.Tensor],
    reference_ids: tuple[int, ...],
) -> float:
    """The largest absolute difference of logits, over all steps that saw the same tokens. Not a number
    where the logits are not."""
    worst = 0.0
    for index, (logits, reference) in enumerate(zip(steps, reference_steps, strict=True)):
        if token_ids[:index] != reference_ids[:index]:
            break
        found = float((logits - reference).abs().max())
        if not found <= worst:  # also when it is not a number
            worst = found
            if found != found:
                break
    return worst


class _timed:
    """Adds the seconds that a block takes to ``seconds[name]``."""

    def __init__(self, seconds: dict[str, float], name: str) -> None:
        self._seconds = seconds
        self._name = name

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        taken = time.perf_counter() - self._start
        self._seconds[self._name] = self._seconds.get(self._name, 0.0) + taken


if __name__ == "__main__":
    sys.exit(main())
