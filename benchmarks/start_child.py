"""One start of one peer on one model: ``python -m benchmarks.start_child SPEC`` prints one line of JSON.

What counts as the start is everything from the loaded model to the first result, less the median of later calls:
importing the peer and the compiler, tracing, compiling, looking up, loading, binding. The model runs once before, as it
is, so that reading its weights for the first time is no part of it.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.start_models import load, result_of

CALLS = 5
_COMPILER = ("torch._dynamo", "torch._inductor")

Call = Callable[..., Any]


def plain(model: Any, arguments: dict[str, Any], blocks: list[Any], spec: dict[str, Any]) -> Call:
    import torch

    compiled: Call = torch.compile(model, fullgraph=True)
    return compiled


def regional(model: Any, arguments: dict[str, Any], blocks: list[Any], spec: dict[str, Any]) -> Call:
    for block in blocks:
        block.compile(fullgraph=True)
    call: Call = model
    return call


def _entry(model: Any, arguments: dict[str, Any]) -> Any:
    """What ``aot_compile`` compiles: a plain function of a module (it cannot store a decorated ``forward``)."""
    return model(**arguments)


def aot_compile(model: Any, arguments: dict[str, Any], blocks: list[Any], spec: dict[str, Any]) -> Call:
    """Dynamo's artifact of a function that calls the model; made where there is none yet.

    All guards are left out of it, which is not safe: with those that models have, torch refuses to store it.
    The modules that its code names and that it does not hold are noted when it is made, and given when it is loaded.
    """
    import torch

    file, noted = Path(spec["artifact"]), Path(spec["artifact"] + ".json")
    if not file.exists():
        options = {"guard_filter_fn": torch.compiler.skip_all_guards_unsafe}
        compiled: Any = torch.compile(_entry, fullgraph=True, options=options)
        compiled.aot_compile(((model, arguments), {})).save_compiled_function(str(file))
        noted.write_text(json.dumps(_names_not_held(file)), encoding="utf-8")
    with file.open("rb") as data:
        loaded = torch.compiler.load_compiled_function(data, f_globals=_modules(noted))
    return lambda **given: loaded(model, given)


def _names_not_held(file: Path) -> dict[str, str]:
    """The global names that an artifact of ``aot_compile`` asks for, each with the module that it means."""
    import torch

    try:
        with file.open("rb") as data:
            torch.compiler.load_compiled_function(data)
    except RuntimeError as error:
        found = {one[0]: one[1] for one in _MODULE_NAME.findall(str(error))}
        if not found:
            raise
        return found
    return {}


def _modules(noted: Path) -> dict[str, Any]:
    """The modules that were noted for an artifact, by the names that its code has for them."""
    names = json.loads(noted.read_text(encoding="utf-8"))
    return {name: importlib.import_module(module) for name, module in names.items()}


_MODULE_NAME = re.compile(r"'(___module_(\w+?)_\d+_c\d+)'")


def caching_precompile(
    model: Any, arguments: dict[str, Any], blocks: list[Any], spec: dict[str, Any]
) -> Call:
    """The prototype behind ``TORCH_CACHING_PRECOMPILE=1`` (the parent sets it).

    It fails to load what it made of a decorated ``forward``, so it is given a plain function, and the modules that its
    stored code names and does not define.
    """
    import torch

    file = Path(spec["artifact"])
    if file.exists():
        torch.compiler.load_cache_artifacts(file.read_bytes())
    noted = Path(spec["artifact"] + ".json")
    entry: Any = torch.compile(_entry, fullgraph=True)

    def compiled(**given: Any) -> Any:
        return entry(model, given)

    if file.exists():
        globals().update(_modules(noted))
        return compiled
    compiled(**arguments)
    named = {name: value.__name__ for name, value in globals().items() if name.startswith("___module_")}
    noted.write_text(json.dumps(named), encoding="utf-8")
    saved = torch.compiler.save_cache_artifacts()
    if saved is None:
        raise RuntimeError("torch gave no cache artifacts")
    file.write_bytes(saved[0])
    return compiled


def precompile(model: Any, arguments: dict[str, Any], blocks: list[Any], spec: dict[str, Any]) -> Call:
    """The prototype ``torch.compiler.precompile`` (from torch 2.15): captured ahead of time, loaded without a check.

    What it captures may take tensors by position and give tensors.
    """
    import torch

    made: Any = getattr(torch.compiler, "precompile", None)
    if not hasattr(made, "capture"):
        raise RuntimeError(f"torch {torch.__version__} has no torch.compiler.precompile")
    tensors = {name: value for name, value in arguments.items() if isinstance(value, torch.Tensor)}
    others = {name: value for name, value in arguments.items() if name not in tensors}

    def entry(model: Any, *given: Any) -> Any:
        return result_of(model(**dict(zip(tensors, given, strict=True)), **others))

    files = {"artifact_path": spec["artifact"] + ".py", "cache_path": spec["artifact"] + ".cache"}
    if not Path(files["artifact_path"]).exists():
        with made.capture(entry, **files) as capture:
            capture(model, *tensors.values())
    loaded = made.load(*files.values())
    return lambda **given: loaded(model, *[given[name] for name in tensors])


def aoti(model: Any, arguments: dict[str, Any], blocks: list[Any], spec: dict[str, Any]) -> Call:
    """AOTInductor's package; ``nested`` compiles the repeated block once."""
    import torch

    file = Path(spec["artifact"])
    if not file.exists():
        if spec["peer"] == "aoti-nested":
            kind: Any = type(blocks[0])
            kind.forward = torch.compiler.nested_compile_region(kind.forward)
        exported = torch.export.export(model, (), kwargs=arguments, strict=False)
        torch._inductor.aoti_compile_and_package(exported, package_path=str(file))
    loaded: Any = torch._inductor.aoti_load_package(str(file))
    return lambda **given: loaded(**given)


