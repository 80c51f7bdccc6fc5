"""Dataclasses, enums, named tuples, objects with slots."""

from __future__ import annotations

from tests.oracle.fragments import Fragment, kind


@kind
def data_class(f: Fragment) -> None:
    how = f.pick("", "(frozen=True)", "(slots=True)", "(frozen=True, slots=True)", "(kw_only=True)")
    f.slot("k")
    f.slot("default", "2", "3")
    f.idle("unused", "1", "2")
    f.top(
        "a",
        f"@dataclasses.dataclass{how}\nclass <n>Config:\n    k: int = 1\n    other: int = <default>\n"
        "    unused: int = <unused>\n    @property\n    def both(self):\n        return self.k + self.other * <factor>",
    )
    f.slot("factor", "1", "2")
    f.init("self.<n> = a.<n>Config(k=<k>)")
    f.value(
        f.pick("self.<n>.k + self.<n>.other", "self.<n>.both", "getattr(self.<n>, 'k')", "self.<n>.other")
    )
    f.live("another one", "o.<n> = a.<n>Config(k=8, other=9)")
    if "frozen" not in how:
        f.live("set", "o.<n>.k = 9; o.<n>.other = 7")
        f.live("set an unused one", "o.<n>.unused = 9", reads=False)


@kind
def data_class_listed(f: Fragment) -> None:
    f.slot("k")
    f.slot("more", "pass", "z: int = 4")
    f.top(
        "b",
        """
            @dataclasses.dataclass
            class <n>Config:
                k: int = <k>
                l: int = 2
                <more>
            """,
    )
    f.init("self.<n> = b.<n>Config()")
    f.value(
        f.pick(
            "sum(getattr(self.<n>, f.name) for f in dataclasses.fields(self.<n>))",
            "(1 if self.<n> == b.<n>Config(k=4, l=2) else 2) + self.<n>.k",
            "len(dataclasses.fields(self.<n>)) + self.<n>.k",
        )
    )
    f.live("set", "o.<n>.k = 9")


@kind
def data_class_nested(f: Fragment) -> None:
    f.slot("k")
    f.slot("names", "'up', 'down'", "'up'", "'down', 'gate'")
    f.top(
        "a",
        """
            @dataclasses.dataclass
            class <n>Inner:
                names: frozenset = frozenset({<names>})
                sizes: list = dataclasses.field(default_factory=lambda: [<k>, 2])
            @dataclasses.dataclass
            class <n>Config:
                inner: <n>Inner = dataclasses.field(default_factory=<n>Inner)
            """,
    )
    f.init("self.<n> = a.<n>Config()")
    f.value(
        "(3 if 'up' in self.<n>.inner.names else 1) + self.<n>.inner.sizes[0] + len(self.<n>.inner.names) * 2"
    )
    f.live("set", "o.<n>.inner.sizes[0] = 9")
    f.live("another set", "o.<n>.inner.names = frozenset()")


@kind
def enum_member(f: Fragment) -> None:
    f.slot("k")
    f.slot("which", "MLP", "GATE")
    f.idle("unused", "7", "8")
    base = f.pick("enum.Enum", "enum.Enum", "enum.IntEnum")
    f.top(
        "b",
        f"class <n>Part({base}):"
        """
    MLP = <k>
    GATE = 9
    SKIP = 10 + <unused>
    @property
    def twice(self):
        return self.value * <factor>
""",
    )
    f.slot("factor", "2", "3")
    f.init("self.<n> = b.<n>Part.<which>")
    f.value(
        f.pick(
            "self.<n>.value",
            "(2 if self.<n> is b.<n>Part.MLP else 3)",
            "(2 if self.<n> == b.<n>Part.MLP else 3)",
            "len(self.<n>.name)",
            "self.<n>.twice",
            "b.<n>Part.MLP.value + b.<n>Part['GATE'].value",
            "{b.<n>Part.MLP: 2, b.<n>Part.GATE: 3}[self.<n>]",
            "(2 if self.<n> in (b.<n>Part.MLP, b.<n>Part.SKIP) else 3)",
        )
    )
    f.live("another member", "o.<n> = b.<n>Part.GATE if o.<n> is b.<n>Part.MLP else b.<n>Part.MLP")


