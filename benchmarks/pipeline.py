"""What a pass manager costs: ten passes under a manager beside the same ten called by hand.

First with the library's passes on the graph of a transformer, without instruments and with each. Then ten simple
rewriting passes on torch.fx, onnx_ir and xDSL, under the pass manager of each. Each way takes turns with the calls by
hand on fresh graphs, forwards and backwards, so that noise falls on both alike. Figures are of processor time: medians,
and for the library's passes a 95% interval of the overhead, by a bootstrap over the rounds. The noise of long
passes hides 1%; so what the manager takes outside them is measured in the same runs as well.
"""

from __future__ import annotations

import argparse
import functools
import gc
import io
import random
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch
from rich.console import Console
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx

from benchmarks.pass_peers import check_equal_work, peers
from passprint.instruments import Dump, Instrument, Numerics, Overlaps, Statistics, Timing, Verify
from passprint.passes import CompileRange, InductorPass, pass_context
from passprint.passes.library import ALL
from passprint.pipeline import PassManager
from passprint.pipeline.snapshots import copy_graph

REPEATS = 1
SECONDS = 60.0  # about, for the comparisons at all sizes
DRAWS = 1_000
LEAST_ROUNDS = 6  # with fewer the bootstrap draws nearly the same rounds, and its interval says nothing
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


