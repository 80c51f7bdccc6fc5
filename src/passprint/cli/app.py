"""The one application that all commands hang on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from passprint import __version__
from passprint.cli.bisect import bisect_command
from passprint.cli.cache import cache_app
from passprint.cli.demo import demo_command
from passprint.cli.doctor import doctor_command
from passprint.cli.explain import explain_command
from passprint.cli.identity import diff_command, fingerprint_command
from passprint.cli.moving import pull_command, push_command
from passprint.cli.passes import passes_app
from passprint.cli.report import report_command
from passprint.cli.reproduce import reproduce_command
from passprint.cli.trust import key_app, trust_app
from passprint.errors import PassprintError

app = typer.Typer(
    name="passprint",
    help="Graph passes and compiled artifacts for torch.compile, keyed by what the code is.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"passprint {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Graph passes and compiled artifacts for torch.compile, keyed by what the code is."""
    if context.invoked_subcommand is None:
        from passprint.cli.start import show

        show()


app.command("demo")(demo_command)
app.command("fingerprint")(fingerprint_command)
app.command("diff")(diff_command)
app.command("explain")(explain_command)
app.command("doctor")(doctor_command)
app.command("report")(report_command)
app.command("bisect")(bisect_command)
app.command("reproduce")(reproduce_command)
app.command("push")(push_command)
app.command("pull")(pull_command)
app.add_typer(passes_app, name="passes")
app.add_typer(cache_app, name="cache")
app.add_typer(trust_app, name="trust")
app.add_typer(key_app, name="key")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (``sys.argv`` when None) and return its exit status.

    An error that passprint raises on purpose is printed as one message, without a traceback, and gives 1; so
    is a warning, and changes nothing.
    """
    shown_by_python = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if category.__module__.partition(".")[0] == "passprint":
            _say("warning", "yellow", str(message))
        else:
            shown_by_python(message, category, *place, **more)

    warnings.showwarning = show
    try:
        app(args=list(arguments) if arguments is not None else None)
    except PassprintError as error:
        _say("error", "red", str(error))
        return 1
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        warnings.showwarning = shown_by_python
    return 0


def _say(what: str, color: str, message: str) -> None:
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, soft_wrap=True).print(Text.assemble((f"{what}: ", f"bold {color}"), message))
