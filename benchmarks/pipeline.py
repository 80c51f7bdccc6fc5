"""What a pass manager costs: ten passes under a manager beside the same ten called by hand.

First with the library's passes on the graph of a transformer, without instruments and with each. Then ten
simple rewriting
passes on torch.fx, onnx_ir and xDSL, under the pass manager of each. Ways take turns on fresh graphs, so that
noise falls on
all alike; figures are of processor time, the least of the repeats, and overheads are ratios to the calls by hand.
"""

from __future__ import annotations

import gc
import io
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx

from benchmarks.pass_peers import check_equal_work, peers
from passprint.instruments import Dump, Instrument, Numerics, Overlaps, Statistics, Timing, Verify
from passprint.passes import CompileRange, InductorPass, pass_context
from passprint.passes.library import ALL
from passprint.pipeline import PassManager
from passprint.pipeline.snapshots import copy_graph

REPEATS = 7
SIZES = (100, 1_000, 10_000)
PASSES = 10
NUMERICS_UP_TO = 1_000
GOAL_NONE, GOAL_LIGHT = 0.01, 0.10


def ten_passes() -> list[InductorPass]:
    """The library's passes, the first ones again to make ten."""
    library: list[InductorPass] = [kind() for kind in ALL]
    return [*library, *(kind() for kind in ALL[: PASSES - len(ALL)])]


def _layer(x: Any, attend: Any, widen: Any, gain: Any) -> Any:
    """About what a decoder layer is after Autograd, with what the library's passes look for."""
    hidden = x.to(torch.float32)
    normed = gain * (hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype)
    query, key = ((normed.view(-1, 64) @ attend).view(2, 16, 64) for _ in range(2))
    query, key = (one.view(2, 16, 4, 16).permute(0, 2, 1, 3) for one in (query, key))
    mixed = torch.softmax(query @ key.transpose(-1, -2) + 0, -1) @ key
    joined = mixed.permute(0, 2, 1, 3).clone().reshape(2, 16, 64)
    x = x + (joined.view(-1, 64) @ attend).view(2, 16, 64)
    wide = (x.view(-1, 64) @ widen).view(2, 16, 128)
    gated = torch.nn.functional.silu(wide[..., :64]) * wide[..., 64:]
    return x + (gated.view(-1, 64) @ attend).view(2, 16, 64)


def transformer(nodes: int) -> Graph:
    """So many nodes, about: the graph of one layer, again and again."""
    arguments = torch.randn(2, 16, 64), torch.randn(64, 64), torch.randn(64, 128), torch.randn(64)
    layer: Graph = make_fx(_layer, tracing_mode="fake")(*arguments).graph
    inputs = list(layer.find_nodes(op="placeholder"))
    graph = Graph()
    values = [graph.node_copy(node) for node in inputs]
    while len(graph.nodes) < nodes:
        known: dict[Node, Node] = dict(zip(inputs, values, strict=True))
        for node in layer.nodes:
            if node.op == "output":
                values[0] = known[node.args[0]]
            elif node.op != "placeholder":
                known[node] = graph.node_copy(node, known.__getitem__)
    graph.output(values[0])
    return GraphModule(torch.nn.Module(), graph).graph


def instruments(folder: str) -> dict[str, Callable[[], Instrument]]:
    """Those that are measured, by name; reports go nowhere."""
    return {
        "timing": lambda: Timing(stream=io.StringIO()),
        "statistics": lambda: Statistics(stream=io.StringIO()),
        "dump, if changed": lambda: Dump(folder),
        "verify": Verify,
        "numerics": Numerics,
        "overlaps": Overlaps,
    }


def least(
    ways: Mapping[str, Callable[[Any], object]], make: Callable[[], Any], repeats: int
) -> dict[str, float]:
    """Seconds of processor time of each way on a fresh graph, the least of the repeats, taken in turn."""
    found = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):
        for name, run in ways.items():
            graph = make()
            gc.collect()
            gc.disable()
            start = time.process_time()
            run(graph)
            seconds = time.process_time() - start
            gc.enable()
            found[name] = min(found[name], seconds)
    return found


def in_context(run: Callable[[Graph], None]) -> Callable[[Graph], None]:
    """With a context of its own, in which matches are counted from nothing."""

    def within(graph: Graph) -> None:
        with pass_context(CompileRange.any()):
            run(graph)

    return within