def in_turn(
    ways: Mapping[str, Callable[[Any], object]],
    make: Callable[[], Any],
    rounds: int,
    spent: Callable[[], float] = lambda: 0.0,
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of processor time of each way on a fresh graph, in each round; every other round goes backwards.

    After it what of that ``spent`` says went into the passes.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    within: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(rounds):
        for name in list(ways)[:: -1 if round_ % 2 else 1]:
            graph = make()
            gc.collect()
            gc.disable()
            before, start = spent(), time.process_time()
            ways[name](graph)
            found[name].append(time.process_time() - start)
            within[name].append(spent() - before)
            gc.enable()
    return found, within


def overhead(ours: Sequence[float], theirs: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """How much longer ``ours`` take than ``theirs`` of the same rounds: the ratio of the medians, less 1.

    After it the lower and the upper end of its 95% interval, by a bootstrap over rounds.
    """
    chance = random.Random(seed)
    pairs = list(zip(ours, theirs, strict=True))
    ratios = sorted(
        median(one for one, _ in drawn) / median(other for _, other in drawn) - 1
        for drawn in (chance.choices(pairs, k=len(pairs)) for _ in range(DRAWS))
    )
    return median(ours) / median(theirs) - 1, ratios[int(0.025 * DRAWS)], ratios[int(0.975 * DRAWS)]


@contextmanager
def clocked(passes: Sequence[InductorPass]) -> Iterator[Callable[[], float]]:
    """Within the block, what these passes take by themselves is added up; the value gives the seconds so far."""
    spent = 0.0
    calls = {kind: kind.__call__ for kind in {type(pass_) for pass_ in passes}}

    def timed(call: Callable[..., None]) -> Callable[..., None]:
        def run(pass_: InductorPass, graph: Graph) -> None:
            nonlocal spent
            start = time.process_time()
            call(pass_, graph)
            spent += time.process_time() - start

        return run

    for kind, call in calls.items():
        setattr(kind, "__call__", timed(call))  # noqa: B010 - mypy takes an assignment for a mistake
    try:
        yield lambda: spent
    finally:
        for kind, call in calls.items():
            setattr(kind, "__call__", call)  # noqa: B010


def in_context(run: Callable[[Graph], None]) -> Callable[[Graph], None]:
    """With a context of its own, in which matches are counted from nothing."""

    def within(graph: Graph) -> None:
        with pass_context(CompileRange.any()):
            run(graph)

    return within


def _rounds(one: Callable[[Any], object], make: Callable[[], Any], ways: int, seconds: float) -> int:
    """How many rounds of so many ways fit into ``seconds``, by a first run of one; an even number, 2 to 40."""
    start = time.perf_counter()
    one(make())
    took = time.perf_counter() - start
    return min(40, max(2, 2 * int(seconds / (2 * ways * max(took, 1e-6)))))


def _seconds_of(nodes: int, repeats: int) -> float:
    """About how long a comparison at this size may take: a tenth of the whole for each of three sizes."""
    return repeats * (SECONDS / 10 if nodes < SIZES[-1] else SECONDS / 5)


def measure_instruments(nodes: int, folder: str, repeats: int) -> Iterator[tuple[str, dict[str, float]]]:
    """By way: seconds by hand and under the manager, and how much longer with the ends of the interval.

    Each way is measured in turn with the calls by hand, first on fresh graphs, then on one that has nothing left to do
    (at the largest size the manager alone). "outside": what is not spent in the passes, as a share of what is, less
    the same of the calls by hand (the clocks); all of the same runs, so that the noise of the passes, far above 1%, is
    not in it. Nor is what they take longer because their changes are heard; the simple passes show that.
    """
    passes = ten_passes()

    def by_hand(graph: Graph) -> None:
        for pass_ in passes:
            pass_(graph)

    hand = in_context(by_hand)
    source = transformer(nodes)
    settled = copy_graph(source)
    for _ in range(2):
        hand(settled)
    ways: dict[str, Callable[[Graph], None]] = {"manager": PassManager(passes)}
    for name, make in instruments(folder).items():
        if name != "numerics" or nodes <= NUMERICS_UP_TO:
            ways[f"with {name}"] = PassManager(passes, instruments=[make()])
    givers: dict[str, Callable[[], Graph]] = {"": lambda: copy_graph(source), "settled_": lambda: settled}
    budget = _seconds_of(nodes, repeats) / (len(ways) + 1)  # two shares for the manager alone
    for name, way in ways.items():
        figures: dict[str, float] = {}
        share = budget if name == "manager" else budget / 2
        for kind, given in givers.items():
            if kind and name != "manager" and nodes >= SIZES[-1]:
                continue
            pair = {"hand": hand, "managed": in_context(way)}
            pair["managed"](given())
            rounds = _rounds(hand, given, 2, share)
            with clocked(passes) as spent:
                times, within = in_turn(pair, given, rounds, spent)
            shares = {
                way: median(total / inside - 1 for total, inside in zip(times[way], within[way], strict=True))
                for way in pair
            }
            more, low, high = overhead(times["managed"], times["hand"])
            figures |= {
                f"{kind}hand_seconds": median(times["hand"]),
                f"{kind}seconds": median(times["managed"]),
                f"{kind}overhead": more,
                f"{kind}low": low,
                f"{kind}high": high,
                f"{kind}rounds": rounds,
                f"{kind}outside": shares["managed"] - shares["hand"],
            }
        yield name, figures


def measure_peers(nodes: int, repeats: int) -> Iterator[tuple[str, dict[str, float]]]:
    """By peer: microseconds for one pass and one operation by hand, and what the manager adds."""
    all_peers = peers()
    check_equal_work(all_peers, nodes)
    for peer in all_peers:
        make = functools.partial(peer.make, nodes)
        ways = {"hand": peer.by_hand, "managed": peer.managed}
        rounds = _rounds(peer.managed, make, 2, _seconds_of(nodes, repeats) / 8)
        times, _ = in_turn(ways, make, rounds)
        hand, managed = median(times["hand"]), median(times["managed"])
        yield (
            peer.name,
            {
                "hand_us": hand * 1e6,
                "managed_us": managed * 1e6,
                "added_us": (managed - hand) * 1e6,
                "added_us_a_pass": (managed - hand) * 1e6 / PASSES,
                "overhead": managed / hand - 1,
                "rounds": rounds,
            },
        )


def run(repeats: int = REPEATS, nodes: Sequence[int] = SIZES) -> dict[str, Any]:
    """Measure everything, show every row as it comes, and return the figures.

    ``repeats``: so many times as long as by default, with as many more rounds. ``nodes``: the sizes.
    """
    managed: dict[str, Any] = {}
    others: dict[str, Any] = {}
    console = Console(width=160, highlight=False)
    gc.freeze()  # what torch brought along need not be looked through before every measurement
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # patterns that match nothing are not what is measured
        for size in nodes:
            console.print(f"{PASSES} passes of the library, {size:,} nodes, beside the calls by hand:")
            managed[str(size)] = {}
            for name, row in measure_instruments(size, folder, repeats):
                managed[str(size)][name] = row
                settled = f"; nothing left to do {_text(row, 'settled_')}" if "settled_seconds" in row else ""
                console.print(f"  {name:22} {_text(row, '')}{settled}")
            console.print(f"{PASSES} simple passes, {size:,} operations, by hand and managed:")
            others[str(size)] = {}
            for name, row in measure_peers(size, repeats):
                others[str(size)][name] = row
                console.print(
                    f"  {name:22} {row['hand_us']:,.0f} -> {row['managed_us']:,.0f} us, "
                    f"{row['added_us_a_pass']:+,.1f} us a pass ({row['overhead']:+.0%})"
                )
    return {
        "library_passes": managed,
        "peers": others,
        "passes": PASSES,
        "goals": {"none": GOAL_NONE, "timing and statistics": GOAL_LIGHT},
    }


def _text(row: Mapping[str, float], kind: str) -> str:
    """One comparison: milliseconds, and more than by hand; the interval where there are rounds enough to tell."""
    rounds = int(row[f"{kind}rounds"])
    interval = f"{row[f'{kind}low']:+.1%} to {row[f'{kind}high']:+.1%}, " if rounds >= LEAST_ROUNDS else ""
    return (
        f"{row[f'{kind}hand_seconds'] * 1e3:,.2f} -> {row[f'{kind}seconds'] * 1e3:,.2f} ms, "
        f"{row[f'{kind}overhead']:+.1%} ({interval}{rounds} rounds), outside the passes {row[f'{kind}outside']:.2%}"
    )


def main() -> None:
    """``python -m benchmarks.pipeline --nodes 100 1000``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=list(SIZES), help="sizes of graphs")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="so many times as many rounds")
    options = parser.parse_args()
    run(options.repeats, options.nodes)


if __name__ == "__main__":
    main()
