"""Functions: helpers, closures, defaults, partials, decorators, generators."""

from __future__ import annotations

from tests.oracle.fragments import Fragment, kind


@kind
def helper(f: Fragment) -> None:
    place = f.pick("a", "b", "c")
    f.slot("k")
    f.slot("op", "+", "*")
    f.idle("unused", "1", "2")
    f.top(
        place,
        """
            def <n>_unused():
                return <unused>
            def <n>_deep(n):
                return n <op> <k>
            def <n>(n):
                return <n>_deep(n) + 1
            """,
    )
    f.value(f"{place}.<n>(2)")
    f.live("replace", f"{place}.<n> = lambda n: 9")
    f.live("replace what it calls", f"{place}.<n>_deep = lambda n: 8")
    f.live("another code", f"{place}.<n>_deep.__code__ = (lambda n: n + 17).__code__")
    f.live("replace an unused one", f"{place}.<n>_unused = lambda: 8", reads=False)


@kind
def helper_imported(f: Fragment) -> None:
    f.slot("k")
    f.top(
        "c",
        """
            def <n>_helper(n):
                return n + <k>
            """,
    )
    f.top(
        "b",
        """
            from .c import <n>_helper as <n>_renamed
            def <n>_via(n):
                return <n>_renamed(n)
            """,
    )
    f.top("main", "from .b import <n>_renamed, <n>_via as <n>_local")
    f.value(f.pick("<n>_renamed(1)", "<n>_local(2)", "b.<n>_via(3)", "b.c.<n>_helper(2)"))
    f.live("replace", "main.<n>_renamed = b.<n>_renamed = c.<n>_helper = lambda n: 9")


@kind
def closure(f: Fragment) -> None:
    f.slot("k")
    f.top(
        "a",
        """
            def <n>_make(k):
                extra = [k, 2]
                def inner(n):
                    return n + k + extra[1]
                inner.extra = extra
                return inner

            <n>_made = <n>_make(<k>)
            """,
    )
    f.init("self.<n> = a.<n>_make(<k> + 1)")
    f.value(f.pick("a.<n>_made(1)", "self.<n>(1)"))
    f.live("a list in a cell", "a.<n>_made.extra[1] = 9; o.<n>.extra[1] = 9")
    f.live(
        "another cell", "a.<n>_made.__closure__[1].cell_contents = 9; o.<n>.__closure__[1].cell_contents = 9"
    )
    f.live("another closure", "a.<n>_made = a.<n>_make(9); o.<n> = a.<n>_make(9)")


@kind
def defaults(f: Fragment) -> None:
    f.slot("k")
    f.slot("kw")
    f.top(
        "b",
        """
            def <n>(n=<k>, *rest, m=<kw>, **more):
                return n + 2 * m
            """,
    )
    f.value(f.pick("b.<n>()", "b.<n>(m=b.<n>(1))", "b.<n>(1)", "b.<n>(*(), **{'m': b.<n>(2)})"))
    f.live("the defaults", "b.<n>.__defaults__ = (9,); b.<n>.__kwdefaults__ = {'m': 8}")
    f.live("a keyword's default", "b.<n>.__kwdefaults__['m'] = 11")


@kind
def method_defaults(f: Fragment) -> None:
    f.slot("k")
    f.member(
        """
            def <n>(self, n=<k>, *, m=<kw>):
                return n + m * 2
            """,
        inherited=f.pick(True, False),
    )
    f.slot("kw")
    f.value(f.pick("self.<n>()", "self.<n>(m=1) + self.<n>(1)"))
    f.live("the defaults", "type(o).<n>.__defaults__ = (9,); type(o).<n>.__kwdefaults__ = {'m': 8}")


@kind
def function_attribute(f: Fragment) -> None:
    f.slot("k")
    f.idle("unused", "1", "2")
    f.top(
        "a",
        """
            def <n>(n):
                return n + <n>.scale
            <n>.scale = <k>
            <n>.unused = <unused>
            """,
    )
    f.value(f.pick("a.<n>(1)", "a.<n>.scale", "getattr(a.<n>, 'scale', 1) + getattr(a.<n>, 'missing', 2)"))
    f.live("set", "a.<n>.scale = 9; a.<n>.missing = 1")


