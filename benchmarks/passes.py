"""Which passes pay: a decoder layer of SmolLM2 with each pass alone, with the default ones, and without any.

The layer is compiled once for each pipeline and input, then all are called in turn, round by round, so that
what else the machine does falls on all alike. Figures are medians, ratios are to no passes; "none again" is a
second compile of the same thing and shows how far apart two equal programs measure. Where the code that Inductor
writes is the same as without the passes, a ratio other than 1 is noise.
"""

from __future__ import annotations

import hashlib
import re
import statistics
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch._inductor.graph import GraphLowering

from passprint import CompileRange, PassManager, pass_context
from passprint.demo.models import find_model, load, prepare
from passprint.passes.library import ALL, DEFAULT

REPEATS = 60
LENGTH = 64
NO_SLOWER = 1.02

Arguments = tuple[Tensor, Tensor, Tensor, Tensor]


def _pipelines() -> dict[str, PassManager]:
    pipelines = {"none": PassManager(), "none again": PassManager()}
    pipelines |= {kind.name: PassManager([kind()]) for kind in ALL}
    pipelines["default"] = PassManager([kind() for kind in DEFAULT])
    pipelines["all"] = PassManager([kind() for kind in ALL])
    return pipelines


def _layer_of(model: Any) -> types.FunctionType:
    layer = model.model.layers[0]

    def run(hidden: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        result: Tensor = layer(hidden, attention_mask=mask, position_embeddings=(cos, sin))
        return result

    return run


def _arguments(model: Any, length: int, *, dynamic: bool) -> Arguments:
    torch.manual_seed(0)
    hidden = model.model.embed_tokens(torch.randint(0, model.config.vocab_size, (1, length))).detach()
    cos, sin = model.model.rotary_emb(hidden, torch.arange(length)[None])
    mask = torch.zeros(1, 1, length, length).masked_fill(
        torch.ones(length, length).triu(1) > 0, float("-inf")
    )
    if dynamic:
        for tensor in (hidden, cos, sin):
            torch._dynamo.mark_dynamic(tensor, 1)
        for dim in (2, 3):
            torch._dynamo.mark_dynamic(mask, dim)
    return hidden, cos, sin, mask


def _compile(
    layer: types.FunctionType, pipeline: PassManager, arguments: Arguments
) -> tuple[Callable[..., Tensor], dict[str, Any]]:
    """The compiled layer, with its compile seconds, its matches and its largest difference to eager."""
    # A code object of its own: Dynamo keeps what it compiled by code object and looks through all of it.
    own = types.FunctionType(layer.__code__.replace(), layer.__globals__, closure=layer.__closure__)
    compiled = torch.compile(own, fullgraph=True, options=pipeline.options())
    begun = time.perf_counter()
    written: list[str] = []
    with (
        mock.patch.object(GraphLowering, "save_output_code", written.append),
        torch.compiler.config.patch(force_disable_caches=True),
        pass_context(CompileRange.any()) as context,
    ):
        result = compiled(*arguments)
    facts = {
        "compile_seconds": round(time.perf_counter() - begun, 3),
        "matches": sum(count for name, count in context.matches.items() if "/" not in name),
        "code": _program(written),
        "difference": float((result - layer(*arguments)).abs().max()),
    }
    return compiled, facts


def _program(written: list[str]) -> str:
    """A digest of the generated code without comments and without the names that kernels are given."""
    lines = [line for line in "\n".join(written).splitlines() if not line.lstrip().startswith(("#", "//"))]
    return hashlib.sha256(
        re.sub(r"cpp_fused\w*?_(\d+)\b", r"kernel_\1", "\n".join(lines)).encode()
    ).hexdigest()


def _measure(
    compiled: dict[str, Callable[..., Tensor]], arguments: Arguments, repeats: int
) -> dict[str, list[float]]:
    """Milliseconds a call, a list for each; the order turns by one from round to round."""
    times: dict[str, list[float]] = {name: [] for name in compiled}
    names = list(compiled)
    for number in range(repeats):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            begun = time.perf_counter()
            for _ in range(5):
                compiled[name](*arguments)
            times[name].append((time.perf_counter() - begun) / 5 * 1e3)
    return times


def _case(model: Any, repeats: int, *, dynamic: bool) -> dict[str, dict[str, Any]]:
    layer, arguments = _layer_of(model), _arguments(model, LENGTH, dynamic=dynamic)
    compiled, figures = {}, {}
    for name, pipeline in _pipelines().items():
        compiled[name], figures[name] = _compile(layer, pipeline, arguments)
    times = _measure(compiled, arguments, repeats)
    for name, measured in times.items():
        ratios = [mine / base for mine, base in zip(measured, times["none"], strict=True)]
        figures[name]["milliseconds"] = round(statistics.median(measured), 4)
        figures[name]["ratio"] = round(statistics.median(ratios), 4)
        figures[name]["same_code"] = figures[name]["code"] == figures["none"]["code"]
    return figures


def _table(title: str, figures: dict[str, dict[str, Any]]) -> Table:
    table = Table("passes", "matches", "code", "ms a call", "ratio", "compile s", "difference", title=title)
    for name, row in figures.items():
        cells = (
            row["matches"],
            "same" if row["same_code"] else "other",
            f"{row['milliseconds']:.3f}",
            f"{row['ratio']:.3f}",
        )
        table.add_row(name, *map(str, cells), f"{row['compile_seconds']:.1f}", f"{row['difference']:.1e}")
    return table


def run(repeats: int = REPEATS) -> dict[str, Any]:
    """Measure, print a table for each input, and return the figures."""
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        model = load(prepare(find_model("smollm2"), Path(folder), None).folder)
        cases = {}
        for title, dynamic in ((f"length {LENGTH}", False), (f"any length, run with {LENGTH}", True)):
            cases[title] = _case(model, repeats, dynamic=dynamic)
            console.print(_table(f"one decoder layer of SmolLM2, {title}", cases[title]))
    defaults = [figures["default"] for figures in cases.values()]
    holds = all(row["same_code"] or row["ratio"] <= NO_SLOWER for row in defaults)
    verdict = "holds" if holds else "FAILS"
    console.print(
        f"{verdict}: with the default pipeline the code is the same, or no slower (ratio ≤ {NO_SLOWER})"
    )
    return {"cases": cases, "ok": holds}
