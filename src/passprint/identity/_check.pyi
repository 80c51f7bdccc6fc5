from typing import Any

KINDS: int
"""How many kinds of rows it was built for."""

def rows_hold(rows: list[tuple[Any, ...]], absent: object, /) -> bool:
    """Whether every row, none of which is about a root, still holds."""

class Check:
    """``Check(rows, absent)``: called with a tuple of objects, says whether every row still holds."""

    def __new__(cls, rows: list[tuple[Any, ...]], absent: object, /) -> Check: ...
    def __call__(self, roots: tuple[Any, ...], /) -> bool: ...
