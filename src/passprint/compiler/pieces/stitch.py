"""Join compiled pieces into one function again: plain Python that calls them in order.

A value is dropped before the last piece that uses it is called, so that the piece can free it as Inductor's own
code frees its inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch.fx import Graph, GraphModule, Node

from passprint.compiler.artifacts.stitched import Stitched
from passprint.compiler.pieces.piece import Piece, is_attribute


def stitch(gm: GraphModule, pieces: Sequence[Piece]) -> Stitched:
    """The whole graph as code: a function of its placeholders, in order, that calls one function for each piece."""
    writer = _Writer(gm.graph, pieces)
    for index, piece in enumerate(pieces):
        writer.call(index, piece)
    writer.finish()
    constants = {name: _attribute(gm, str(node.target)) for node, name in writer.attributes.items()}
    return Stitched(compile(writer.source(), "<passprint stitched graph>", "exec"), constants)


class _Writer:
    def __init__(self, graph: Graph, pieces: Sequence[Piece]) -> None:
        self.graph = graph
        self.names: dict[Node, str] = {}
        self.attributes: dict[Node, str] = {}
        self.arguments: list[str] = []
        self.lines: list[str] = []
        self.last_use = _last_uses(graph, pieces)
        for node in graph.nodes:
            if node.op == "placeholder":
                self.names[node] = f"a{len(self.arguments)}"
                self.arguments.append(self.names[node])
            elif node.op == "get_attr" and is_attribute(node):
                self.names[node] = self.attributes[node] = f"c{len(self.attributes)}"

    def call(self, index: int, piece: Piece) -> None:
        """``inputs = […]``, drop what dies here, ``outputs = piece(inputs)``."""
        self.lines.append(f"inputs = [{', '.join(self.names[n] for n in piece.inputs)}]")
        dying = [n for n in piece.inputs if n not in self.attributes and self.last_use.get(n) == index]
        if dying:
            self.lines.append(f"del {', '.join(self.names[n] for n in dying)}")
        for n, output in enumerate(piece.outputs):
            self.names[output] = f"v{index}_{n}"
        results = "".join(f"{self.names[n]}, " for n in piece.outputs)
        self.lines.append(f"{results + '= ' if results else ''}piece{index}(inputs)")

    def finish(self) -> None:
        output = next(iter(self.graph.find_nodes(op="output")))
        self.lines.append(f"return {self._literal(output.args[0])}")

    def _literal(self, value: object) -> str:
        if isinstance(value, Node):
            return self.names[value]
        if isinstance(value, (tuple, list)):
            return "(" + "".join(f"{self._literal(v)}, " for v in value) + ")"
        return repr(value)

    def source(self) -> str:
        body = "\n    ".join(self.lines)
        return f"def run({', '.join(self.arguments)}):\n    {body}\n"


def _last_uses(graph: Graph, pieces: Sequence[Piece]) -> dict[Node, int]:
    """The index of the last piece that takes each node; none for what the graph returns."""
    last = {node: index for index, piece in enumerate(pieces) for node in piece.inputs}
    for node in graph.output_node().all_input_nodes:
        last.pop(node, None)
    return last


def _attribute(gm: GraphModule, path: str) -> object:
    owner: object = gm
    for name in path.split("."):
        owner = getattr(owner, name)
    return owner
