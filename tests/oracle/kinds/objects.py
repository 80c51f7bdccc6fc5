"""Plain objects: their attributes, and what their classes make of a look-up."""

from __future__ import annotations

from tests.oracle.fragments import Fragment, kind


@kind
def object_attribute(f: Fragment) -> None:
    f.slot("k")
    f.idle("other", "1", "2")
    f.top(
        "a",
        """
            class <n>Config:
                def __init__(self):
                    self.k = <k>
                    self.unused = <other>
            """,
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
        """
            class <n>Config:
                def __init__(self):
                    self.k = <k>
                    self.l = 2
                    <more>
            """,
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
def dynamic_getattr(f: Fragment) -> None:
    f.slot("k")
    f.slot("default", "2", "3")
    f.top(
        "a",
        """
            class <n>Lazy:
                def __init__(self):
                    self.__dict__['data'] = {'k': <k>}
                def __getattr__(self, name):
                    return self.__dict__['data'].get(name, <default>)
            """,
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
        """
            class <n>Lazy:
                def __init__(self):
                    self.k = <k>
                def __getattribute__(self, name):
                    value = object.__getattribute__(self, name)
                    return value * <factor> if name == 'k' else value
            """,
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
        """
            class <n>Sub(torch.nn.Module):
                def __init__(self):
                    super().__init__()
                    self.table = {'k': <k>}
                def __getattr__(self, name):
                    if name == 'computed':
                        return self.table['k'] + <add>
                    return super().__getattr__(name)
            """,
    )
    f.slot("add", "1", "2")
    f.value("self.<n>_sub.computed")
    f.live("set", "o.<n>_sub.table['k'] = 8")


@kind
def descriptor(f: Fragment) -> None:
    f.slot("k")
    f.slot("add", "1", "2")
    f.top(
        "a",
        """
            class <n>Field:
                def __get__(self, owner, cls=None):
                    return owner.__dict__['<n>_k'] + <add>
            class <n>Holder:
                field = <n>Field()
                def __init__(self):
                    self.__dict__['<n>_k'] = <k>
            """,
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
        """
            class <n>Box:
                def __init__(self):
                    self.items = [<k>, 2, 3]
                def __len__(self):
                    return self.items[0] + <add>
                def __getitem__(self, i):
                    return self.items[i] + <add>
                def __contains__(self, x):
                    return x in self.items[:1] or <add> == 1
                def __bool__(self):
                    return self.items[0] > 3 or <add> == 1
                def __call__(self, n):
                    return n + self.items[0] + <add>
                def __eq__(self, other):
                    return self.items[0] == other - <add>
                __hash__ = None
                def __iter__(self):
                    return iter(self.items + [<add>])
                def __add__(self, other):
                    return self.items[0] + other + <add>
            """,
    )
    f.init("self.<n> = b.<n>Box()")
    f.value(
        f.pick(
            "len(self.<n>)",
            "self.<n>[0]",
            "(3 if 4 in self.<n> else 1)",
            "(2 if self.<n> else 5)",
            "self.<n>(2)",
            "(2 if self.<n> == 4 else 1) + (self.<n> == 9)",
            "sum(i for i in self.<n>)",
            "self.<n> + 1",
            "sum(list(self.<n>))",
        )
    )
    f.live("set", "o.<n>.items[0] = 9")
    f.live("replace", "o.<n>.items = [8, 1, 1]")


@kind
def types_asked(f: Fragment) -> None:
    f.slot("class", "<n>One", "<n>Two")
    f.slot("base", "", "(<n>One)")
    f.slot("k")
    f.top(
        "a",
        """
            class <n>One:
                k = <k>

            class <n>Two<base>:
                k = 5
            """,
    )
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