@kind
def partials(f: Fragment) -> None:
    f.slot("k")
    f.slot("kw")
    f.slot("op", "+", "*")
    f.top(
        "a",
        """
            def <n>_base(n, k, *, kw):
                return n <op> k + kw
            <n> = functools.partial(<n>_base, <k>, kw=<kw>)
            """,
    )
    f.init("self.<n> = functools.partial(a.<n>_base, 1, kw=<kw>)")
    f.value(
        f.pick(
            "a.<n>(2)",
            "self.<n>(2)",
            "functools.partial(a.<n>_base, <k>)(1, kw=2)",
            "a.<n>.keywords['kw'] + a.<n>.args[0]",
        )
    )
    f.live("another", "a.<n> = o.<n> = main.functools.partial(a.<n>_base, 7, kw=8)")


@kind
def decorated(f: Fragment) -> None:
    f.slot("k")
    f.slot("body", "inner(*args) + <k>", "inner(*args) * 2")
    f.top(
        "c",
        """
            def <n>_add(extra):
                def decorate(inner):
                    @functools.wraps(inner)
                    def wrapper(*args):
                        return <body> + extra
                    return wrapper
                return decorate
            """,
    )
    f.slot("extra", "1", "2")
    f.top(
        "b",
        """
            @c.<n>_add(<extra>)
            def <n>(n):
                return n + <own>
            """,
    )
    f.slot("own", "1", "2")
    f.member("""
            @c.<n>_add(<extra>)
            def <n>_method(self):
                return <own>
            """)
    f.value(f.pick("b.<n>(1)", "self.<n>_method()", "b.<n>.__wrapped__(1)"))
    f.live(
        "replace", "b.<n> = lambda n: 9; type(o).<n>_method = lambda self: 9; b.<n>.__wrapped__ = lambda n: 9"
    )


@kind
def lambdas(f: Fragment) -> None:
    f.slot("k")
    f.top(
        "a",
        """
            <n>_table = {'one': lambda n: n + <k>, 'two': lambda n: n * 3}
            <n>_list = [lambda n: n + <k>, abs]
            """,
    )
    f.slot("which", "'one'", "'two'")
    f.init("""
            self.<n> = lambda n: n + <k>
            self.<n>_which = <which>
            """)
    f.value(
        f.pick(
            "self.<n>(1)",
            "a.<n>_table[self.<n>_which](2)",
            "a.<n>_list[0](-1) + a.<n>_list[1](-2)",
            "sum(g(2) for g in a.<n>_list)",
        )
    )
    f.live("replace", "o.<n> = lambda n: 9; a.<n>_table['one'] = lambda n: 9; a.<n>_list[0] = lambda n: 9")


@kind
def nested_function(f: Fragment) -> None:
    f.slot("k")
    f.slot("op", "+", "*")
    f.member(
        """
            def <n>(self, n):
                k = self.<n>_k
                def inner(i):
                    nonlocal k
                    k = k <op> i
                    return k
                return inner(n) + inner(1) + <k>
            """
    )
    f.init("self.<n>_k = 2")
    f.value("self.<n>(3)")
    f.live("set", "o.<n>_k = 9")


@kind
def cached(f: Fragment) -> None:
    f.slot("k")
    f.top(
        "a",
        """
            @functools.lru_cache
            def <n>(n):
                return n + <k>
            """,
    )
    f.value("a.<n>(2)")


@kind
def method_stored(f: Fragment) -> None:
    f.slot("k")
    f.slot("which", "<n>_one", "<n>_two")
    f.member("""
            def <n>_one(self, n):
                return n + <k>
            def <n>_two(self, n):
                return n + 8
            """)
    f.init(f.pick("self.<n> = self.<which>", "self.<n> = [self.<which>][0]"))
    f.value("self.<n>(1)")
    f.live("another method", "o.<n> = o.<n>_two")
