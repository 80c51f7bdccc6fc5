"""``passprint passes``: which passes there are, what one does, and what a pipeline makes of a graph."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from passprint.cli.trial import run_command
from passprint.errors import PipelineError

if TYPE_CHECKING:
    from rich.table import Table

    from passprint.passes import BasePass

passes_app = typer.Typer(
    help="Look at the graph passes that can be named in a pipeline.", no_args_is_help=True
)

passes_app.command("run")(run_command)

Modules = Annotated[
    list[str] | None,
    typer.Option(
        "--module", "-m", help="Import this module first, so that its passes are known. Repeatable."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclasses.dataclass(frozen=True)
class Option:
    """A field of a pass, as text; ``default`` is None where a value must be given."""

    name: str
    type: str
    default: str | None


@dataclasses.dataclass(frozen=True)
class Description:
    """What is told about a pass. ``place`` is its place in the default pipeline, from 1, or None.

    ``hook`` is where it runs if nothing is said, ``hooks`` where it can run; ``order`` is what its class declares.
    ``disputed``: the name is another pass's as well, or no name for a pass, so that no pipeline can use it.
    """

    name: str
    about: str
    doc: str
    options: list[Option]
    hook: str
    hooks: list[str]
    order: dict[str, list[str]]
    place: int | None
    source: str
    line: int | None
    disputed: bool = False


@passes_app.command("list")
def list_command(modules: Modules = None, as_json: AsJson = False) -> None:
    """List every known pass: passprint's own, those of installed packages, those of --module.

    With PASSPRINT_VLLM=passes, vLLM's as well. Gives 1 where two of them claim one name, and says which.
    """
    from rich.table import Table
    from rich.text import Text

    from passprint.cli.console import console, prose

    import_modules(modules or [])
    from passprint.pipeline.registry import claimed_passes

    claims, disputes = claimed_passes()
    described = [
        dataclasses.replace(describe(kind), disputed=name in disputes)
        for name, kinds in claims.items()
        for kind in kinds
    ]
    described += _of_vllm()
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(one) for one in described], indent=2))
        _tell_disputes(disputes)
        return
    described.sort(key=lambda one: (one.place is None, one.place, one.name))
    table = Table(title=f"{len(described)} passes", title_justify="left", title_style="bold")
    table.add_column("name", style="cyan", no_wrap=True)
    table.add_column("default", justify="center", no_wrap=True)
    table.add_column("options", overflow="fold")
    table.add_column("what it does", overflow="fold")
    for one in described:
        place = Text(f"✓ {one.place}", style="green") if one.place is not None else Text("–", style="dim")
        if one.disputed:
            place = Text("disputed", style="red")
        table.add_row(
            one.name, place, ", ".join(_signature(option) for option in one.options), prose(one.about)
        )
    console().print(table)
    _tell_disputes(disputes)


def _of_vllm() -> list[Description]:
    """vLLM's passes, where PASSPRINT_VLLM asks for them."""
    from passprint.integrations.vllm.listing import listed

    return [
        Description(
            name=name,
            about=" ".join((inspect.getdoc(kind) or "(no docstring)").split("\n\n")[0].split()),
            doc=inspect.getdoc(kind) or "(no docstring)",
            options=[],
            hook="post_grad_post",
            hooks=["post_grad_post"],
            order={},
            place=None,
            source=f"vLLM: {kind.__module__}",
            line=None,
        )
        for name, kind in listed().items()
    ]


def _tell_disputes(disputes: dict[str, str]) -> None:
    """Raise PipelineError with all of them, if there are any."""
    if disputes:
        raise PipelineError("\n".join(disputes.values()))


