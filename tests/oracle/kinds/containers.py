"""Dicts, lists, tuples, sets and their relatives."""

from __future__ import annotations

from tests.oracle.fragments import Fragment, kind


@kind
def dict_by_key(f: Fragment) -> None:
    f.slot("k")
    f.slot("more", "", ", 'absent': 4")
    f.idle("unused", "", ", 'unused': 3", ", 'other': [1]")
    f.init("self.<n> = {'k': <k>, 'l': 2<more><unused>}")
    f.value(
        f.pick(
            "self.<n>['k'] + self.<n>.get('absent', 0)",
            "self.<n>['k'] + ('absent' in self.<n>)",
            "self.<n>.get('k') + (5 if self.<n>.get('absent') is None else 1)",
            "(self.<n>['absent'] if 'absent' in self.<n> else self.<n>['k'])",
            "(self.<n>['k'] if 'absent' not in self.<n> else 7)",
        )
    )
    f.live("set", "o.<n>['k'] = 9")
    f.live("add", "o.<n>['absent'] = 8")
    f.live("add an unused key", "o.<n>['unused'] = 8", reads=False)
    f.live("another dict", "o.<n> = {'k': 8}")


@kind
def dict_missing(f: Fragment) -> None:
    f.slot("more", "", "'absent': 4")
    f.init("self.<n> = {<more>}")
    f.member(
        """
            def <n>_read(self):
                try:
                    return self.<n>['absent']
                except KeyError:
                    return 2
            """
    )
    f.value(
        f.pick(
            "self.<n>_read()",
            "dict(self.<n>).get('absent', 1)",
            "(2 if self.<n> else 3)",
            "(2 if not self.<n> else 3)",
        )
    )
    f.live("add", "o.<n>['absent'] = 8")


@kind
def dict_listed(f: Fragment) -> None:
    f.slot("k")
    f.slot("more", "", ", 'c': 4")
    f.slot("order", "'a': 1, 'b': 2", "'b': 2, 'a': 1")
    f.init("self.<n> = {<order>, 'k': <k><more>}")
    f.value(
        f.pick(
            "sum(i * v for i, v in enumerate(self.<n>.values()))",
            "sum(i * v for i, (_, v) in enumerate(self.<n>.items()))",
            "sum(i * self.<n>[k] for i, k in enumerate(self.<n>))",
            "self.<n>[next(iter(self.<n>))] + len(self.<n>) + self.<n>['k']",
            "list(self.<n>.values())[0] + len(self.<n>) + self.<n>['k']",
            "(1 if list(self.<n>) == ['a', 'b', 'k'] else 2) + self.<n>['k']",
            "sum([*self.<n>.values()][1:])",
            "sum(i * v for i, v in enumerate({**self.<n>, 'z': 3}.values()))",
            "sum(v * (i + 1) for i, v in enumerate((self.<n> | {'z': 1}).values()))",
            "list(reversed(self.<n>.values()))[-1] + len(self.<n>) + self.<n>['k']",
        )
    )
    f.live("set", "o.<n>['k'] = 9")
    f.live("add", "o.<n>['d'] = 5")
    f.live("move to the end", "o.<n>['a'] = o.<n>.pop('a')")


@kind
def dict_set_default(f: Fragment) -> None:
    f.slot("more", "", "'k': 4")
    f.init("self.<n> = {<more>}")
    f.value("self.<n>.setdefault('k', 3)")
    f.live("set", "o.<n>['k'] = 9")


@kind
def dict_keys(f: Fragment) -> None:
    f.slot("k")
    f.slot("key", "(1, 'x')", "(2, 'x')")
    f.init("self.<n> = {<key>: <k>, 1: 2, True: 3, None: 4, 2.5: 5}")
    f.value(
        f.pick(
            "self.<n>.get((1, 'x'), 8) + self.<n>[1]",
            "self.<n>[None] + self.<n>.get((2, 'x'), 6)",
            "self.<n>[2.5] + ((1, 'x') in self.<n>)",
        )
    )
    f.live("set", "o.<n>.clear(); o.<n>.update({1: 5, None: 6, 2.5: 7})")


