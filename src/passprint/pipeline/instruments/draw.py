"""A drawing of the pipeline over its graphs: one page of HTML, and the graphs by Graphviz where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from torch.fx import Graph, Node

from passprint.errors import PipelineError
from passprint.passes.naming import name_of
from passprint.pipeline.graph_text import cut_text, difference, nodes_text, target_text, value_text
from passprint.pipeline.instruments.base import Instrument, PassRun, PipelineRun
from passprint.pipeline.snapshots import Snapshot

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title><style>
:root { color-scheme: light dark; --line: #8886; --bar: #3b82f6; --add: #16a34a; --del: #dc2626; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 68rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; } td, th { padding: .3rem .6rem; text-align: left; }
tr { border-bottom: 1px solid var(--line); vertical-align: top; } .n { text-align: right; white-space: nowrap; }
.bar { background: var(--bar); height: .6rem; border-radius: 2px; min-width: 1px; }
.still td { opacity: .55; } .error { color: var(--del); } pre { overflow-x: auto; font-size: 13px; margin: .3rem 0; }
.add { color: var(--add); } .del { color: var(--del); } .note { opacity: .75; font-size: 13px; }
</style></head><body><h1>{{ title }}</h1>
{% for graph in graphs %}<h2>graph {{ graph.number }} <span class="note">at {{ graph.hook }},
{{ graph.before }} → {{ graph.after }} nodes</span></h2>
{% if graph.image %}<p><a href="{{ graph.image }}">the graph, drawn</a></p>{% endif %}
<table><tr><th>pass</th><th class="n">rewrites</th><th class="n">nodes</th><th class="n">ms</th><th>time</th></tr>
{% for row in graph.rows %}<tr class="{{ '' if row.changed else 'still' }}"><td>
{{ '&nbsp;&nbsp;'|safe * row.depth }}{% if row.diff %}<details><summary>{{ row.name }}</summary><pre>
{% for kind, line in row.diff %}<span class="{{ kind }}">{{ line }}</span>
{% endfor %}</pre></details>{% else %}{{ row.name }}{% endif %}
{% for note in row.notes %}<div class="note">{{ note }}</div>{% endfor %}
{% if row.error %}<div class="error">{{ row.error }}</div>{% endif %}</td>
{% if row.group %}<td colspan="4"></td>{% else %}<td class="n">{{ row.rewrites }}</td>
<td class="n">{{ row.nodes }}</td><td class="n">{{ '%.2f'|format(row.ms) }}</td>
<td style="width: 20%"><div class="bar" style="width: {{ '%.1f'|format(row.share) }}%"></div></td>{% endif %}</tr>
{% endfor %}</table>{% endfor %}</body></html>
"""


@dataclass
class _Row:
    name: str
    depth: int
    changed: bool = False
    rewrites: int = 0
    nodes: str = ""
    ms: float = 0.0
    share: float = 0.0
    diff: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: str = ""
    group: str = ""  # of the title of a group


@dataclass
class _Drawn:
    number: int
    hook: str
    before: int
    after: int = 0
    rows: list[_Row] = field(default_factory=list)
    image: str = ""