def _rounds(nodes: int, repeats: int) -> int:
    """More for small graphs, where they are cheap and noise is large."""
    return repeats * 3 if nodes <= SIZES[0] else repeats if nodes <= SIZES[1] else max(2, repeats // 3)


def measure_instruments(nodes: int, repeats: int, folder: str) -> dict[str, dict[str, float]]:
    """By way: seconds, and how much longer than by hand; also on a graph in which nothing is left to do."""
    passes = ten_passes()

    def by_hand(graph: Graph) -> None:
        for pass_ in passes:
            pass_(graph)

    source = transformer(nodes)
    ways = {"by hand": by_hand, "manager": PassManager(passes)}
    for name, make in instruments(folder).items():
        if name != "numerics" or nodes <= NUMERICS_UP_TO:
            ways[f"with {name}"] = PassManager(passes, instruments=[make()])
    ways = {name: in_context(run) for name, run in ways.items()}
    settled = copy_graph(source)
    for _ in range(2):
        in_context(by_hand)(settled)
    rounds = _rounds(nodes, repeats)
    fresh = least(ways, lambda: copy_graph(source), rounds)
    idle = least(ways, lambda: settled, rounds)
    return {
        name: {
            "seconds": fresh[name],
            "overhead": fresh[name] / fresh["by hand"] - 1,
            "settled_seconds": idle[name],
            "settled_overhead": idle[name] / idle["by hand"] - 1,
        }
        for name in ways
    }


def measure_peers(nodes: int, repeats: int) -> dict[str, dict[str, float]]:
    """By peer: microseconds for one pass and one operation by hand, and what the manager adds."""
    found = {}
    all_peers = peers()
    check_equal_work(all_peers, nodes)
    for peer in all_peers:
        seconds = least(
            {"hand": peer.by_hand, "managed": peer.managed},
            lambda peer=peer: peer.make(nodes),
            _rounds(nodes, repeats),
        )
        found[peer.name] = {
            "hand_us": seconds["hand"] * 1e6,
            "managed_us": seconds["managed"] * 1e6,
            "added_us": (seconds["managed"] - seconds["hand"]) * 1e6,
            "overhead": seconds["managed"] / seconds["hand"] - 1,
        }
    return found


def run(repeats: int = REPEATS) -> dict[str, Any]:
    """Measure everything, print two tables, and return the figures."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # patterns that match nothing are not what is measured
        managed = {str(nodes): measure_instruments(nodes, repeats, folder) for nodes in SIZES}
        others = {str(nodes): measure_peers(nodes, repeats) for nodes in SIZES}
    console = Console()
    console.print(_managed_table(managed))
    console.print(_peers_table(others))
    return {
        "library_passes": managed,
        "peers": others,
        "passes": PASSES,
        "goals": {"none": GOAL_NONE, "timing and statistics": GOAL_LIGHT},
    }


def _managed_table(figures: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Table:
    table = Table(
        title=f"{PASSES} passes of the library: milliseconds, and more than by hand (nothing left to do)"
    )
    table.add_column("")
    for nodes in figures:
        table.add_column(f"{int(nodes):,} nodes", justify="right")
    for name in figures[str(SIZES[0])]:
        cells = []
        for rows in figures.values():
            row = rows.get(name)
            cells.append(
                "–"
                if row is None
                else f"{row['seconds'] * 1e3:,.1f}"
                if name == "by hand"
                else f"{row['seconds'] * 1e3:,.1f}  {row['overhead']:+.1%} ({row['settled_overhead']:+.1%})"
            )
        table.add_row(name, *cells)
    return table


def _peers_table(figures: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Table:
    table = Table(title=f"{PASSES} simple passes: by hand, and what the manager adds, microseconds")
    table.add_column("")
    for nodes in figures:
        table.add_column(f"{int(nodes):,} operations", justify="right")
    for name in figures[str(SIZES[0])]:
        rows = [by_name[name] for by_name in figures.values()]
        table.add_row(
            name,
            *(f"{row['hand_us']:,.0f}  {row['added_us']:+,.0f} ({row['overhead']:+.0%})" for row in rows),
        )
    return table


if __name__ == "__main__":
    run()