@passes_app.command("show")
def show_command(
    name: Annotated[str, typer.Argument(help="The pass's name, as in a pipeline's text.")],
    modules: Modules = None,
    as_json: AsJson = False,
) -> None:
    """Show what a pass does, its options, where it runs and where it is written."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.panel import Panel
    from rich.text import Text

    from passprint.cli.console import console, docstring

    import_modules(modules or [])
    from passprint.pipeline import get_pass

    one = describe(get_pass(name))
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(one), indent=2))
        return
    body = Group(
        docstring(one.doc),
        Text(),
        _facts(one),
        Text(),
        Text("options" if one.options else "no options", style="bold" if one.options else "dim"),
        *([Padding(_options(one.options), (0, 0, 0, 2))] if one.options else []),
    )
    console().print(
        Panel(body, title=Text(one.name, style="bold cyan"), title_align="left", expand=False, padding=(1, 2))
    )


def describe(kind: type[BasePass]) -> Description:
    """What there is to tell about a pass class."""
    from passprint.passes.base import ORDER
    from passprint.passes.library import DEFAULT

    doc = inspect.cleandoc(kind.__dict__.get("__doc__") or "")
    if doc.startswith(f"{kind.__name__}("):  # what dataclasses writes where the author wrote nothing
        doc = ""
    try:
        source = inspect.getsourcefile(kind) or "(unknown)"
        line: int | None = inspect.getsourcelines(kind)[1]
    except (OSError, TypeError):
        source, line = "(no source: defined interactively or built in)", None
    return Description(
        name=kind.name,
        about=" ".join(doc.split("\n\n")[0].split()) if doc else "(no docstring)",
        doc=doc or "(no docstring)",
        options=[_option(field) for field in dataclasses.fields(kind) if field.init],
        hook=_hooks_of(kind)[0],
        hooks=_hooks_of(kind),
        order={name: list(getattr(kind, name)) for name in ORDER if getattr(kind, name)},
        place=DEFAULT.index(kind) + 1 if kind in DEFAULT else None,
        source=source,
        line=line,
    )


def _option(field: dataclasses.Field[Any]) -> Option:
    if field.default_factory is not dataclasses.MISSING:
        default: str | None = repr(field.default_factory())
    else:
        default = None if field.default is dataclasses.MISSING else repr(field.default)
    written = field.type if isinstance(field.type, str) else inspect.formatannotation(field.type)
    return Option(field.name, written, default)


def _signature(option: Option) -> str:
    return option.name if option.default is None else f"{option.name}={option.default}"


def _hooks_of(kind: type[BasePass]) -> list[str]:
    """Where a pass may run, the place where it runs if nothing is said first."""
    from passprint.pipeline.members import hooks_for
    from passprint.pipeline.torch_door import DEFAULT_HOOK

    return sorted(hooks_for(kind), key=lambda hook: hook != DEFAULT_HOOK)


def _facts(one: Description) -> Table:
    from rich.table import Table
    from rich.text import Text

    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    others = f", or {', '.join(one.hooks[1:])}" if len(one.hooks) > 1 else ""
    facts.add_row("runs at", f"{one.hook}{others}")
    for name, names in one.order.items():
        facts.add_row(name, ", ".join(names))
    if one.place is None:
        facts.add_row("default pipeline", Text("no: name it to use it", style="yellow"))
    else:
        facts.add_row("default pipeline", Text(f"yes, place {one.place}", style="green"))
    required = [f"{option.name}=…" for option in one.options if option.default is None]
    facts.add_row("in a pipeline", one.name + (f"{{{','.join(required)}}}" if required else ""))
    facts.add_row("source", one.source if one.line is None else f"{one.source}:{one.line}")
    return facts


def _options(options: list[Option]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for heading in ("name", "type", "default"):
        table.add_column(heading, overflow="fold")
    for option in options:
        default = Text("must be given", style="yellow") if option.default is None else Text(option.default)
        table.add_row(Text(option.name, style="cyan"), Text(option.type), default)
    return table


def look_in_working_folder() -> None:
    """Let imports find what lies in the working folder, as ``python -m`` does."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def import_modules(modules: list[str]) -> None:
    """Import modules by name, the working folder included, as ``python -m`` does."""
    if modules:
        look_in_working_folder()
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise PipelineError(
                f"The module {name!r} cannot be imported: {error}. "
                f"Give its dotted name, as in an import statement, and start where Python finds it."
            ) from error
