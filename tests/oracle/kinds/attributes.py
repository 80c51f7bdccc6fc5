"""Attributes of modules and of plain objects, and the ways in which Python finds them."""

from __future__ import annotations

from tests.oracle.fragments import Fragment, kind


@kind
def attribute_number(f: Fragment) -> None:
    f.slot("k")
    f.init("self.<n> = <k>")
    f.value(f.pick("self.<n>", "int(self.<n> * 2.0)", "abs(-self.<n>)", "len(str('x' * self.<n>))"))
    f.live("set", "o.<n> = 8")
    f.live("set an equal value", "o.<n> = int(str(o.<n>))", reads=False)


@kind
def attribute_flag(f: Fragment) -> None:
    f.slot("flag", *f.pick(("True", "False"), ("False", "True"), ("None", "True"), ("1", "0")))
    f.slot("yes")
    f.init("self.<n> = <flag>")
    f.value(f.pick("<yes> if self.<n> else 0", "<yes> * bool(self.<n>)", "0 if not self.<n> else <yes>"))
    f.live("turn", "o.<n> = not o.<n>")


@kind
def attribute_text(f: Fragment) -> None:
    f.slot("text", "'gelu-2-b'", "'relu-4-b'", "'gelu-3-b'")
    f.init("self.<n> = <text>")
    f.value(
        f.pick(
            "int(self.<n>.split('-')[1])",
            "{'gelu-2-b': 1, 'relu-4-b': 2}.get(self.<n>, 5)",
            "(1 if self.<n>.startswith('gelu-2') else 4)",
            "(2 if self.<n> == 'gelu-2-b' else 3)",
            "(2 if '-2-' in self.<n>.upper() else 3)",
            "(2 if self.<n>[5] == '2' else 3)",
        )
    )
    f.live("set", "o.<n> = 'tanh-5-b'")


@kind
def attribute_float(f: Fragment) -> None:
    f.slot("k", "0.5", "1.5", "-0.5")
    f.init("self.<n> = <k>")
    f.value(f.pick("self.<n> * 2", "round(self.<n> + 1.1)", "(self.<n> > 0) + 3 * (self.<n> < 1)"))
    f.live("set", "o.<n> = 5.5")


@kind
def attribute_none(f: Fragment) -> None:
    f.slot("k", "None", "3", "4")
    f.init("self.<n> = <k>")
    f.value(f.pick("(1 if self.<n> is None else self.<n>)", "(self.<n> or 2)"))
    f.live("set", "o.<n> = 5 if o.<n> is None else None")


@kind
def attribute_missing(f: Fragment) -> None:
    f.slot("line", "pass", "self.<n> = 4", "self.<n> = 5")
    f.init("<line>")
    f.value(
        f.pick(
            "getattr(self, '<n>', 2)",
            "(self.<n> if hasattr(self, '<n>') else 1)",
            "(3 if '<n>' in self.__dict__ else 1)",
            "self.__dict__.get('<n>', 1)",
            "(3 if '<n>' in vars(self) else 1)",
            "vars(self).get('<n>', 1)",
        )
    )
    f.live("add", "o.<n> = 6")
    f.whole |= {"self", "class"}


@kind
def attribute_try(f: Fragment) -> None:
    f.slot("line", "pass", "self.<n> = 4")
    f.init("<line>")
    f.member(
        """
            def <n>_read(self):
                try:
                    return self.<n>
                except AttributeError:
                    return 2
            """
    )
    f.value("self.<n>_read()")
    f.live("add", "o.<n> = 6")


@kind
def attribute_computed(f: Fragment) -> None:
    f.slot("which", "'one'", "'two'")
    f.slot("k")
    f.init("""
            self.<n>_which = <which>
            self.<n>_one = <k>
            self.<n>_two = 7
            """)
    f.value(
        f.pick(
            "getattr(self, '<n>_' + self.<n>_which)",
            "getattr(self, f'<n>_{self.<n>_which}')",
            "getattr(self, '_'.join(['<n>', self.<n>_which]), 0)",
            "operator.attrgetter('<n>_' + self.<n>_which)(self)",
            "sum(getattr(self, f'<n>_{s}') for s in ('one', 'two')) + (self.<n>_which == 'two')",
            "(getattr(self, '<n>_three', 1) if hasattr(self, '<n>_' + self.<n>_which[::1]) else 0) + self.<n>_one",
        )
    )
    f.live("set", "o.<n>_one = 9")
    f.whole |= {"self", "class"}