class Draw(Instrument):
    """Writes ``pipeline.html``: for every graph the passes in order, what each changed, how long it took, and how close
    patterns came that did not match.

    ``folder``: where it goes; it is written anew after every graph. ``graphviz``: also write each final graph as
    ``graph000.dot``, and as ``graph000.svg`` where Graphviz's ``dot`` is installed.
    """

    beyond_graphs: ClassVar[bool] = True

    def __init__(self, folder: str | Path = "passprint-drawing", *, graphviz: bool = True) -> None:
        self._folder = Path(folder)
        self._graphviz = graphviz
        self._graphs: dict[PipelineRun, _Drawn] = {}
        self._before: dict[PassRun, Callable[[], str]] = {}

    def before_pipeline(self, run: PipelineRun) -> None:
        outermost = run.outermost_for(self)
        if run is outermost:
            self._graphs[run] = _Drawn(run.graph_id, run.hook or "several hooks", len(run.graph.nodes))
        else:
            rows, depth = self._graphs[outermost].rows, run.depth - outermost.depth - 1
            number = 1 + sum(row.group == run.label and row.depth == depth for row in rows)
            rows.append(_Row(f"{run.label} {number}", depth, group=run.label))

    def before_pass(self, run: PassRun) -> None:
        self._before[run] = _text_of(run)

    def after_pass(self, run: PassRun) -> None:
        row = self._row(run)
        row.notes += [f"{pattern}: {count} match(es)" for pattern, count in run.patterns.items() if count]
        row.notes += [f"{pattern}: {miss}" for pattern, miss in run.near_misses.items()]

    def on_skip(self, pass_: Any, reason: str, run: PipelineRun) -> None:
        outermost = run.outermost_for(self)
        depth = run.depth - outermost.depth
        self._graphs[outermost].rows.append(_Row(name_of(pass_), depth, notes=[f"left out: {reason}"]))

    def on_error(self, run: PassRun, error: Exception) -> None:
        row = self._row(run)
        row.error = next(iter(str(error).splitlines()), "")
        row.changed = True
        self._finish(run.outermost_for(self))

    def after_pipeline(self, run: PipelineRun) -> None:
        if run is run.outermost_for(self):
            self._finish(run)

    def _row(self, run: PassRun) -> _Row:
        before = self._before.pop(run, None)
        nodes = f"{run.nodes_before} → {_count_of(run)}"
        outermost = run.outermost_for(self)
        depth = run.within[-1].depth - outermost.depth
        row = _Row(run.name, depth, run.changed, run.rewrites, nodes, run.seconds * 1e3)
        if before is not None and run.changed:
            lines = difference(before(), _text_of(run)(), ("before", "after")).splitlines()[2:]
            row.diff = [({"+": "add", "-": "del"}.get(line[:1], ""), line) for line in lines]
        self._graphs[outermost].rows.append(row)
        return row

    def _finish(self, run: PipelineRun) -> None:
        drawn = self._graphs[run]
        drawn.after = len(run.graph.nodes)
        longest = max((row.ms for row in drawn.rows), default=0.0) or 1.0
        for row in drawn.rows:
            row.share = 100 * row.ms / longest
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._graphviz:
                drawn.image = _draw_graph(run.graph, self._folder / f"graph{drawn.number:03}")
            (self._folder / "pipeline.html").write_text(self._page(), encoding="utf-8")
        except OSError as error:
            raise PipelineError(
                f"the drawing could not be written to {self._folder} ({error}); give Draw one that can be written to"
            ) from error

    def _page(self) -> str:
        import jinja2  # a dependency of torch

        environment = jinja2.Environment(autoescape=True)
        return environment.from_string(_PAGE).render(title="passprint pipeline", graphs=self._graphs.values())


def _text_of(run: PassRun) -> Callable[[], str]:
    """What the pass works on, to be written out where it is wanted."""
    if run.scheduled is not None:
        nodes = list(run.scheduled)
        return lambda: nodes_text(nodes)
    if run.parts:
        return lambda: cut_text(*run.parts)
    return Snapshot(run.graph).text


def _count_of(run: PassRun) -> int:
    if run.scheduled is not None:
        return len(run.scheduled)
    return sum(len(part.nodes) for part in run.parts or (run.graph,))


def dot_text(graph: Graph) -> str:
    """The graph in Graphviz's language: operators as boxes, with what each is annotated with."""
    lines = ["digraph {", '  node [shape=box, fontname="sans-serif", fontsize=10];']
    for node in graph.nodes:
        lines_of_label = [_title(node)]
        if "val" in node.meta:
            lines_of_label.append(value_text(node.meta["val"]))
        label = "\\n".join(map(_escaped, lines_of_label))
        lines.append(f'  "{node.name}" [label="{label}"];')
        lines += [f'  "{used.name}" -> "{node.name}";' for used in node.all_input_nodes]
    return "\n".join([*lines, "}"]) + "\n"


def _title(node: Node) -> str:
    if node.op == "output":
        return node.op
    return f"{node.name}: {node.op if node.op == 'placeholder' else target_text(node.target)}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _draw_graph(graph: Graph, path: Path) -> str:
    """Write the graph; the name of the best file there is now."""
    source = path.with_suffix(".dot")
    source.write_text(dot_text(graph), encoding="utf-8")
    program = shutil.which("dot")
    if program is None:
        return source.name
    image = path.with_suffix(".svg")
    done = subprocess.run([program, "-Tsvg", str(source), "-o", str(image)], capture_output=True, check=False)
    return image.name if done.returncode == 0 else source.name
