"""Globals of modules, imports, and the environment."""

from __future__ import annotations

from tests.oracle.fragments import Fragment, kind


@kind
def global_number(f: Fragment) -> None:
    place = f.pick("main", "a", "b", "c")
    f.slot("k")
    f.idle("unused", "1", "2")
    f.top(
        place,
        """
            <n>_K = <k>
            <n>_UNUSED = <unused>
            def <n>_read():
                return <n>_K
            """,
    )
    prefix = "" if place == "main" else f"{place}."
    f.value(f.pick(f"{prefix}<n>_K", f"{prefix}<n>_read()"))
    f.live("set", f"{place}.<n>_K = 9")
    f.live("set an unused one", f"{place}.<n>_UNUSED = 9", reads=False)


@kind
def global_container(f: Fragment) -> None:
    place = f.pick("a", "b", "c")
    f.slot("k")
    f.slot("more", "", ", 'absent': 4")
    f.slot("order", "1, 2", "2, 1")
    f.idle("unused", "1", "2")
    f.top(
        place,
        """
            <n>_TABLE = {'k': <k>, 'unused': <unused><more>}
            <n>_LIST = [<order>, <k>]
            """,
    )
    f.value(
        f.pick(
            f"{place}.<n>_TABLE['k'] + {place}.<n>_LIST[0]",
            f"{place}.<n>_TABLE.get('absent', 2) + {place}.<n>_LIST[0] + {place}.<n>_TABLE['k']",
            f"('absent' in {place}.<n>_TABLE) + sum(i * v for i, v in enumerate({place}.<n>_LIST))",
        )
    )
    f.live("set", f"{place}.<n>_TABLE['k'] = 9; {place}.<n>_LIST[0] = 9")
    f.live("another", f"{place}.<n>_TABLE = {{'k': 8, 'absent': 7}}; {place}.<n>_LIST = [5, 5, 5]")


@kind
def global_chain(f: Fragment) -> None:
    f.slot("k")
    f.top("c", "<n>_K = <k>")
    f.top(
        "b",
        """
            from .c import <n>_K as <n>_B
            def <n>_b():
                return <n>_B
            """,
    )
    f.top(
        "a",
        """
            def <n>_a():
                return b.<n>_b() + c.<n>_K
            """,
    )
    f.value(f.pick("a.<n>_a()", "a.b.c.<n>_K", "b.<n>_b()", "a.b.<n>_B"))
    f.live("set", "c.<n>_K = 9; b.<n>_B = 8")


@kind
def import_in_function(f: Fragment) -> None:
    f.slot("k")
    f.top(
        "c",
        """
            <n>_K = <k>
            def <n>_f():
                return <n>_K + 1
            """,
    )
    f.member(
        f.pick(
            """
            def <n>(self):
                from .c import <n>_K, <n>_f
                return <n>_K + <n>_f()
            """,
            """
            def <n>(self):
                from . import c as other
                return other.<n>_K
            """,
            """
            def <n>(self):
                import math
                from .c import <n>_f
                return <n>_f() + math.floor(1.5)
            """,
        )
    )
    f.value("self.<n>()")
    f.live("set", "c.<n>_K = 9")


@kind
def module_missing(f: Fragment) -> None:
    f.slot("line", "", "<n>_X = 4", "<n>_X = 5")
    f.top("a", "<line>")
    f.value(
        f.pick(
            "getattr(a, '<n>_X', 2)",
            "(a.<n>_X if hasattr(a, '<n>_X') else 2)",
            "(3 if hasattr(a, '<n>_X') else 2)",
            "vars(a).get('<n>_X', 2)",
            "a.__dict__.get('<n>_X', 2)",
            "(3 if '<n>_X' in a.__dict__ else 2)",
        )
    )
    f.live("add", "a.<n>_X = 7")
    f.whole |= {"a"}


@kind
def module_missing_try(f: Fragment) -> None:
    f.slot("line", "", "<n>_X = 4")
    f.top("b", "<line>")
    f.member("""
            def <n>(self):
                try:
                    return b.<n>_X
                except AttributeError:
                    return 1
            """)
    f.value("self.<n>()")
    f.live("add", "b.<n>_X = 7")


