"""A failure in a folder: the graph, the pipeline, the versions, and a script that shows it again.

``graph.json``, ``constants.pt`` and ``modules.pt``: the graph before the pass. ``failure.json``: the pass as text,
where it is defined, what watched it, and the error. ``numerics.pt``: the inputs on which results differed, and the
tolerances. ``before.txt``: the graph to read. ``run.py``: the script.
"""

from __future__ import annotations

import importlib
import json
import pickle
import platform
import re
import runpy
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node

import passprint
from passprint.errors import PassError, PipelineError
from passprint.passes import CallableInductorPass, CompileRange, pass_context
from passprint.pipeline.execution import sample_inputs
from passprint.pipeline.graph_file import Parts, from_data, to_data
from passprint.pipeline.graph_text import graph_text
from passprint.pipeline.instruments.chosen import instruments_from_text
from passprint.pipeline.instruments.numerics import Numerics
from passprint.pipeline.rerun import CannotRunAgain, run_again
from passprint.pipeline.snapshots import Snapshot, copy_graph

_SCRIPT = '''"""Shows again how the pass '{name}' failed. Run it, or `passprint reproduce` with this folder."""

from pathlib import Path

from passprint.pipeline.reproducer import Reproducer

reproducer = Reproducer.load(Path(__file__).parent)
print(reproducer.graph_text())
print(reproducer.describe())
reproducer.run()  # raises the same error
'''


_BROKEN = re.compile(r"broke the [\w' ]+ \(([^)]*)\)")


@dataclass(frozen=True)
class Failure:
    """What went wrong. ``pipeline``: the pass as text. ``module``: what to import for it; ``file``: where that lies,
    for a script; ``attribute``: the object's name in there, where no class stands for it. ``instruments``: as text.
    ``kind``: the first words of the reason's rule, by which two failures are compared. ``options``: what torch told a
    partitioner.
    """

    pass_name: str
    reason: str
    kind: str
    node: str | None
    pipeline: str
    hook: str
    module: str
    file: str | None
    attribute: str | None
    instruments: str
    start: int
    end: int
    options: dict[str, Any] = field(default_factory=dict)


def kind_of(error: PassError) -> str:
    """What two equal failures have in common: the rule that was broken, or the type of what was raised."""
    text = str(error)
    for words in ("changed the results", "cannot be run any more", "must return nothing"):
        if words in text:
            return words
    broken = _BROKEN.search(text)
    if broken is not None:
        return broken[1]
    if f"the pass '{error.pass_name}' raised " in text:
        return text.partition(" raised ")[2].partition(":")[0]
    return "broke the graph"


class Reproducer:
    """A pass, a graph on which it fails, and how."""

    def __init__(self, graph: Graph, failure: Failure, pass_: Any, given: GivenInputs | None = None) -> None:
        self.graph = graph
        self.failure = failure
        self._pass = pass_
        self._given = given

    @classmethod
    def load(cls, folder: Path) -> Reproducer:
        """Read a folder; raises PipelineError where it is none, or where the pass is not found."""
        try:
            failure = Failure(**json.loads((folder / "failure.json").read_text(encoding="utf-8")))
            pass_ = _find_pass(failure)
            data = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
            parts = Parts(
                torch.load(folder / "constants.pt", weights_only=True),
                # a module is code, as the pass is
                torch.load(folder / "modules.pt", weights_only=False),
            )
            stored = folder / "numerics.pt"
            given = GivenInputs(**torch.load(stored, weights_only=True)) if stored.exists() else None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise PipelineError(
                f"{folder} holds no failure that can be read ({error}); give the folder that the instrument "
                "'reproduce' wrote"
            ) from error
        return cls(from_data(data, parts), failure, pass_, given)

    def run(self) -> None:
        """Run the pass on a copy of the graph, at the hook where it failed; raises PassError if it fails.

        Raises PipelineError where a graph whose schedule was spoilt cannot be compiled here.
        """
        self._run(copy_graph(self.graph))

    def is_failing(self, graph: Graph) -> bool:
        """Whether the pass fails on ``graph`` in the same way."""
        try:
            self._run(copy_graph(graph))
        except PassError as error:
            return error.pass_name == self.failure.pass_name and kind_of(error) == self.failure.kind
        except CannotRunAgain:
            return False
        return False

    def _run(self, graph: Graph) -> None:
        from passprint.pipeline.manager import PassManager

        failure = self.failure
        instruments = [
            one if self._given is None or one.name != "numerics" else self._given.instrument(graph)
            for one in instruments_from_text(failure.instruments)
        ]
        manager = PassManager([self._pass], hook=failure.hook, instruments=instruments)
        with pass_context(CompileRange(failure.start, failure.end)):
            run_again(manager, graph, failure.options)

    def reduce(self, tell: Callable[[int], object] = lambda nodes: None) -> Reproducer:
        """The same failure on a smaller graph: nodes are turned into inputs, outputs left out, while it still fails.

        ``tell`` hears how many nodes are left after each step that helped.
        """
        smaller = _reduced(self.graph, self.is_failing, tell)
        return Reproducer(smaller, self.failure, self._pass, self._given)

    def graph_text(self) -> str:
        """The graph, to read."""
        return graph_text(self.graph)

    def describe(self) -> str:
        """What failed, in two lines."""
        return (
            f"{len(self.graph.nodes)} nodes; pipeline: {self.failure.pipeline}\nthen: {self.failure.reason}"
        )

    def save(self, folder: Path) -> None:
        """Write the folder; raises PipelineError for a graph that cannot be written down."""
        data, parts = to_data(Snapshot(self.graph))
        write(folder, data, parts, self.failure, self.graph_text(), self._given)


