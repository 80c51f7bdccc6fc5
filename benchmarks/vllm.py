"""Time that a start of vLLM spends on saying who its passes are: shipped, not memoised, and by fingerprints.

``python -m benchmarks.vllm`` in an environment with vLLM (``make test-vllm`` makes one). What a start with nine
compiles asks for (153 calls of ``hash_source``, 18 of the manager's ``uuid``) is asked of passes of vLLM's and of a
user's, each way in a process of its own, in turn; the median of the rounds counts. A start with the plug-in asks the
manager only, and makes the passes' part of a key once ("passes in the key").
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WAYS = ("shipped", "unmemoised", "passprint")
SOURCE_CALLS, MANAGER_CALLS = 153, 18


def measure(way: str, model: str) -> dict[str, float]:
    """Milliseconds in this process, by what was asked."""
    from tests.integrations.engines.child import keep_mode_3

    kept = keep_mode_3()
    from vllm.compilation.passes import inductor_pass
    from vllm.compilation.passes.pass_manager import PostGradPassManager
    from vllm.config.utils import Range
    from vllm.engine.arg_utils import EngineArgs

    assert kept is not None
    config = EngineArgs(
        model,
        skip_tokenizer_init=True,
        compilation_config={
            "mode": 3,
            "compile_sizes": [],
            "inductor_passes": {"post_grad_custom_post_pass": "scale_pass.scale"},
        },
    ).create_engine_config()
    if way == "unmemoised":
        inductor_pass._hash_source_cached = inductor_pass._hash_source_cached.__wrapped__
    manager = PostGradPassManager()
    manager.configure(config)
    manager.add(config.compilation_config.inductor_compile_config["post_grad_custom_post_pass"])
    passes = [*manager.passes, manager.ir_lowering, manager.clone_elimination, manager.post_cleanup]
    found = {}
    began = time.perf_counter()
    for number in range(SOURCE_CALLS):
        inductor_pass.InductorPass.hash_source(passes[number % len(passes)])
    found["153 hash_source"] = time.perf_counter() - began
    began = time.perf_counter()
    with inductor_pass.pass_context(Range(1, 128)):
        for _ in range(MANAGER_CALLS):
            manager.uuid()
    found["18 manager uuid"] = time.perf_counter() - began
    if way == "passprint":
        found["passes in the key"] = _key_seconds(config)
    return {name: seconds * 1e3 for name, seconds in found.items()}


def _key_seconds(config: Any) -> float:
    from passprint.identity import compose
    from passprint.integrations.vllm.bypass import Bypass
    from passprint.integrations.vllm.door import installed_door
    from passprint.integrations.vllm.passes import PassIdentities

    door = installed_door()
    assert door is not None
    passes = PassIdentities(door, Bypass(door))
    began = time.perf_counter()
    compose("passes", passes.of_configuration(config))
    return time.perf_counter() - began


def run(rounds: int) -> dict[str, dict[str, float]]:
    """The medians, by way."""
    from tests.integrations.engines.models import write_model
    from tests.integrations.engines.passes import write_pass

    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder) / "model")
        write_pass(Path(folder) / "passes")
        taken: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                taken[way].append(_process(way, Path(folder)))
    return {
        way: {name: statistics.median(one[name] for one in all_) for name in all_[0]}
        for way, all_ in taken.items()
    }


def _process(way: str, folder: Path) -> dict[str, float]:
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, (root, str(folder / "passes"), os.environ.get("PYTHONPATH"))))
    more = {
        "PASSPRINT_VLLM": "identity" if way == "passprint" else "off",
        "PYTHONPATH": path,
        "HF_HUB_OFFLINE": "1",
        "VLLM_CACHE_ROOT": str(folder / "cache"),
        "VLLM_NO_USAGE_STATS": "1",
    }
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.vllm", "--way", way, "--model", str(folder / "model")],
        capture_output=True,
        text=True,
        env={**environment, **more},
        cwd=folder,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"153')]
    if not lines:
        raise SystemExit(done.stderr[-3000:])
    found: dict[str, float] = json.loads(lines[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--model")
    given = parser.parse_args()
    if given.way:
        print(json.dumps(measure(given.way, given.model)), flush=True)
        return
    found: dict[str, Any] = run(given.rounds)
    out = Path(__file__).parent / "out"
    out.mkdir(exist_ok=True)
    (out / "vllm.json").write_text(json.dumps(found, indent=1))
    print(f"{'ms':<14}" + "".join(f"{name:>20}" for name in found[WAYS[-1]]))
    for way, times in found.items():
        print(f"{way:<14}" + "".join(f"{value:>20.1f}" for value in times.values()))


if __name__ == "__main__":
    main()
