"""A small project of a user's, in a folder: a model in two modules, an installed package, passes of his own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]

NET = '''
from dataclasses import dataclass

import torch
from torch import nn
from tinydist import gain

import helpers

FACTOR = 0.5
"""Read by forward."""


@dataclass
class Config:
    activation: str = "relu"
    name: str = "unused"


class Base(nn.Module):
    def residual(self, x, y):
        return x + y * FACTOR


class Block(Base):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.norm = nn.LayerNorm(8)
        self.up = nn.Linear(8, 16)
        self.down = nn.Linear(16, 8)

    def forward(self, x):
        y = self.up(self.norm(x))
        y = torch.relu(y) if self.config.activation == "relu" else torch.tanh(y)
        return gain(self.residual(x, self.down(helpers.shift(y))))


class Net(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.blocks = nn.ModuleList(Block(config) for _ in range(2))
        self.act = nn.GELU()

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.act(x)

    def extra(self):
        return 1


def make(**options):
    return Net(Config(**options))
'''

HELPERS = """
AMOUNT = 1.0


def shift(x):
    return inner(x) * 1.5


def inner(x):
    return x + AMOUNT
"""

PASSES = """
import torch
import passprint

LIMIT = 3


def wanted(node):
    return node.target is torch.ops.aten.neg.default


class Counting(passprint.InductorPass):
    def count(self, graph):
        return sum(wanted(node) for node in graph.nodes)


class First(Counting):
    limit: int = 1

    def __call__(self, graph):
        assert self.count(graph) >= 0


class Second(passprint.InductorPass):
    def __call__(self, graph):
        pass
"""

TINY = """
def gain(x):
    return x * 1.25
"""


@dataclass
class Project:
    """The files of a project under ``root``, and how a process is started on them."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    working_folder: Path | None = None

    def write(self) -> None:
        """All files as they are at first."""
        for folder in ("project", "site/tinydist", "site/tinydist-1.0.dist-info"):
            (self.root / folder).mkdir(parents=True)
        files = {
            "project/net.py": NET,
            "project/helpers.py": HELPERS,
            "project/mypasses.py": PASSES,
            "site/tinydist/__init__.py": TINY,
            "site/tinydist-1.0.dist-info/RECORD": "tinydist/__init__.py,,\n",
        }
        for name, text in files.items():
            (self.root / name).write_text(text)

    def edit(self, name: str, before: str, after: str) -> None:
        """Replace a text in a file, which must hold it."""
        path = self.root / name
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))

    def run(self, cache: Path, **more: Any) -> dict[str, Any]:
        """What a new process with this project finds out; fails with its output where it fails."""
        spec = {
            "cache": os.fspath(cache),
            "path": [os.fspath(self.root / "project"), os.fspath(self.root / "site")],
            **self.spec,
            **more,
        }
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("TORCHINDUCTOR_")
        }
        sources = os.pathsep.join([os.fspath(REPOSITORY / "src"), os.fspath(REPOSITORY)])
        environment |= {"PYTHONPATH": sources, "PYTHONDONTWRITEBYTECODE": "1", **self.environment}
        environment.setdefault("TORCHINDUCTOR_CACHE_DIR", os.fspath(self.root / "inductor"))
        done = subprocess.run(
            [sys.executable, "-m", "tests.compiler.warm_child", json.dumps(spec)],
            env=environment,
            cwd=self.working_folder,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found
