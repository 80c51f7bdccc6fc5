"""One step of decoding with a static cache: ``python -m benchmarks decode``.

A Llama of 30 layers, small and random, of the width 64 (where dispatch is all there is) and of SmolLM2's, for batches
of 1 and 8. All ways in one process, called in the order A B C C B A, so that what else the machine does falls on
all alike; then passprint's start in a process of its own, with the store filled. The figures are milliseconds of a step
as the median, and its ratio to plain Inductor's as the median over rounds.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

REPEATS = 1
ROUNDS = 40
WIDTHS = {64: 4, 576: 9}
"""Hidden size, and the number of heads; SmolLM2's is 576, with three heads for keys and values."""
BATCHES = (1, 8)
LAYERS = 30
PROMPT, LONGEST = 8, 1024
GOAL_STEP, GOAL_OTHER, GOAL_START = 0.8, 1.0, 0.1

Step = Callable[[Any, Any], Any]


def model_of(width: int) -> Any:
    """The model, in its own process the same each time."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    heads = WIDTHS[width]
    config = LlamaConfig(
        hidden_size=width,
        intermediate_size=width * 8 // 3 // 8 * 8,
        num_hidden_layers=LAYERS,
        num_attention_heads=heads,
        num_key_value_heads=heads // 3 or 2,
        vocab_size=2048,
        max_position_embeddings=LONGEST,
    )
    return LlamaForCausalLM(config).eval()


def step_of(model: Any) -> Step:
    """A step as a function of the last tokens and a cache; it writes to the cache."""

    def step(ids: Any, cache: Any) -> Any:
        return model(input_ids=ids, past_key_values=cache, use_cache=True).logits

    return step


def filled(model: Any, batch: int) -> tuple[Any, Any]:
    """The next tokens, and a cache with a prompt in it."""
    import torch
    from transformers import StaticCache

    cache = StaticCache(config=model.config, max_cache_len=LONGEST)
    ids = torch.arange(batch * PROMPT).reshape(batch, PROMPT) % model.config.vocab_size
    logits = model(input_ids=ids, past_key_values=cache, use_cache=True).logits
    return logits[:, -1:].argmax(-1), cache


def ways_of(step: Step, store: str, *, cpp: bool) -> dict[str, Step]:
    """By name, how a step is called."""
    import torch

    import passprint

    ways: dict[str, Step] = {
        "eager": step,
        "inductor": torch.compile(lambda *given: step(*given), fullgraph=True),
        "passprint": passprint.compile(step, cache=store),
    }
    if cpp:
        options: Any = {"cpp_wrapper": True}
        ways["cpp_wrapper"] = torch.compile(lambda *given: step(*given), fullgraph=True, options=options)
    return ways


def measure(width: int, batch: int, store: str, *, cpp: bool) -> dict[str, Any]:
    """In the child: milliseconds of each step by way, and whether all gave the same tokens."""
    import torch

    with torch.no_grad():
        model = model_of(width)
        step = step_of(model)
        ways = ways_of(step, store, cpp=cpp)
        states = {way: filled(model, batch) for way in ways}
        tokens: dict[str, list[Any]] = {way: [] for way in ways}
        times: dict[str, list[float]] = {way: [] for way in ways}
        order = list(ways)
        for number in range(ROUNDS + 3):
            for way in (*order, *reversed(order)):
                ids, cache = states[way]
                began = time.perf_counter()
                logits = ways[way](ids, cache)
                spent = 1e3 * (time.perf_counter() - began)
                states[way] = (logits[:, -1:].argmax(-1), cache)
                tokens[way].append(states[way][0].flatten().tolist())
                if number >= 3:
                    times[way].append(spent)
        return {"times": times, "equal": all(found == tokens["eager"] for found in tokens.values())}


def start(width: int, batch: int, store: str) -> dict[str, Any]:
    """In the child: seconds from the loaded model to the first step's result, less the median of later ones."""
    import torch

    with torch.no_grad():
        model = model_of(width)
        ids, cache = filled(model, batch)
        began = time.perf_counter()
        import passprint

        compiled = passprint.compile(step_of(model), cache=store)
        compiled(ids, cache)
        spent = time.perf_counter() - began
        later = []
        for _ in range(9):
            began = time.perf_counter()
            compiled(ids, cache)
            later.append(time.perf_counter() - began)
        return {"start": spent - statistics.median(later), "traced": compiled.report.traced}


def _in_child(what: str, width: int, batch: int, store: str, cpp: bool) -> dict[str, Any]:
    code = f"""
import json
from benchmarks import decode
how = {{}} if {what!r} == "start" else {{"cpp": {cpp}}}
print(json.dumps(getattr(decode, {what!r})({width}, {batch}, {store!r}, **how)))
"""
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": f"{store}-inductor", "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{what} at width {width} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _ratio(times: dict[str, list[float]], way: str) -> float:
    pairs = zip(times[way], times["inductor"], strict=True)
    return statistics.median([one / other for one, other in pairs])


def run(repeats: int = REPEATS, *, cpp: bool = True) -> dict[str, Any]:
    """Measure in fresh processes, print the table, give the figures."""
    console = Console()
    table = Table("width", "batch", "way", "a step (ms)", "of Inductor's", "start, warm (s)")
    figures: dict[str, Any] = {"ok": True}
    for width in WIDTHS:
        for batch in BATCHES:
            with tempfile.TemporaryDirectory() as folder:
                store = os.path.join(folder, "store")
                found = _in_child("measure", width, batch, store, cpp)
                starts = [_in_child("start", width, batch, store, cpp) for _ in range(3 * repeats)]
            seconds = statistics.median([one["start"] for one in starts])
            times = found["times"]
            for way in times:
                ratio = _ratio(times, way)
                said = f"{seconds:.3f}" if way == "passprint" else ""
                table.add_row(
                    str(width), str(batch), way, f"{statistics.median(times[way]):.2f}", f"{ratio:.2f}", said
                )
                figures[f"{width}/{batch}/{way}"] = {"ms": statistics.median(times[way]), "ratio": ratio}
            figures[f"{width}/{batch}/start"] = {
                "seconds": seconds,
                "traced": [one["traced"] for one in starts],
            }
            figures["ok"] &= found["equal"] and not any(one["traced"] for one in starts)
    console.print(table)
    console.print(
        f"goals: {GOAL_STEP} of Inductor's at width 64, {GOAL_OTHER} at any; start {GOAL_START} s. "
        f"Tokens equal, no start traced: {'yes' if figures['ok'] else 'no'}"
    )
    return figures