@kind
def enum_containers(f: Fragment) -> None:
    f.slot(
        "members",
        "<n>Part.MLP, <n>Part.NORM, <n>Part.SKIP",
        "<n>Part.MLP, <n>Part.GATE",
        "<n>Part.NORM, <n>Part.SKIP",
    )
    f.slot("k")
    f.top(
        "b",
        """
            class <n>Part(enum.Enum):
                MLP = 'mlp'
                NORM = 'norm'
                GATE = 'gate'
                SKIP = 'skip'

            <n>PARTS = frozenset({<members>})
            <n>TABLE = {<n>Part.MLP: <k>, <n>Part.GATE: 2}
            """,
    )
    f.init("""
            self.<n> = set(b.<n>PARTS)
            self.<n>_table = dict(b.<n>TABLE)
            """)
    f.value(
        f.pick(
            "(2 if b.<n>Part.MLP in self.<n> else 3)",
            "(2 if b.<n>Part.GATE in b.<n>PARTS else 3)",
            "len(b.<n>PARTS) + (b.<n>Part.MLP in b.<n>PARTS)",
            "self.<n>_table[b.<n>Part.MLP]",
            "b.<n>TABLE[b.<n>Part.MLP] + b.<n>TABLE.get(b.<n>Part.NORM, 3)",
            "(2 if self.<n> == {b.<n>Part.MLP, b.<n>Part.GATE} else 3)",
            "sum(p in self.<n> for p in b.<n>Part if p is not b.<n>Part.NORM) + len(b.<n>Part) * 0",
        )
    )
    f.live("another set", "o.<n> = {b.<n>Part.GATE}")
    f.live("another global set", "b.<n>PARTS = frozenset({b.<n>Part.GATE})")
    f.live("another table", "o.<n>_table[b.<n>Part.MLP] = 9; b.<n>TABLE[b.<n>Part.MLP] = 9")


@kind
def enum_listed(f: Fragment) -> None:
    f.slot("k")
    f.slot("more", "pass", "D = 9")
    f.top(
        "a",
        """
            class <n>Part(enum.Enum):
                A = <k>
                B = 8
                <more>
            """,
    )
    f.value(
        f.pick(
            "sum(p.value for p in a.<n>Part)",
            "len(a.<n>Part) + a.<n>Part.A.value",
            "len(list(a.<n>Part))",
            "len(a.<n>Part.__members__)",
        )
    )


@kind
def enum_flag(f: Fragment) -> None:
    f.slot("which", "<n>F.R | <n>F.W", "<n>F.R", "<n>F.W")
    f.top(
        "a",
        """
            class <n>F(enum.Flag):
                R = 1
                W = 2

            <n>USED = <which>
            """,
    )
    f.init("self.<n> = a.<n>USED")
    f.value(f.pick("self.<n>.value", "(2 if self.<n> == a.<n>F.R else 3)", "a.<n>USED.value"))
    f.live("another", "o.<n> = a.<n>F(0); a.<n>USED = a.<n>F(0)")


@kind
def named_tuple(f: Fragment) -> None:
    f.slot("k")
    f.slot("default", "2", "3")
    if f.pick(True, False):
        f.top(
            "c",
            """
            class <n>Pair(NamedTuple):
                k: int
                l: int = <default>
                def both(self):
                    return self.k + self.l
            """,
        )
        both = "self.<n>.both()"
    else:
        f.top("c", "<n>Pair = collections.namedtuple('<n>Pair', ['k', 'l'], defaults=[<default>])")
        both = "self.<n>[0] + self.<n>[1]"
    f.init("self.<n> = c.<n>Pair(<k>)")
    f.value(
        f.pick(
            "self.<n>.k + self.<n>.l",
            both,
            "sum(self.<n>)",
            "self.<n>._replace(k=1).l",
            "len(self.<n>) + self.<n>.k",
        )
    )
    f.live("another", "o.<n> = c.<n>Pair(8, 9)")


@kind
def slots_object(f: Fragment) -> None:
    f.slot("k")
    f.idle("unused", "1", "2")
    f.top(
        "a",
        """
            class <n>Slots:
                __slots__ = ('k', 'unused', 'empty')
                def __init__(self):
                    self.k = <k>
                    self.unused = <unused>
            """,
    )
    f.init("self.<n> = a.<n>Slots()")
    f.value(
        f.pick(
            "self.<n>.k",
            "getattr(self.<n>, 'k')",
            "self.<n>.k + (3 if hasattr(self.<n>, 'empty') else 1)",
            "getattr(self.<n>, 'empty', 2) + self.<n>.k",
        )
    )
    f.live("set", "o.<n>.k = 9; o.<n>.empty = 4")
    f.live("set an unused one", "o.<n>.unused = 9", reads=False)
