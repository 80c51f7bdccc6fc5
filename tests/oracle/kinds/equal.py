"""Values that are equal and yet not the same: 1 and 1.0 and True, a list and a tuple, one object twice or two."""

from __future__ import annotations

from tests.oracle.fragments import Fragment, kind

NUMBERS = (
    ("1", "1.0", "True"),
    ("0", "False", "0.0", "-0.0"),
    ("2", "2.0"),
    ("1.0", "1"),
    ("True", "1"),
    ("0.0", "-0.0"),
)
"""Numbers that are equal and differ in type or sign."""


def _told_apart(value: str) -> str:
    """A small number that tells them apart."""
    kind_of = f"(isinstance({value}, bool) * 1 + isinstance({value}, float) * 2"
    return f"{kind_of} + (math.copysign(1, {value}) < 0) * 4 + 1)"


@kind
def equal_attribute(f: Fragment) -> None:
    f.slot("k", *f.pick(*NUMBERS))
    f.top("main", "import math")
    f.init("self.<n> = <k>")
    f.value(
        f.pick(_told_apart("self.<n>"), "len(str(self.<n>))", "len(f'{self.<n>}') + (type(self.<n>) is bool)")
    )
    f.live(
        "another type",
        "o.<n> = -0.0 if o.<n> == 0 else float(o.<n>) if type(o.<n>) is not float else int(o.<n>)",
    )


@kind
def equal_global(f: Fragment) -> None:
    f.slot("k", *f.pick(*NUMBERS))
    f.top(
        "b",
        f"""
            import math
            <n>_K = <k>
            def <n>():
                return {_told_apart("<n>_K")}
            """,
    )
    f.value("b.<n>()")
    f.live(
        "another type",
        "b.<n>_K = -0.0 if b.<n>_K == 0 else int(b.<n>_K) if type(b.<n>_K) is float else float(b.<n>_K)",
    )


@kind
def equal_in_code(f: Fragment) -> None:
    f.slot("k", *f.pick(*NUMBERS))
    f.slot("pair", "(1, 2)", "(1.0, 2)", "(True, 2)")
    f.top("main", "import math")
    f.member(
        f"""
            def <n>(self, k=<k>):
                own = <k>
                pair = <pair>
                return {_told_apart("own")} + {_told_apart("k")} + {_told_apart("pair[0]")}
            """
    )
    f.value("self.<n>()")


@kind
def equal_in_containers(f: Fragment) -> None:
    f.slot("k", *f.pick(*NUMBERS))
    f.top("main", "import math")
    at = f.pick("[0]", "['k']", ".k", "[0]")
    made = {
        "[0]": f.pick("[<k>, 2]", "(<k>, 2)"),
        "['k']": "{'k': <k>}",
        ".k": "types.SimpleNamespace(k=<k>)",
    }
    f.init(f"self.<n> = {made[at]}")
    f.value(_told_apart(f"self.<n>{at}"))
    f.live("another", f"o.<n> = {made[at]}".replace("types.", "main.types.").replace("<k>", "-0.0"))


@kind
def equal_keys(f: Fragment) -> None:
    f.slot("key", "1", "1.0", "True")
    f.init("self.<n> = {<key>: 3}")
    f.value(
        f.pick(
            "sum(isinstance(k, bool) * 2 + isinstance(k, float) for k in self.<n>) + self.<n>[1]",
            "len(str(next(iter(self.<n>)))) + self.<n>[1]",
        )
    )


@kind
def equal_containers(f: Fragment) -> None:
    f.slot(
        "made",
        *f.pick(
            ("[1, 2]", "(1, 2)"),
            ("{'a': 1}", "collections.OrderedDict(a=1)", "collections.Counter(a=1)"),
            ("frozenset({1})", "{1}"),
            ("range(2)", "[0, 1]"),
        ),
    )
    f.init("self.<n> = <made>")
    f.value(
        "isinstance(self.<n>, tuple) + isinstance(self.<n>, collections.OrderedDict) * 2"
        " + isinstance(self.<n>, set) * 3 + isinstance(self.<n>, range) * 4 + (type(self.<n>) is dict) * 5 + 1"
    )


@kind
def identity_of_objects(f: Fragment) -> None:
    f.slot("second", "self.<n>_one", "[1, 2]")
    f.init("self.<n>_one = [1, 2]\nself.<n>_two = <second>")
    f.member(
        """
            def <n>(self):
                return (2 if self.<n>_one is self.<n>_two else 3) + len(self.<n>_one) + len(self.<n>_two)
            """
    )
    f.value(
        f.pick(
            "self.<n>()",
            "(2 if self.<n>_one is self.<n>_two else 3)",
            "(self.<n>_one is not self.<n>_two) + 1",
        )
    )
    f.live("a copy", "o.<n>_two = list(o.<n>_one)")
    f.live("the same", "o.<n>_two = o.<n>_one")


@kind
def identity_of_modules(f: Fragment) -> None:
    f.slot("second", "self.<n>_one", "torch.nn.Linear(8, 8, bias=False)")
    f.init("self.<n>_one = torch.nn.Linear(8, 8, bias=False)\nself.<n>_two = <second>")
    f.value("(2 if self.<n>_one is self.<n>_two else 3)", f.pick("pass", "x = self.<n>_two(self.<n>_one(x))"))
    f.live("another", "o.<n>_two = torch.nn.Linear(8, 8, bias=False)")


@kind
def identity_of_weights(f: Fragment) -> None:
    f.slot("tie", "self.<n>_two.weight = self.<n>_one.weight", "pass")
    f.init(
        """
            self.<n>_one = torch.nn.Linear(8, 8, bias=False)
            self.<n>_two = torch.nn.Linear(8, 8, bias=False)
            <tie>
            """
    )
    f.value(
        f.pick(
            "(2 if self.<n>_one.weight is self.<n>_two.weight else 3)",
            "2",
            "len(list(self.parameters()))",
        ),
        "x = self.<n>_two(self.<n>_one(x))",
    )
    f.live("another", "o.<n>_two.weight = torch.nn.Parameter(torch.randn(8, 8))")


@kind
def text_kinds(f: Fragment) -> None:
    f.slot("text", "'ab'", "b'ab'", "a.<n>Text('ab')", "a.<n>Mode.AB")
    f.top(
        "a",
        """
            class <n>Text(str):
                pass
            class <n>Mode(str, enum.Enum):
                AB = 'ab'
            """,
    )
    f.init("self.<n> = <text>")
    f.value(
        "isinstance(self.<n>, bytes) + 2 * isinstance(self.<n>, a.<n>Text) + 4 * isinstance(self.<n>, enum.Enum) + 1"
    )
