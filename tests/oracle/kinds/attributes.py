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


@kind
def attribute_try(f: Fragment) -> None:
    f.slot("line", "pass", "self.<n> = 4")
    f.init("<line>")
    f.member(
        "def <n>_read(self):\n    try:\n        return self.<n>\n    except AttributeError:\n        return 2"
    )
    f.value("self.<n>_read()")
    f.live("add", "o.<n> = 6")


@kind
def attribute_computed(f: Fragment) -> None:
    f.slot("which", "'one'", "'two'")
    f.slot("k")
    f.init("self.<n>_which = <which>\nself.<n>_one = <k>\nself.<n>_two = 7")
    f.value(
        f.pick(
            "getattr(self, '<n>_' + self.<n>_which)",
            "getattr(self, f'<n>_{self.<n>_which}')",
            "getattr(self, '_'.join(['<n>', self.<n>_which]), 0)",
            "operator.attrgetter('<n>_' + self.<n>_which)(self)",
            "sum(getattr(self, f'<n>_{s}') for s in ('one', 'two')) + len(self.<n>_which + 's' * (self.<n>_which == 'two'))",
            "(getattr(self, '<n>_three', 1) if hasattr(self, '<n>_' + self.<n>_which[::1]) else 0) + self.<n>_one",
        )
    )
    f.live("set", "o.<n>_one = 9")


@kind
def attribute_listed(f: Fragment) -> None:
    f.slot("line", "pass", "self.<n>_c = 3", "self.<n>_d = 4")
    f.init("self.<n>_a = 1\nself.<n>_b = 2\n<line>")
    f.value(
        f.pick(
            "sum(v for k, v in vars(self).items() if k.startswith('<n>_'))",
            "len([k for k in self.__dict__ if k.startswith('<n>_')])",
            "sum(1 for k in vars(self).keys() if '<n>' in k)",
        )
    )
    f.live("add", "o.<n>_e = 5")
    f.whole.add("self")


@kind
def object_attribute(f: Fragment) -> None:
    f.slot("k")
    f.idle("other", "1", "2")
    f.top(
        "a", "class <n>Config:\n    def __init__(self):\n        self.k = <k>\n        self.unused = <other>"
    )
    f.init(f.pick("self.<n> = a.<n>Config()", "self.<n> = types.SimpleNamespace(k=<k>, unused=<other>)"))
    f.value(f.pick("self.<n>.k", "getattr(self.<n>, 'k')", "(self.<n>.k if hasattr(self.<n>, 'k') else 0)"))
    f.live("set", "o.<n>.k = 8")
    f.live("set an unused one", "o.<n>.unused = 9", reads=False)
    f.live("add an unused one", "o.<n>.added = 9", reads=False)


@kind
def object_listed(f: Fragment) -> None:
    f.slot("k")
    f.slot("more", "pass", "self.z = 3")
    f.top(
        "b",
        "class <n>Config:\n    def __init__(self):\n        self.k = <k>\n        self.l = 2\n        <more>",
    )
    f.init("self.<n> = b.<n>Config()")
    f.value(
        f.pick(
            "sum(vars(self.<n>).values())",
            "sum(v for _, v in self.<n>.__dict__.items())",
            "(vars(self.<n>)['k'] + len(vars(self.<n>)))",
            "(self.<n>.__dict__['k'] + 2 * len(self.<n>.__dict__))",
            "(vars(self.<n>).get('z', 0) + self.<n>.k)",
            "(sum(len(n) for n in vars(self.<n>)) + self.<n>.k)",
        )
    )
    f.live("set", "o.<n>.k = 8")
    f.live("add", "o.<n>.z = 9")


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
def dynamic_getattr(f: Fragment) -> None:
    f.slot("k")
    f.slot("default", "2", "3")
    f.top(
        "a",
        "class <n>Lazy:\n    def __init__(self):\n        self.__dict__['data'] = {'k': <k>}\n"
        "    def __getattr__(self, name):\n        return self.__dict__['data'].get(name, <default>)",
    )
    f.init("self.<n> = a.<n>Lazy()")
    f.value("self.<n>.k + self.<n>.missing * 2")
    f.live("set", "o.<n>.data['k'] = 9")
    f.live("add", "o.<n>.data['missing'] = 9")
    f.live("add to the object", "o.<n>.missing = 7")


@kind
def dynamic_getattribute(f: Fragment) -> None:
    f.slot("k")
    f.slot("factor", "1", "2")
    f.top(
        "b",
        "class <n>Lazy:\n    def __init__(self):\n        self.k = <k>\n    def __getattribute__(self, name):\n"
        "        value = object.__getattribute__(self, name)\n        return value * <factor>",
    )
    f.init("self.<n> = b.<n>Lazy()")
    f.value("self.<n>.k")
    f.live("set", "o.<n>.k = 9")