@kind
def dict_nested(f: Fragment) -> None:
    f.slot("k")
    f.slot("name", "'x'", "'y'")
    f.init("self.<n> = {'x': {'deep': [<k>, {'k': 2}]}, 'y': {'deep': [7, {'k': 3}]}, 'use': <name>}")
    f.value("self.<n>[self.<n>['use']]['deep'][0] + 2 * self.<n>[self.<n>['use']]['deep'][1]['k']")
    f.live("set", "o.<n>['x']['deep'][1]['k'] = 9")
    f.live("use another", "o.<n>['use'] = 'y'")


@kind
def ordered_dict(f: Fragment) -> None:
    f.slot(
        "order", "[('a', 1), ('b', 2), ('c', 3)]", "[('b', 2), ('a', 1), ('c', 3)]", "[('a', 1), ('b', 2)]"
    )
    f.init("self.<n> = collections.OrderedDict(<order>)")
    f.value(
        f.pick(
            "sum(i * v for i, v in enumerate(self.<n>.values()))",
            "list(self.<n>.values())[0] + len(self.<n>)",
            "next(iter(self.<n>.values())) + len(self.<n>)",
        )
    )
    f.live("move", "o.<n>.move_to_end('a')")


@kind
def default_dict(f: Fragment) -> None:
    f.slot("default", "2", "3")
    f.slot("more", "", "'absent': 7")
    f.top(
        "a",
        """
            def <n>_factory():
                return <default>
            """,
    )
    f.init("self.<n> = collections.defaultdict(a.<n>_factory, {<more>})")
    f.value(f.pick("self.<n>['absent']", "self.<n>.get('absent', 1)", "(3 if 'absent' in self.<n> else 2)"))
    f.live("set", "o.<n>['absent'] = 9")


@kind
def dict_relatives(f: Fragment) -> None:
    f.slot("k")
    f.init(
        f.pick(
            "self.<n> = types.MappingProxyType({'k': <k>, 'l': 2})",
            "self.<n> = collections.ChainMap({'k': <k>}, {'l': 2})",
            "self.<n> = collections.Counter({'k': <k>, 'l': 2})",
            "self.<n> = collections.UserDict({'k': <k>, 'l': 2})",
        )
    )
    f.value(f.pick("self.<n>['k']", "self.<n>['k'] + self.<n>['l']", "self.<n>.get('k', 1)"))


@kind
def dict_subclass(f: Fragment) -> None:
    f.slot("k")
    f.slot("add", "0", "1")
    f.top(
        "a",
        """
            class <n>Dict(dict):
                def __getattr__(self, name):
                    return self[name] + <add>
            """,
    )
    f.init("self.<n> = a.<n>Dict(k=<k>, l=2)")
    f.value(f.pick("self.<n>.k", "self.<n>['k'] + self.<n>.l", "self.<n>.k + len(self.<n>)"))
    f.live("set", "o.<n>['k'] = 9")


@kind
def list_read(f: Fragment) -> None:
    f.slot("k")
    f.slot("order", "1, 2, 4", "2, 1, 4", "1, 2, 4, 4")
    f.init("self.<n> = [<order>, <k>]")
    f.value(
        f.pick(
            "self.<n>[0] + 3 * self.<n>[-1]",
            "len(self.<n>) + self.<n>[3]",
            "sum(i * v for i, v in enumerate(self.<n>))",
            "sum(self.<n>)",
            "(2 if 5 in self.<n> else 3) + self.<n>[0]",
            "sorted(self.<n>)[1] + len(self.<n>)",
            "max(self.<n>) + 2 * min(self.<n>)",
            "sum(self.<n>[1:])",
            "list(reversed(self.<n>))[0] + self.<n>[1]",
            "sum(a * b for a, b in zip(self.<n>, self.<n>[1:]))",
            "(1 if self.<n>[:3] == [1, 2, 4] else 2)",
            "self.<n>.index(4) + self.<n>.count(4) * 2",
            "len([v for v in self.<n> if v > 2]) + (any(v == 5 for v in self.<n>)) * 3",
            "functools.reduce(operator.add, self.<n>)",
            "sum(map(lambda v: v + 1, filter(None, self.<n>)))",
        )
    )
    f.live("set", "o.<n>[0] = 9")
    f.live("append", "o.<n>.append(7)")
    f.live("reverse", "o.<n>.reverse()")
    f.live("another list", "o.<n> = [3, 3, 4, 3]")


