"""State that a reader could take for read whole, or in an order, and that is not; and beside each what is."""

from __future__ import annotations

from tests.oracle.fragments import Fragment, kind


@kind
def set_made_here(f: Fragment) -> None:
    """A set that the code fills is gone through: any process has the sum."""
    f.slot("members", "'a', 'b', 'c', 'd'", "'a', 'b', 'd', 'e'")
    f.init("self.<n> = [<members>]")
    f.value(
        f.pick(
            "sum([ord(v) for v in set(self.<n>)]) % 7",
            "sum([ord(v) for v in {v.lower() for v in self.<n>}]) % 7",
            "sum([ord(v) for v in {*self.<n>, 'z'}]) % 7",
            "sum(map(ord, frozenset(self.<n>))) % 7",
            "len([v for v in ('a', 'x', 'e') if v in set(self.<n>) | {'x'}])",
        )
    )
    f.live("another list", "o.<n> = ['f', 'g', 'a']")


@kind
def set_behind_a_computed_key(f: Fragment) -> None:
    f.slot("members", "'a', 'b', 'c', 'd'", "'a', 'b', 'd', 'e'")
    f.init(
        "self.<n> = {'x': {<members>}, 'y': {'f', 'g'}}",
    )
    f.init("self.<n>_keys = ['x', 'y']")
    f.value(
        f.pick(
            "ord(next(iter(self.<n>[self.<n>_keys[0]]))) - 96",
            "ord(list(self.<n>.get(self.<n>_keys[0]))[0]) - 96",
            "sum(i * ord(v) for held in self.<n>.values() for i, v in enumerate(held)) % 7",
        )
    )
    f.live("another set", "o.<n>['x'] = {'f', 'h', 'a'}")
    f.live("another key", "o.<n>_keys.reverse()")
    f.whole.add("order")


@kind
def dict_behind_a_property(f: Fragment) -> None:
    f.slot("k")
    f.idle("unused", "", ", 'unused': 3")
    f.init("self.<n>_held = {'k': <k>, 'l': 2<unused>}")
    f.member(
        """
            @property
            def <n>(self):
                return self.<n>_held
            """
    )
    f.value(
        f.pick(
            "self.<n>['k']", "self.<n>.get('k', 3) + self.<n>['l']", "('absent' in self.<n>) + self.<n>['k']"
        )
    )
    f.live("set", "o.<n>_held['k'] = 9")
    f.live("add", "o.<n>_held['absent'] = 9")


@kind
def dict_listed_behind_a_property(f: Fragment) -> None:
    f.slot("k")
    f.slot("more", "", ", 'more': 3")
    f.init("self.<n>_held = {'k': <k>, 'l': 2<more>}")
    f.init("self.<n>_key = 'k'")
    f.member(
        """
            @property
            def <n>(self):
                return self.<n>_held
            <n>_too = <n>
            """
    )
    f.value(
        f.pick(
            "sum(self.<n>.values()) + len(self.<n>)",
            "sum(self.<n>_too.values())",
            "self.<n>_too[self.<n>_key] + len(self.<n>_too)",
            "sum(self.<n>[k] for k in self.<n>)",
        )
    )
    f.live("set", "o.<n>_held['k'] = 9")
    f.live("add", "o.<n>_held['m'] = 9")


@kind
def config_by_getattr(f: Fragment) -> None:
    """As configurations do: attributes are looked up in a dict."""
    f.slot("k")
    f.idle("unused", "", ", 'unused': 3", ", 'unused': [1, 2]")
    f.top(
        "b",
        """
            class <n>Config:
                def __init__(self, held):
                    self.__dict__['held'] = held
                def __getattr__(self, name):
                    if 'held' in self.__dict__ and name in self.__dict__['held']:
                        return self.__dict__['held'][name]
                    raise AttributeError(name)
            """,
    )
    f.init("self.<n> = b.<n>Config({'k': <k>, 'l': 2<unused>})")
    f.value(f.pick("self.<n>.k", "self.<n>.k + self.<n>.l", "self.<n>.k + hasattr(self.<n>, 'absent')"))
    f.live("set", "o.<n>.held['k'] = 9")
    f.live("add", "o.<n>.held['absent'] = 9")


@kind
def dict_subclass_by_name(f: Fragment) -> None:
    f.slot("k")
    f.slot("more", "", ", m=4")
    f.idle("unused", "", ", unused=3")
    base = f.pick("dict", "collections.OrderedDict")
    f.top(
        "a",
        f"""
            import collections
            class <n>Dict({base}):
                def setdefault(self, *args):
                    raise TypeError('it is frozen')
                def total(self):
                    return sum(self.values())
                def first(self, key):
                    return super().get(key, 5)
            """,
    )
    listed = f.pick(False, True)
    f.init(
        "self.<n> = a.<n>Dict(k=<k>, l=2<more><unused>)"
        if not listed
        else "self.<n> = a.<n>Dict(k=<k>, l=2<more>)"
    )
    f.init("self.<n>_key = 'm'")
    f.value(
        f.pick(
            "self.<n>.total()",
            "len(self.<n>) + self.<n>['k']",
            "self.<n>.first(self.<n>_key) + self.<n>['k']",
        )
        if listed
        else f.pick("self.<n>['k'] + ('m' in self.<n>)", "self.<n>['k'] + self.<n>.get('m', 1)")
    )
    f.live("set", "o.<n>['k'] = 9")
    f.live("add", "o.<n>['m'] = 9")


@kind
def only_told_in_a_log(f: Fragment) -> None:
    """The order of a set of texts, which is another one in each process, is told in a log alone."""
    f.slot("k")
    f.top(
        "a",
        """
            import logging
            <n>_log = logging.getLogger('oracle')
            class <n>Told:
                def __init__(self, k, names):
                    self.k, self.told = k, names
                def read(self):
                    if self.k > 100:
                        <n>_log.warning(f"{', '.join(self.told)} of {list(self.told)}")
                    return self.k
            """,
    )
    f.init("self.<n> = a.<n>Told(<k>, {'a', 'b', 'c', 'd'})")
    f.value("self.<n>.read()")
    f.live("set", "o.<n>.k = 9")