@kind
def module_computed(f: Fragment) -> None:
    f.slot("k")
    f.slot("which", "'one'", "'two'")
    f.top(
        "b",
        """
            <n>_one = <k>
            <n>_two = 8
            <n>_which = <which>
            """,
    )
    f.value(
        f.pick(
            "getattr(b, '<n>_' + b.<n>_which)",
            "getattr(b, f'<n>_{b.<n>_which}')",
            "vars(b)['<n>_' + b.<n>_which]",
            "b.__dict__['<n>_' + b.<n>_which]",
            "getattr(b, '<n>_three', 0) + b.<n>_one",
            "(2 if hasattr(b, '<n>_t' + b.<n>_which[1:]) else 3) + b.<n>_one",
        )
    )
    f.live("set", "b.<n>_one = 9; b.<n>_three = 3")
    f.live("use another", "b.<n>_which = 'two' if b.<n>_which == 'one' else 'one'")
    f.whole |= {"b"}


@kind
def globals_listed(f: Fragment) -> None:
    f.slot("k")
    f.slot("more", "", "<n>_z = 4")
    f.top(
        "c",
        """
            <n>_k = <k>
            <more>
            def <n>_read():
                return globals()['<n>_k'] + globals().get('<n>_z', 0)
            """,
    )
    f.value(
        f.pick(
            "c.<n>_read()",
            "len([n for n in vars(c) if n.startswith('<n>_')]) + c.<n>_k",
            "len([n for n in dir(c) if n.startswith('<n>_')]) + c.<n>_k",
        )
    )
    f.live("set", "c.<n>_k = 9")
    f.live("add", "c.<n>_z = 9")
    f.whole.add("c")


@kind
def module_found(f: Fragment) -> None:
    f.slot("k")
    f.top("a", "<n>_K = <k>")
    f.value(
        f.pick(
            "sys.modules[a.__name__].<n>_K",
            "importlib.import_module(a.__name__).<n>_K",
            "sys.modules.get(a.__name__).<n>_K",
            "(2 if 'json' in sys.modules else 3) + a.<n>_K",
        )
    )
    f.live("set", "a.<n>_K = 9")
    f.whole |= {"a"}


@kind
def star_import(f: Fragment) -> None:
    f.slot("k")
    f.top("c", "<n>_STAR = <k>")
    f.top("main", "from .c import *")
    f.value("<n>_STAR")
    f.live("set", "main.<n>_STAR = 9")


@kind
def environment(f: Fragment) -> None:
    f.variable("ORACLE_<n>", *f.pick(("2", "3", None), (None, "4", "5"), ("2", "4")))
    f.value(
        f.pick(
            "int(os.environ.get('ORACLE_<n>', '1'))",
            "int(os.getenv('ORACLE_<n>', '1'))",
            "int(os.getenv('ORACLE_<n>') or 7)",
            "(3 if 'ORACLE_<n>' in os.environ else 2) + (os.environ.get('ORACLE_<n>') == '2')",
            "int(os.environ['ORACLE_<n>'] if 'ORACLE_<n>' in os.environ else '6')",
            "(5 if os.environ.get('ORACLE_<n>') == '4' else 1) + (os.getenv('ORACLE_<n>') is None)",
        )
    )


@kind
def environment_try(f: Fragment) -> None:
    f.variable("ORACLE_<n>", *f.pick(("2", "3", None), (None, "4")))
    f.top(
        "b",
        """
            def <n>():
                try:
                    return int(os.environ['ORACLE_<n>'])
                except KeyError:
                    return 1
            """,
    )
    f.value("b.<n>()")


@kind
def environment_computed(f: Fragment) -> None:
    f.variable("ORACLE_<n>_one", "2", "3", None)
    f.slot("which", "'one'", "'two'")
    f.init("self.<n> = <which>")
    f.value(
        f.pick(
            "int(os.environ.get('ORACLE_<n>_' + self.<n>, '7'))",
            "int(os.getenv(f'ORACLE_<n>_{self.<n>}', '7'))",
        )
    )
    f.live("use another", "o.<n> = 'two' if o.<n> == 'one' else 'one'")
    f.whole |= {"env"}


@kind
def environment_listed(f: Fragment) -> None:
    f.variable("ORACLE_<n>_one", "2", "3", None)
    f.value(
        f.pick(
            "len([k for k in os.environ if k.startswith('ORACLE_<n>')]) + int(os.getenv('ORACLE_<n>_one', '5'))",
            "sum(int(v) for k, v in os.environ.items() if k.startswith('ORACLE_<n>'))",
        )
    )
    f.whole.add("env")


@kind
def environment_at_import(f: Fragment) -> None:
    f.variable("ORACLE_<n>", "2", "3", None)
    if f.pick(True, False):
        f.top("a", "<n>_K = int(os.environ.get('ORACLE_<n>', '1'))")
        f.value("a.<n>_K")
    else:
        f.init("self.<n> = int(os.environ.get('ORACLE_<n>', '1'))")
        f.value("self.<n>")
    f.whole.add("init")