def passprint_(model: Any, arguments: dict[str, Any], blocks: list[Any], spec: dict[str, Any]) -> Call:
    import passprint

    compiled: Call = passprint.compile(model, cache=spec["cache"])
    return compiled


def _options(spec: dict[str, Any]) -> dict[str, Any]:
    return {"cache": spec["cache"]}


def door_of_models(model: Any, arguments: dict[str, Any], blocks: list[Any], spec: dict[str, Any]) -> Call:
    import torch

    compiled: Call = torch.compile(model, backend="passprint", options=_options(spec))
    return compiled


def door_in_place(model: Any, arguments: dict[str, Any], blocks: list[Any], spec: dict[str, Any]) -> Call:
    model.compile(backend="passprint", options=_options(spec))
    call: Call = model
    return call


def door_of_methods(model: Any, arguments: dict[str, Any], blocks: list[Any], spec: dict[str, Any]) -> Call:
    import torch

    model.forward = torch.compile(model.forward, backend="passprint", options=_options(spec))
    call: Call = model
    return call


PEERS: dict[str, Callable[..., Call]] = {
    "eager": lambda model, *_: model,
    "plain": plain,
    "regional": regional,
    "aot_compile": aot_compile,
    "caching_precompile": caching_precompile,
    "precompile": precompile,
    "aoti": aoti,
    "aoti-nested": aoti,
    "passprint": passprint_,
    "torch.compile(model)": door_of_models,
    "model.compile()": door_in_place,
    "torch.compile(model.forward)": door_of_methods,
}


def main(spec: dict[str, Any]) -> dict[str, Any]:
    """Measure one start (seconds, MB); ``difference`` is the largest one from eager."""
    began = time.perf_counter()
    import torch

    torch_s = time.perf_counter() - began
    model, arguments, blocks = load(spec["model"], spec["folder"])
    before = [name for name in _COMPILER if name in sys.modules]
    with torch.no_grad():
        expected = result_of(model(**arguments))
        began = time.perf_counter()
        call = PEERS[spec["peer"]](model, arguments, blocks, spec)
        prepared = time.perf_counter() - began
        first = call(**arguments)
        total = time.perf_counter() - began
        after = [name for name in _COMPILER if name in sys.modules]
        times = []
        for _ in range(CALLS):
            began = time.perf_counter()
            call(**arguments)
            times.append(time.perf_counter() - began)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        forward = statistics.median(times)
    found: dict[str, Any] = {
        "import torch": torch_s,
        "start": max(total - forward, 0.0),
        "prepare": prepared,
        "first result": total,
        "forward": forward,
        "peak MB": peak,
        "difference": float((result_of(first) - expected).abs().max()),
        "imported by the model": before,
        "imported": after,
    }
    report = getattr(call, "report", None)
    if report is None and "passprint" in sys.modules:
        report = sys.modules["passprint"].last_report()
    if report is not None:
        found |= {"phases": dict(report.seconds), "status": report.status}
        # all but the forward pass: importing passprint, compile(), and the call up to the program's first line
        found["to the first kernel"] = prepared + report.seconds["total"]
        found |= {"traced": report.traced, "loaded": report.loaded}
        found |= {"lookup_ms": report.lookup_ms, "distinct_pieces": report.distinct_pieces, "why": report.why}
    return found


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not mix with the answer
    print(json.dumps(main(json.loads(sys.argv[1]))), file=answers, flush=True)
