"""A process that opens each of torch's doors once, with a cache of its own; prints what came of each as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import passprint


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(16), nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.down(torch.relu(self.up(self.norm(x))))
        return x + hidden


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Block() for _ in range(3)])

    def forward(self, x: Tensor, *, scale: float = 1.0) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x * scale


def model() -> Model:
    torch.manual_seed(0)
    return Model().eval()


def _own(net: Model, how: dict[str, Any]) -> Callable[..., Any]:
    return passprint.compile(net, cache=how["options"]["cache"])


def _module(net: Model, how: dict[str, Any]) -> Callable[..., Any]:
    return torch.compile(net, **how)


def _in_place(net: Model, how: dict[str, Any]) -> Callable[..., Any]:
    net.compile(**how)
    return net


def _forward(net: Model, how: dict[str, Any]) -> Callable[..., Any]:
    return torch.compile(net.forward, **how)


def _set_forward(net: Model, how: dict[str, Any]) -> Callable[..., Any]:
    forward: Any = torch.compile(net.forward, **how)
    net.forward = forward  # type: ignore[method-assign]
    return net


def _called(net: Model, how: dict[str, Any]) -> Callable[..., Any]:
    return torch.compile(net.__call__, **how)


def _function(net: Model, how: dict[str, Any]) -> Callable[..., Any]:
    @torch.compile(**how)
    def twice(x: Tensor) -> Tensor:
        return net(x) + net(x)

    return lambda x: twice(x) / 2


def _blocks(net: Model, how: dict[str, Any]) -> Callable[..., Any]:
    for layer in net.layers:
        layer.compile(**how)
    return net


def _around_torchs(net: Model, how: dict[str, Any]) -> Callable[..., Any]:
    """A module whose forward is torch's code has no frame of its own."""
    return torch.compile(nn.Sequential(*net.layers), **how)


def _copied(net: Model, how: dict[str, Any]) -> Callable[..., Any]:
    import copy

    return copy.deepcopy(torch.compile(net, **how))


DOORS = {
    function.__name__.removeprefix("_"): function
    for function in (
        *(_own, _module, _in_place, _forward, _set_forward, _called),
        *(_function, _blocks, _around_torchs, _copied),
    )
}


def main(folder: Path) -> None:
    x = torch.randn(4, 16, generator=torch.Generator().manual_seed(1))
    for name, door in DOORS.items():
        net = model()
        with torch.no_grad():
            expected = net(x)
            options = {"cache": str(folder / name)}
            call = door(net, {"backend": "passprint", "options": options})
            found = [call(x), call(x)]
        report = passprint.last_report()
        assert report is not None
        difference = max((one - expected).abs().max().item() for one in found)
        told = {"door": name, "difference": difference, "traced": report.traced, "loaded": report.loaded}
        print(json.dumps({**told, "status": report.status, "why": report.why}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
