"""A machine of a fleet that starts a model: prints how it started, and what it asked of its remote, as JSON."""

from __future__ import annotations

import json
import sys

import torch

import passprint
from passprint.cache import open_store


class Block(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.linear(x)) + x


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(Block() for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def main() -> None:
    torch.manual_seed(0)
    model, x = Model().eval(), torch.randn(3, 16)
    with torch.no_grad():
        compiled = passprint.compile(model)
        torch.testing.assert_close(compiled(x), model(x))
    store = open_store(None)
    store.flush(60)
    loaded = [name for name in ("redis", "cryptography") if name in sys.modules]
    tiers = [tier._asdict() for tier in store.stats().tiers]
    print(json.dumps({"status": compiled.report.status, "loaded": loaded, "tiers": tiers}))


if __name__ == "__main__":
    main()
