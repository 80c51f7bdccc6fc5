"""A graph as plain data, with what its inputs are annotated with: written to a file, and made again elsewhere.

The annotations of inputs are kept, symbolic sizes as expressions of symbols with the number that each stood for; all
others are computed anew. Constants of the module are kept as tensors, and its parts as graphs or as modules.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node

from passprint.errors import PipelineError
from passprint.passes import torch_door as passes_door
from passprint.passes.annotations import CannotCompute, compute
from passprint.pipeline.snapshots import MISSING, Nodes, Snapshot
from passprint.pipeline.torch_door import Symbols, register_operators, symbols_of

FORMAT = 2
_TORCH_KINDS = (torch.dtype, torch.layout, torch.memory_format)


@dataclass
class Parts:
    """What a graph needs beside its own text. ``constants``: tensors by name; ``modules``: other modules by name.

    The names within a graph that is a part of the module begin with that part's, as in ``true_graph_0/weight``.
    """

    constants: dict[str, torch.Tensor] = field(default_factory=dict)
    modules: dict[str, torch.nn.Module] = field(default_factory=dict)

    def within(self, name: str) -> Parts:
        """What belongs to the graph that is called ``name``."""
        return Parts(_below(name, self.constants), _below(name, self.modules))


def _below(name: str, parts: dict[str, Any]) -> dict[str, Any]:
    prefix = f"{name}/"
    return {key.removeprefix(prefix): part for key, part in parts.items() if key.startswith(prefix)}


@dataclass
class _Numbers:
    """The symbols of the whole file with the number that each stood for, and the memories that inputs lie in."""

    symbols: dict[str, int] = field(default_factory=dict)
    storages: dict[int, int] = field(default_factory=dict)


def to_data(snapshot: Snapshot) -> tuple[dict[str, Any], Parts]:
    """``snapshot`` as JSON-able data, and the constants and modules that it needs.

    Graphs that are parts of the module (of control flow) are written down in the same way. Raises PipelineError for a
    graph that holds an object that cannot be written down.
    """
    numbers, parts = _Numbers(), Parts()
    within = {nodes.graph: nodes for nodes in snapshot.branches.values()}
    nodes, graphs = _nodes_to_data(snapshot, snapshot.named, within, numbers, parts, "")
    return {"format": FORMAT, "symbols": numbers.symbols, "nodes": nodes, "graphs": graphs}, parts


def _nodes_to_data(
    snapshot: Nodes,
    named: Mapping[str, Graph],
    within: Mapping[Graph, Nodes],
    numbers: _Numbers,
    parts: Parts,
    prefix: str,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    nodes: list[dict[str, Any]] = []
    graphs: dict[str, Any] = {}
    for record in snapshot.records:
        node = record.node
        entry: dict[str, Any] = {"name": node.name, "op": node.op, "target": _target(record.target, node)}
        entry["args"] = _encode(record.args, node)
        entry["kwargs"] = _encode(dict(record.kwargs), node)
        entry["annotated"] = record.value is not MISSING
        if node.op == "placeholder" or (_is_control_flow(record.target) and entry["annotated"]):
            entry["value"] = _encode_value(record.value, numbers.symbols, numbers.storages, node)
        if node.op in ("get_attr", "call_module"):
            name = str(record.target)
            found = _attribute(snapshot.graph, name)
            if isinstance(found, GraphModule):
                graph = named.get(
                    f"{prefix}{name}", found.graph
                )  # as it was, also if another has its place now
                records = within.get(graph) or Nodes(graph)
                inner = _nodes_to_data(records, named, within, numbers, parts, f"{prefix}{name}/")
                graphs[name] = dict(zip(("nodes", "graphs"), inner, strict=True))
            elif isinstance(found, torch.nn.Module):
                parts.modules[prefix + name] = found
            else:
                parts.constants[prefix + name] = _constant(found, name)
        nodes.append(entry)
    return nodes, graphs


def from_data(data: Mapping[str, Any], parts: Parts) -> Graph:
    """The graph that `to_data` wrote down, annotated, in a module of its own; raises PipelineError for other data."""
    if data.get("format") != FORMAT:
        raise PipelineError(
            f"the graph's file has the format {data.get('format')!r}, and this passprint reads {FORMAT}; "
            "write it again with this version"
        )
    return _graph_of(data, parts, Symbols(data["symbols"]))


def _graph_of(data: Mapping[str, Any], parts: Parts, symbols: Symbols) -> Graph:
    module = torch.nn.Module()
    for name, inner in data["graphs"].items():
        module.add_module(_flat(name), _graph_of(inner, parts.within(name), symbols).owning_module)
    for name, part in parts.modules.items():
        if "/" not in name:
            module.add_module(_flat(name), part)
    for name, tensor in parts.constants.items():
        if "/" not in name:
            module.register_buffer(_flat(name), tensor)
    graph = Graph()
    nodes: dict[str, Node] = {}
    memory: dict[int, torch.Tensor] = {}
    for entry in data["nodes"]:
        args, kwargs = _decode(entry["args"], nodes), _decode(entry["kwargs"], nodes)
        op, target = entry["op"], entry["target"]
        if op in ("get_attr", "call_module"):
            target = _flat(target)
        elif op == "call_function":
            target = _resolve(target)
        node = graph.create_node(op, target, tuple(args), kwargs, name=entry["name"])
        if entry["annotated"] and "value" in entry:
            node.meta["val"] = _decode_value(entry["value"], symbols, memory)
        nodes[entry["name"]] = node
    made = GraphModule(module, graph)
    _annotate(made.graph, data, symbols)
    return made.graph


def _flat(name: str) -> str:
    return name.replace(".", "_")


def _is_control_flow(target: object) -> bool:
    """Whether a node runs graphs that it is given, so that what it gives cannot be told from its arguments alone."""
    return isinstance(target, torch._ops.HigherOrderOperator)


def _annotate(graph: Graph, data: Mapping[str, Any], symbols: Symbols) -> None:
    to_compute = {entry["name"] for entry in data["nodes"] if entry["annotated"] and "value" not in entry}
    with passes_door.propagating(symbols.mode), torch.no_grad():
        for node in graph.nodes:
            if node.op in ("call_function", "get_attr") and node.name in to_compute:
                try:
                    node.meta["val"] = compute(node, symbols.mode)
                except CannotCompute:
                    continue  # what cannot be computed was not right when it was written


def _attribute(graph: Graph, name: str) -> Any:
    value: Any = graph.owning_module
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _constant(value: Any, name: str) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise PipelineError(
            f"the graph holds '{name}', a {type(value).__name__}, which cannot be written to a file"
        )
    return value.detach().cpu()


def _target(target: Any, node: Node) -> str:
    if isinstance(target, str):
        return target
    if isinstance(target, torch._ops.OpOverload):
        return f"torch.ops:{target}"
    if _is_control_flow(target):
        return f"torch.ops:higher_order.{target.name()}"
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", None)
    if not module or not name or "<" in name:
        raise PipelineError(
            f"the graph calls {target!r} in '{node.name}', which cannot be found again by name"
        )
    return f"{module}:{name}"


def _resolve(text: str) -> Any:
    module, _, path = text.partition(":")
    register_operators()
    try:
        found: Any = torch.ops if module == "torch.ops" else importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError) as error:
        raise PipelineError(
            f"the graph calls {path!r}, which is not there ({error}); import what defines it first (--module)"
        ) from error
    return found


def _encode(value: Any, node: Node) -> Any:
    if isinstance(value, Node):
        return {"node": value.name}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return {"float": repr(value)}
    if isinstance(value, list | tuple):
        return {
            type(value).__name__ if type(value) is tuple else "list": [_encode(item, node) for item in value]
        }
    if isinstance(value, dict):
        return {"dict": [[_encode(key, node), _encode(item, node)] for key, item in value.items()]}
    if isinstance(value, slice):
        return {"slice": [_encode(part, node) for part in (value.start, value.stop, value.step)]}
    if isinstance(value, _TORCH_KINDS):
        return {"torch": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    raise PipelineError(
        f"'{node.name}' has the argument {value!r} ({type(value).__name__}), which no file can hold"
    )


def _decode(value: Any, nodes: Mapping[str, Node]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    if kind == "node":
        return nodes[held]
    if kind == "float":
        return float(held)
    if kind in ("list", "tuple"):
        items = [_decode(item, nodes) for item in held]
        return items if kind == "list" else tuple(items)
    if kind == "dict":
        return {_decode(key, nodes): _decode(item, nodes) for key, item in held}
    if kind == "slice":
        return slice(*(_decode(part, nodes) for part in held))
    return getattr(torch, held) if kind == "torch" else torch.device(held)


def _encode_value(value: Any, symbols: dict[str, int], storages: dict[int, int], node: Node) -> Any:
    """An annotation; values with one ``storage`` number share their memory."""
    if isinstance(value, list | tuple):
        return {"several": [_encode_value(one, symbols, storages, node) for one in value]}
    if isinstance(value, torch.Tensor):
        storage = value.untyped_storage()._cdata
        return {
            "dtype": str(value.dtype).removeprefix("torch."),
            "device": str(value.device),
            "shape": [_size(size, symbols) for size in value.shape],
            "stride": [_size(stride, symbols) for stride in value.stride()],
            "offset": _size(value.storage_offset(), symbols),
            "storage": storages.setdefault(storage, len(storages)),
        }
    if value is MISSING or value is None:
        return None
    if isinstance(value, int | float | bool | torch.SymInt | torch.SymFloat | torch.SymBool):
        return {"number": _size(value, symbols)}
    raise PipelineError(f"'{node.name}' is annotated with a {type(value).__name__}, which no file can hold")


def _size(size: Any, symbols: dict[str, int]) -> Any:
    if not isinstance(size, torch.SymInt | torch.SymFloat | torch.SymBool):
        return size
    symbols.update(symbols_of(size))
    return str(size.node.expr)


def _decode_value(value: Any, symbols: Symbols, memory: dict[int, torch.Tensor]) -> Any:
    if value is None:
        return None
    if "several" in value:
        return tuple(_decode_value(one, symbols, memory) for one in value["several"])
    if "number" in value:
        return symbols.number(value["number"])
    shape, stride = ([symbols.number(size) for size in value[key]] for key in ("shape", "stride"))
    dtype, device = getattr(torch, value["dtype"]), torch.device(value["device"])
    with symbols.mode:
        held = memory.get(value["storage"])
        if held is None or held.dtype != dtype:
            made = torch.empty_strided(shape, stride, dtype=dtype, device=device)
            memory[value["storage"]] = made
            return made
        return held.as_strided(shape, stride, symbols.number(value["offset"]))