@kind
def module_getattr(f: Fragment) -> None:
    f.slot("k")
    f.init("self.<n>_sub = a.<n>Sub()")
    f.top(
        "a",
        "class <n>Sub(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.table = {'k': <k>}\n"
        "    def __getattr__(self, name):\n        if name == 'computed':\n            return self.table['k'] + <add>\n"
        "        return super().__getattr__(name)",
    )
    f.slot("add", "1", "2")
    f.value("self.<n>_sub.computed")
    f.live("set", "o.<n>_sub.table['k'] = 8")


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
    f.top("c", "class <n>Root:\n    k = <k>\n    unused = <unused>\n    table = {'k': 2}")
    f.top("b", "class <n>Middle(c.<n>Root):\n    <over>")
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
    f.member("def <n>(self, n):\n    return n <op> <k>", inherited=True)
    if f.pick(True, False):
        f.member("def <n>(self, n):\n    return super().<n>(n) + <more>")
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
    f.member("def <n>_unused(self):\n    <unused>")
    f.value(f.pick("self.<n>(2)", "type(self).<n>(2)"))
    f.live("replace", "type(o).<n> = staticmethod(lambda n: n + 9)")


@kind
def submodule_attribute(f: Fragment) -> None:
    f.slot("k")
    f.init(
        "self.<n>_sub = " + f.pick("torch.nn.Dropout(0.1)", "torch.nn.LayerNorm(8)", "torch.nn.Identity()")
    )
    f.init("self.<n>_sub.scale = <k>\nself.<n>_sub.unused = <idle>")
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


@kind
def descriptor(f: Fragment) -> None:
    f.slot("k")
    f.slot("add", "1", "2")
    f.top(
        "a",
        "class <n>Field:\n    def __get__(self, owner, cls=None):\n        return owner.__dict__['<n>_k'] + <add>\n"
        "class <n>Holder:\n    field = <n>Field()\n    def __init__(self):\n        self.__dict__['<n>_k'] = <k>",
    )
    f.init("self.<n> = a.<n>Holder()")
    f.value("self.<n>.field")
    f.live("set", "o.<n>.__dict__['<n>_k'] = 9")


@kind
def dunders(f: Fragment) -> None:
    f.slot("k")
    f.slot("add", "0", "1")
    f.top(
        "b",
        "class <n>Box:\n    def __init__(self):\n        self.items = [<k>, 2, 3]\n"
        "    def __len__(self):\n        return self.items[0] + <add>\n"
        "    def __getitem__(self, i):\n        return self.items[i] + <add>\n"
        "    def __contains__(self, x):\n        return x in self.items[:1] or <add> == 1\n"
        "    def __bool__(self):\n        return self.items[0] > 3 or <add> == 1\n"
        "    def __call__(self, n):\n        return n + self.items[0] + <add>\n"
        "    def __eq__(self, other):\n        return self.items[0] == other - <add>\n"
        "    __hash__ = None\n"
        "    def __iter__(self):\n        return iter(self.items + [<add>])\n"
        "    def __add__(self, other):\n        return self.items[0] + other + <add>",
    )
    f.init("self.<n> = b.<n>Box()")
    f.value(
        f.pick(
            "len(self.<n>)",
            "self.<n>[0]",
            "(3 if 4 in self.<n> else 1)",
            "(2 if self.<n> else 5)",
            "self.<n>(2)",
            "(2 if self.<n> == 4 else 1)",
            "sum(i for i in self.<n>)",
            "self.<n> + 1",
            "sum(list(self.<n>))",
        )  # fmt: skip
    )
    f.live("set", "o.<n>.items[0] = 9")
    f.live("replace", "o.<n>.items = [8, 1, 1]")


@kind
def types_asked(f: Fragment) -> None:
    f.slot("class", "<n>One", "<n>Two")
    f.slot("base", "", "(<n>One)")
    f.slot("k")
    f.top("a", "class <n>One:\n    k = <k>\n\nclass <n>Two<base>:\n    k = 5")
    f.init("self.<n> = a.<class>()")
    f.value(
        f.pick(
            "(2 if isinstance(self.<n>, a.<n>One) else 3)",
            "(2 if type(self.<n>) is a.<n>One else 3)",
            "len(type(self.<n>).__name__ + 's' * (type(self.<n>).__name__ == '<n>Two'))",
            "(2 if issubclass(type(self.<n>), a.<n>One) else 3)",
            "self.<n>.k + issubclass(a.<n>Two, a.<n>One)",
            "(2 if self.<n>.__class__ == a.<n>One else 3)",
        )
    )
    f.live("another class", "o.<n>.__class__ = a.<n>Two")
    f.live("another object", "o.<n> = a.<n>Two()")