@kind
def tuple_read(f: Fragment) -> None:
    f.slot("k")
    f.slot("order", "1, 2", "2, 1", "1, 2, 2")
    f.init("self.<n> = (<order>, (<k>, 3))")
    f.value(
        f.pick(
            "self.<n>[0] + self.<n>[-1][0] * 2",
            "len(self.<n>) + self.<n>[-1][0]",
            "sum(i * v for i, v in enumerate(self.<n>[:-1])) + self.<n>[-1][0]",
            "(1 if self.<n>[:2] == (1, 2) else 2) + (self.<n>[-1] == (4, 3))",
        ),
        *f.pick(("pass",), ("*first, (<n>_p, <n>_q) = self.<n>",)),
    )
    f.live("another tuple", "o.<n> = (5, 6, (7, 8))")


@kind
def set_asked(f: Fragment) -> None:
    f.slot("members", "'a', 'b', 'c'", "'a', 'b', 'c', 'd'", "'a', 'b'", "'a', 'b', 'e'")
    make = f.pick("{<members>}", "frozenset([<members>])", "set([<members>])")
    f.init(f"self.<n> = {make}")
    f.value(
        f.pick(
            "(2 if 'c' in self.<n> else 1) + (3 if 'd' in self.<n> else 5)",
            "(2 if self.<n> == {'a', 'b', 'c'} else 3)",
            "len(self.<n>)",
            "len(sorted(self.<n>)[-1] + 's' * (sorted(self.<n>)[-1] == 'c'))",
            "(2 if {'a', 'c'} <= self.<n> else 3)",
            "(2 if self.<n>.issuperset({'a', 'c'}) else 3)",
            "len(self.<n> & {'a', 'c', 'd'})",
            "len(self.<n> | {'a', 'c', 'd'})",
            "(2 if max(self.<n>) == 'c' else 1)",
            "(2 if self.<n>.isdisjoint({'c'}) else 1)",
            "sum(k in self.<n> for k in ('c', 'd', 'e'))",
            "(2 if 'c' not in self.<n> else 1)",
        )
    )
    if not make.startswith("frozenset"):
        f.live("add", "o.<n>.add('d')")
        f.live("discard", "o.<n>.discard('c')")
    f.live("another set", "o.<n> = {'a', 'x'}")


@kind
def set_of_numbers(f: Fragment) -> None:
    f.slot("members", "1, 2, 3", "1, 2, 4", "2, 3")
    f.init(f.pick("self.<n> = {<members>}", "self.<n> = frozenset({<members>})"))
    f.value(
        f.pick(
            "sum(self.<n>)",
            "(2 if 3 in self.<n> else 1) + len(self.<n>)",
            "sum(v for v in self.<n>)",
            "max(self.<n>) + len(self.<n>)",
        )
    )
    f.live("another set", "o.<n> = {7, 8}")


@kind
def set_in_order(f: Fragment) -> None:
    f.slot("members", "'a', 'b', 'c', 'd'", "'a', 'b', 'd', 'e'")
    f.init("self.<n> = {<members>}")
    f.value(
        f.pick(
            "sum(i * ord(v) for i, v in enumerate(self.<n>)) % 7",
            "ord(next(iter(self.<n>))) - 96",
            "ord(list(self.<n>)[0]) - 96",
            "sum(i * ord(v) for i, v in enumerate(tuple(self.<n>))) % 7",
        )
    )
    f.live("another set", "o.<n> = {'f', 'g', 'a'}")
    f.whole.add("order")


@kind
def deque_read(f: Fragment) -> None:
    f.slot("k")
    f.init("self.<n> = collections.deque([<k>, 2, 3])")
    f.value(f.pick("self.<n>[0] + len(self.<n>)", "sum(self.<n>)"))
    f.live("rotate", "o.<n>.append(9); o.<n>.popleft()")


@kind
def range_read(f: Fragment) -> None:
    f.slot("k")
    f.init("self.<n> = range(1, <k> + 2)")
    f.value(f.pick("len(self.<n>)", "sum(self.<n>)", "self.<n>[-1]", "sum(1 for _ in self.<n>)"))
    f.live("another range", "o.<n> = range(9)")