@dataclass(frozen=True)
class GivenInputs:
    """What Numerics compared a graph on: ``inputs`` by the name of the placeholder, ``tolerances`` by dtype."""

    inputs: dict[str, Any]
    tolerances: dict[torch.dtype, tuple[float, float]]
    seed: int

    def instrument(self, graph: Graph) -> Numerics:
        """Numerics on the same inputs; an input that a smaller graph has more of is made from its annotation."""
        names = [node.name for node in graph.nodes if node.op == "placeholder"]
        made = [] if set(names) <= self.inputs.keys() else sample_inputs(graph, self.seed)
        inputs = [self.inputs.get(name, made[at] if made else None) for at, name in enumerate(names)]
        return Numerics(inputs, tolerances=self.tolerances, seed=self.seed)


def write(
    folder: Path,
    data: dict[str, Any],
    parts: Parts,
    failure: Failure,
    text: str,
    given: GivenInputs | None = None,
) -> None:
    """Write a failure's folder; raises PipelineError for a module of the graph that cannot be written down."""
    folder.mkdir(parents=True, exist_ok=True)
    versions = {
        "passprint": passprint.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    (folder / "graph.json").write_text(json.dumps(data), encoding="utf-8")
    (folder / "failure.json").write_text(json.dumps(asdict(failure), indent=1), encoding="utf-8")
    (folder / "versions.json").write_text(json.dumps(versions, indent=1), encoding="utf-8")
    (folder / "before.txt").write_text(text, encoding="utf-8")
    (folder / "run.py").write_text(_SCRIPT.format(name=failure.pass_name), encoding="utf-8")
    torch.save(parts.constants, folder / "constants.pt")
    if given is not None:
        torch.save(vars(given), folder / "numerics.pt")
    try:
        torch.save(parts.modules, folder / "modules.pt")
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise PipelineError(
            f"the graph holds the modules {', '.join(parts.modules)}, and one cannot be written to a file: {error}"
        ) from error


def place_of(pass_: Any) -> tuple[str, str | None, str | None]:
    """Where a pass is defined: the module, the file for a script, and the object's name for one made of a function."""
    owner = pass_.fn if isinstance(pass_, CallableInductorPass) else type(pass_)
    module = getattr(owner, "__module__", "") or ""
    loaded = sys.modules.get(module)
    file = str(getattr(loaded, "__file__", "") or "") or None
    attribute = None
    if isinstance(pass_, CallableInductorPass):
        named = vars(loaded).items() if loaded is not None else ()
        attribute = next((name for name, value in named if value is pass_ or value is pass_.fn), None)
    return module, file if module in ("__main__", "") else None, attribute


def _find_pass(failure: Failure) -> Any:
    from passprint.pipeline.manager import PassManager

    try:
        names = runpy.run_path(failure.file, run_name="passprint_reproducer") if failure.file else None
        module = importlib.import_module(failure.module) if names is None and failure.module else None
    except (ImportError, OSError) as error:
        raise PipelineError(
            f"the pass '{failure.pass_name}' is defined in {failure.file or failure.module}, which cannot be imported "
            f"({error}); start where Python finds it"
        ) from error
    if failure.attribute is not None:
        found = names[failure.attribute] if names is not None else getattr(module, failure.attribute)
        return (
            found
            if isinstance(found, CallableInductorPass)
            else CallableInductorPass(found, name=failure.pass_name)
        )
    (pass_,) = PassManager.parse(failure.pipeline, hook=failure.hook).passes
    _keep_alive.append(names)
    return pass_


_keep_alive: list[object] = []  # a script's classes are known only as long as its names are


def _reduced(graph: Graph, fails: Callable[[Graph], bool], tell: Callable[[int], object]) -> Graph:
    """Delta debugging: outputs are left out, a node becomes the only one, writes go, nodes become inputs.

    Each step tries many at once first, then ever fewer.
    """
    best = graph
    for step in (_with_outputs, _with_result, _without_writes, _with_inputs):
        names = step.candidates(best)
        size = max(1, len(names) // 2)
        while names:
            shrunk = False
            for start in range(0, len(names), size):
                chosen = set(names[start : start + size])
                smaller = step(best, chosen)
                if smaller is not None and len(smaller.nodes) < len(best.nodes) + 1 and fails(smaller):
                    best, shrunk = smaller, True
                    tell(len(best.nodes))
                    names = [name for name in step.candidates(best) if name not in chosen]
                    break
            if not shrunk:
                if size == 1:
                    break
                size = max(1, size // 2)
    return best


class _Step:
    def __init__(
        self, apply: Callable[[Graph, set[str]], bool], candidates: Callable[[Graph], Sequence[str]]
    ) -> None:
        self._apply = apply
        self._candidates = candidates

    def candidates(self, graph: Graph) -> list[str]:
        return list(self._candidates(graph))

    def __call__(self, graph: Graph, chosen: set[str]) -> Graph | None:
        copy = copy_graph(graph)
        if not self._apply(copy, chosen):
            return None
        copy.eliminate_dead_code()
        for node in list(copy.nodes):
            if node.op == "placeholder" and not node.users:
                copy.erase_node(node)
        return GraphModule(copy.owning_module or torch.nn.Module(), copy).graph


def _output(graph: Graph) -> Node:
    output: Node = next(iter(reversed(graph.nodes)))
    return output


def _drop_outputs(graph: Graph, chosen: set[str]) -> bool:
    output = _output(graph)
    held = output.args[0]
    if not isinstance(held, list | tuple):
        return False
    kept = tuple(value for value in held if not (isinstance(value, Node) and value.name in chosen))
    if not kept or len(kept) == len(held):
        return False
    output.args = (kept,)
    return True


def _end_at(graph: Graph, chosen: set[str]) -> bool:
    """Make one node the only output."""
    node = next((node for node in graph.nodes if node.name in chosen), None)
    output = _output(graph)
    if len(chosen) != 1 or node is None or output.args == ((node,),):
        return False
    output.args = ((node,),)
    return True


def _drop_writes(graph: Graph, chosen: set[str]) -> bool:
    for node in [node for node in graph.nodes if node.name in chosen]:
        graph.erase_node(node)
    return bool(chosen)


def _tensors(graph: Graph) -> list[str]:
    called = [node for node in graph.nodes if node.op == "call_function"]
    return [node.name for node in called if isinstance(node.meta.get("val"), torch.Tensor)]


def _cut(graph: Graph, chosen: set[str]) -> bool:
    """Turn the chosen nodes into inputs, annotated as they were."""
    first = next(iter(graph.nodes))
    done = False
    for node in list(graph.nodes):
        value = node.meta.get("val")
        if node.name not in chosen or not isinstance(value, torch.Tensor):
            continue
        with graph.inserting_before(first):
            made = graph.placeholder(f"{node.name}_in")
        with value.fake_mode:  # type: ignore[attr-defined]
            made.meta["val"] = torch.empty_strided(
                value.shape, value.stride(), dtype=value.dtype, device=value.device
            )
        node.replace_all_uses_with(made)
        done = True
    return done


_with_outputs = _Step(_drop_outputs, lambda graph: [node.name for node in _output(graph).all_input_nodes])
_with_result = _Step(_end_at, _tensors)
_without_writes = _Step(
    _drop_writes,
    lambda graph: [node.name for node in graph.nodes if node.op == "call_function" and not node.users],
)
_with_inputs = _Step(_cut, lambda graph: [node.name for node in graph.nodes if node.op == "call_function"])
