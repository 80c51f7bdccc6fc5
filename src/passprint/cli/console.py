"""How commands write to the terminal."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.text import Text

_WIDTH_OF_FILES = 110
_CODE = re.compile(r"(`{1,2})(.+?)\1", re.DOTALL)


def console() -> Console:
    """Standard output, as wide as the terminal, and of one fixed width when it is piped or a file.

    Text is shown as it is: brackets and colons in paths and reasons are no markup.
    """
    from rich.console import Console

    return Console(
        width=None if sys.stdout.isatty() else _WIDTH_OF_FILES, highlight=False, markup=False, emoji=False
    )


def prose(text: str) -> Text:
    """One paragraph of a docstring: lines joined, code between backticks shown in a colour of its own."""
    from rich.text import Text

    joined, result, end = " ".join(text.split()), Text(), 0
    for found in _CODE.finditer(joined):
        result.append(joined[end : found.start()])
        result.append(found[2], style="cyan")
        end = found.end()
    return result.append(joined[end:])


def docstring(text: str) -> Group:
    """A docstring, fitted to the terminal: paragraphs and lists flow, indented blocks stay as they are."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    blocks: list[Text | Table] = []
    for block in text.split("\n\n"):
        if blocks:
            blocks.append(Text())
        if block.startswith("- "):
            items = Table.grid(padding=(0, 1))
            for item in re.split(r"\n(?=- )", block):
                items.add_row("•", prose(item[2:]))
            blocks.append(items)
        elif block.startswith("    "):
            blocks.append(Text(block, no_wrap=True))
        else:
            blocks.append(prose(block))
    return Group(*blocks)
