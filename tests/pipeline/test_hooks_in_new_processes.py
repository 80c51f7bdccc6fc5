"""A pass at each of Inductor's hooks, over the starts of a program: stored by one process, found by the next.

Every hook has a pass of its own, and every pass a helper of its own. An edit of a helper must miss at the hook of its
pass and nowhere else. All that a file says is written here, so that what one start changes is seen in one place.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tests.pipeline.hooks import GRAPH_HOOKS

HOOKS = (*GRAPH_HOOKS, "partitioner", "scheduler_pre", "scheduler_post")
EDITED = ("pre_grad", "joint_post", "post_grad_post", "scheduler_pre")
OTHERS = tuple(hook for hook in HOOKS if hook not in EDITED)

IMPORTS = """
import passprint
from tests.pipeline.hooks import swap_products
from torch._functorch.partitioners import default_partition
"""
GRAPH_PASS = """
def help_{hook}(graph):
    if {amount} == 1:
        swap_products(graph)

class At_{hook}(passprint.InductorPass):
    def __call__(self, graph):
        help_{hook}(graph)
"""
SCHEDULER_PASS = """
def help_{hook}(nodes):
    return nodes * 1 if len(nodes) < {amount} else nodes[:]

class At_{hook}(passprint.SchedulerPass):
    def __call__(self, nodes):
        return help_{hook}(nodes)
"""
PARTITIONER = """
def help_{hook}(gm, inputs, options):
    options.pop("compiler", None)
    cuts = [default_partition] * {amount}
    return cuts[0](gm, inputs, **options)

class At_{hook}(passprint.Partitioner):
    def __call__(self, gm, joint_inputs, **options):
        return help_{hook}(gm, joint_inputs, options)
"""
PROGRAM = """
import json, sys
import torch
from tests.pipeline.hooks import A, B, compiled, product, train
from torch._inductor import config
import passprint, their_passes

class Product(torch.nn.Module):
    def forward(self, x, y):
        return product(x, y)

def shown(result):
    return "swapped" if torch.equal(result, B @ A) else "as written" if torch.equal(result, A @ B) else "wrong"

hooks, way, folder = sys.argv[1].split(","), sys.argv[2], sys.argv[3]
found = {"torch.compile": {}, "passprint.compile": {}}
with config.patch({"cpp.simdlen": 1, "compile_threads": 1}):
    for hook in hooks:
        manager = passprint.PassManager([getattr(their_passes, f"At_{hook}")()], hook=hook)
        run = train if hook == "partitioner" else lambda fn, options: compiled(fn, options, A, B)
        if way == "mounted":
            with manager.mounted():
                result, *_, outcome = run(product, None)
        else:
            result, *_, outcome = run(product, manager)
        found["torch.compile"][hook] = outcome, shown(result)
        if hook != "partitioner":  # nothing trains here
            fn = passprint.compile(Product(), passes=manager, cache=folder)
            result = fn(A, B)
            found["passprint.compile"][hook] = fn.report.status, shown(result)
print(json.dumps(found))
"""


def passes_text(edited: Collection[str], *, moved: bool) -> str:
    """The file of passes; ``moved``: with comments and blank lines that change nothing."""
    parts = [IMPORTS]
    for hook in HOOKS:
        text = {"partitioner": PARTITIONER}.get(hook, SCHEDULER_PASS if "sched" in hook else GRAPH_PASS)
        if moved:
            parts.append(f"\n\n# what runs at {hook}\n")
        parts.append(text.format(hook=hook, amount=2 if hook in edited else 1))
    return "".join(parts)


def start(folder: Path, way: str, edited: Collection[str], *, moved: bool) -> Mapping[str, Mapping[str, Any]]:
    """By compiler: what its cache said at each hook in a new process, and which result came out."""
    (folder / "their_passes.py").write_text(passes_text(edited, moved=moved))
    root = Path(__file__).parents[2]
    search = [str(folder), str(root), os.environ.get("PYTHONPATH", "")]
    environment = {
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "PYTHONPATH": os.pathsep.join(search),
        "PYTHONDONTWRITEBYTECODE": "1",  # two edits in one second must both be read
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, ",".join(HOOKS), way, str(folder / "cache")],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return {name: {hook: tuple(each) for hook, each in hooks.items()} for name, hooks in found.items()}


def expected(missing: Collection[str], edited: Collection[str]) -> Mapping[str, Mapping[str, Any]]:
    """A pass over a graph swaps the product until its helper is edited; the others leave the result alone."""
    words = {"torch.compile": ("miss", "hit"), "passprint.compile": ("cold", "warm")}
    return {
        name: {
            hook: (
                words[name][hook not in missing],
                "swapped" if hook in GRAPH_HOOKS and hook not in edited else "as written",
            )
            for hook in HOOKS
            if name == "torch.compile" or hook != "partitioner"
        }
        for name in words
    }


def test_the_caches_hit_and_miss_by_the_pass_at_every_hook(tmp_path: Path) -> None:
    assert start(tmp_path, "options", (), moved=False) == expected(HOOKS, ())
    assert start(tmp_path, "mounted", (), moved=True) == expected((), ())
    assert start(tmp_path, "options", EDITED, moved=False) == expected(EDITED, EDITED)
    assert start(tmp_path, "mounted", HOOKS, moved=True) == expected(OTHERS, HOOKS)
