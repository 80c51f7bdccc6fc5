"""Four reports of real starts, each in a process of its own: cold, warm, a miss after an edit, a bypass."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

NET = '''
import torch
from torch import nn
import passprint


def scaled(x):
    """How much of a block's answer is added."""
    return x * 0.5


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(64), nn.Linear(64, 128), nn.Linear(128, 64)

    def forward(self, x):
        y = torch.relu(self.up(self.norm(x)))
        return x + scaled(self.down(y.reshape(-1, 128).reshape(y.shape)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(32, 64)
        self.blocks = nn.ModuleList(Block() for _ in range(8))
        self.head = nn.Linear(64, 8)

    def forward(self, x):
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def relu(x):
    return torch.relu(x)


def clamp(x):
    return torch.clamp_min(x, 0.0)


def squared_relu(x):
    y = torch.relu(x)
    return y * y


class ClampRelu(passprint.PatternPass):
    """relu(x) is clamp_min(x, 0)."""

    def patterns(self):
        x = torch.empty(2, 8)
        return [
            passprint.Pattern("squared", squared_relu, clamp, [x]),
            passprint.Pattern("plain", relu, clamp, [x]),
        ]


class LoggedPass(passprint.InductorPass):
    """Writes every graph's size to a file that is open already: nothing can say what that file is."""

    log: object = None

    def __call__(self, graph):
        self.log.write(f"{len(graph.nodes)}\\n")
'''

RUN = """
import os, sys
import torch, passprint, net

torch.manual_seed(0)
passes = [net.LoggedPass(open(os.devnull, "w"))] if sys.argv[2] == "bypass" else [net.ClampRelu()]
compiled = passprint.compile(net.Net().eval(), cache="cache", passes=passes)
with torch.no_grad():
    compiled(torch.randn(4, 6, 32))
open(sys.argv[1], "w").write(compiled.report.to_json())
"""
EDIT = ("return x * 0.5", "return x * 0.25")
NAMES = ("cold", "warm", "miss", "bypass")


def real_reports(folder: Path) -> dict[str, dict[str, Any]]:
    """The documents by name (`NAMES`). Takes half a minute; ``folder`` is empty and stays."""
    (folder / "cache").mkdir(mode=0o700)
    (folder / "serve.py").write_text(RUN)
    found = {}
    for name in NAMES:
        edited = name in ("miss", "bypass")
        (folder / "net.py").write_text(NET.replace(*EDIT) if edited else NET)
        out = folder / f"{name}.json"
        environment = os.environ | {
            "PASSPRINT_INSTRUMENTS": "record",
            "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),  # where it has a graph, no pass runs
        }
        subprocess.run([sys.executable, "serve.py", str(out), name], cwd=folder, env=environment, check=True)
        found[name] = json.loads(out.read_text())
        found[name]["store"]["place"] = "~/.cache/passprint"
    return found