@kind
def attribute_listed(f: Fragment) -> None:
    f.slot("line", "pass", "self.<n>_c = 3", "self.<n>_d = 4")
    f.init("""
            self.<n>_a = 1
            self.<n>_b = 2
            <line>
            """)
    f.value(
        f.pick(
            "sum(v for k, v in vars(self).items() if k.startswith('<n>_'))",
            "len([k for k in self.__dict__ if k.startswith('<n>_')])",
            "sum(1 for k in vars(self).keys() if '<n>' in k)",
        )
    )
    f.live("add", "o.<n>_e = 5")
    f.whole |= {"self", "class"}


@kind
def property_read(f: Fragment) -> None:
    f.slot("k")
    f.slot("body", "self.<n>_k + 1", "self.<n>_k + 2", "self.<n>_k")
    f.init("self.<n>_k = <k>")
    how = f.pick("@property", "@property", "@functools.cached_property")
    f.member(f"{how}\ndef <n>(self):\n    return <body>", inherited=f.pick(True, False))
    f.value("self.<n>")
    if "cached" not in how:
        f.live("set", "o.<n>_k = 8")
        f.live("another property", "type(o).<n> = property(lambda self: 7)")


@kind
def class_attribute(f: Fragment) -> None:
    f.slot("k")
    f.slot("shadow", "pass", "self.<n> = 8")
    f.member("<n> = <k>", inherited=f.pick(True, False))
    f.init("<shadow>")
    f.value(f.pick("self.<n>", "type(self).<n>", "self.__class__.<n> + self.<n>", "getattr(self, '<n>', 0)"))
    f.live("set on the class", "type(o).<n> = 9")
    f.live("shadow", "o.<n> = 9", reads=True)
    f.live("set on the base", "c.Base.<n> = 7")


@kind
def class_attribute_of_helper(f: Fragment) -> None:
    f.slot("k")
    f.slot("over", "pass", "k = 5")
    f.idle("unused", "1", "2")
    f.top(
        "c",
        """
            class <n>Root:
                k = <k>
                unused = <unused>
                table = {'k': 2}
            """,
    )
    f.top(
        "b",
        """
            class <n>Middle(c.<n>Root):
                <over>
            """,
    )
    f.init("self.<n> = b.<n>Middle()")
    f.value(
        f.pick(
            "self.<n>.k",
            "b.<n>Middle.k",
            "type(self.<n>).k",
            "c.<n>Root.k + self.<n>.k",
            "self.<n>.k + b.<n>Middle.table['k']",
        )
    )
    f.live("set", "c.<n>Root.k = 9")
    f.live("set on the middle", "b.<n>Middle.k = 8")
    f.live("set an unused one", "c.<n>Root.unused = 8", reads=False)


@kind
def method_inherited(f: Fragment) -> None:
    f.slot("k")
    f.slot("op", "+", "*")
    f.init("self.<n>_k = 3")
    f.member(
        """
            def <n>(self, n):
                return n <op> <k>
            """,
        inherited=True,
    )
    if f.pick(True, False):
        f.member("""
            def <n>(self, n):
                return super().<n>(n) + <more>
            """)
        f.slot("more", "1", "2")
    f.value("self.<n>(self.<n>_k)")
    f.live("replace on the class", "type(o).<n> = lambda self, n: n + 11")
    f.live("replace on the object", "o.<n> = lambda n: n + 12")
    f.live("replace on the base", "c.Base.<n> = lambda self, n: n + 13")


@kind
def method_static(f: Fragment) -> None:
    f.slot("k")
    f.idle("unused", "return 1", "return 2")
    how, first = f.pick(("staticmethod", ""), ("classmethod", "cls, "))
    f.member(f"@{how}\ndef <n>({first}n):\n    return n + <k>", inherited=f.pick(True, False))
    f.member("""
            def <n>_unused(self):
                <unused>
            """)
    f.value(f.pick("self.<n>(2)", "type(self).<n>(2)"))
    f.live("replace", "type(o).<n> = staticmethod(lambda n: n + 9)")


@kind
def submodule_attribute(f: Fragment) -> None:
    f.slot("k")
    f.init(
        "self.<n>_sub = " + f.pick("torch.nn.Dropout(0.1)", "torch.nn.LayerNorm(8)", "torch.nn.Identity()")
    )
    f.init("""
            self.<n>_sub.scale = <k>
            self.<n>_sub.unused = <idle>
            """)
    f.idle("idle", "1", "2")
    f.value(
        f.pick(
            "self.<n>_sub.scale",
            "getattr(self.<n>_sub, 'scale', 1)",
            "self._modules['<n>_sub'].scale",
            "self.get_submodule('<n>_sub').scale",
        )
    )
    f.live("set", "o.<n>_sub.scale = 9")
    f.live("set an unused one", "o.<n>_sub.unused = 9", reads=False)
    f.live("another submodule", "s = torch.nn.Identity(); s.scale = 7; s.unused = 1; o.<n>_sub = s")
