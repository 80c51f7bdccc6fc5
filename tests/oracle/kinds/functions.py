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
        "def <n>_unused():\n    return <unused>\ndef <n>_deep(n):\n    return n <op> <k>\ndef <n>(n):\n    return <n>_deep(n) + 1",
    )
    f.value(f"{place}.<n>(2)")
    f.live("replace", f"{place}.<n> = lambda n: 9")
    f.live("replace what it calls", f"{place}.<n>_deep = lambda n: 8")
    f.live("another code", f"{place}.<n>_deep.__code__ = (lambda n: n + 17).__code__")
    f.live("replace an unused one", f"{place}.<n>_unused = lambda: 8", reads=False)


@kind
def helper_imported(f: Fragment) -> None:
    f.slot("k")
    f.top("c", "def <n>_helper(n):\n    return n + <k>")
    f.top("b", "from .c import <n>_helper as <n>_renamed\ndef <n>_via(n):\n    return <n>_renamed(n)")
    f.top("main", "from .b import <n>_renamed, <n>_via as <n>_local")
    f.value(f.pick("<n>_renamed(1)", "<n>_local(2)", "b.<n>_via(3)", "b.c.<n>_helper(2)"))
    f.live("replace", "main.<n>_renamed = b.<n>_renamed = c.<n>_helper = lambda n: 9")


@kind
def closure(f: Fragment) -> None:
    f.slot("k")
    f.top(
        "a",
        "def <n>_make(k):\n    extra = [k, 2]\n    def inner(n):\n        return n + k + extra[1]\n    inner.extra = extra\n    return inner\n\n<n>_made = <n>_make(<k>)",
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
    f.top("b", "def <n>(n=<k>, *rest, m=<kw>, **more):\n    return n + 2 * m")
    f.value(f.pick("b.<n>()", "b.<n>(m=b.<n>(1))", "b.<n>(1)", "b.<n>(*(), **{'m': b.<n>(2)})"))
    f.live("the defaults", "b.<n>.__defaults__ = (9,); b.<n>.__kwdefaults__ = {'m': 8}")
    f.live("a keyword's default", "b.<n>.__kwdefaults__['m'] = 11")


@kind
def method_defaults(f: Fragment) -> None:
    f.slot("k")
    f.member("def <n>(self, n=<k>, *, m=<kw>):\n    return n + m * 2", inherited=f.pick(True, False))
    f.slot("kw")
    f.value(f.pick("self.<n>()", "self.<n>(m=1) + self.<n>(1)"))
    f.live("the defaults", "type(o).<n>.__defaults__ = (9,); type(o).<n>.__kwdefaults__ = {'m': 8}")


@kind
def function_attribute(f: Fragment) -> None:
    f.slot("k")
    f.idle("unused", "1", "2")
    f.top("a", "def <n>(n):\n    return n + <n>.scale\n<n>.scale = <k>\n<n>.unused = <unused>")
    f.value(f.pick("a.<n>(1)", "a.<n>.scale", "getattr(a.<n>, 'scale', 1) + getattr(a.<n>, 'missing', 2)"))
    f.live("set", "a.<n>.scale = 9; a.<n>.missing = 1")


@kind
def partials(f: Fragment) -> None:
    f.slot("k")
    f.slot("kw")
    f.slot("op", "+", "*")
    f.top(
        "a",
        "def <n>_base(n, k, *, kw):\n    return n <op> k + kw\n<n> = functools.partial(<n>_base, <k>, kw=<kw>)",
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
    f.live("another", "a.<n> = o.<n> = functools.partial(a.<n>_base, 7, kw=8)")


@kind
def decorated(f: Fragment) -> None:
    f.slot("k")
    f.slot("body", "inner(*args) + <k>", "inner(*args) * 2")
    f.top(
        "c",
        "def <n>_add(extra):\n    def decorate(inner):\n        @functools.wraps(inner)\n        def wrapper(*args):\n"
        "            return <body> + extra\n        return wrapper\n    return decorate",
    )
    f.slot("extra", "1", "2")
    f.top("b", "@c.<n>_add(<extra>)\ndef <n>(n):\n    return n + <own>")
    f.slot("own", "1", "2")
    f.member("@c.<n>_add(<extra>)\ndef <n>_method(self):\n    return <own>")
    f.value(f.pick("b.<n>(1)", "self.<n>_method()", "b.<n>.__wrapped__(1)"))
    f.live(
        "replace", "b.<n> = lambda n: 9; type(o).<n>_method = lambda self: 9; b.<n>.__wrapped__ = lambda n: 9"
    )


@kind
def lambdas(f: Fragment) -> None:
    f.slot("k")
    f.top(
        "a",
        "<n>_table = {'one': lambda n: n + <k>, 'two': lambda n: n * 3}\n<n>_list = [lambda n: n + <k>, abs]",
    )
    f.slot("which", "'one'", "'two'")
    f.init("self.<n> = lambda n: n + <k>\nself.<n>_which = <which>")
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
        "def <n>(self, n):\n    k = self.<n>_k\n    def inner(i):\n        nonlocal k\n        k = k <op> i\n        return k\n    return inner(n) + inner(1) + <k>"
    )
    f.init("self.<n>_k = 2")
    f.value("self.<n>(3)")
    f.live("set", "o.<n>_k = 9")


@kind
def generators(f: Fragment) -> None:
    f.slot("k")
    f.slot("stop", "3", "4")
    f.top(
        "b",
        "<n>_K = <k>\ndef <n>(n):\n    for i in range(n):\n        yield i + <n>_K\ndef <n>_from(n):\n    yield from <n>(n)",
    )
    f.value(
        f.pick(
            "sum(b.<n>(<stop>))",
            "sum(i for i in b.<n>_from(<stop>))",
            "next(b.<n>(2)) + <stop>",
            "list(b.<n>(<stop>))[-1]",
            "sum([i * 2 for i in b.<n>(<stop>) if i > b.<n>_K])",
        )
    )
    f.live("a global", "b.<n>_K = 9")


@kind
def recursion(f: Fragment) -> None:
    f.slot("k")
    f.slot("depth", "3", "2")
    f.top("a", "def <n>(n):\n    return <k> if n == 0 else 1 + <n>(n - 1)")
    f.value("a.<n>(<depth>)")
    f.live("replace", "a.<n> = lambda n: 11")


@kind
def operators(f: Fragment) -> None:
    f.slot("k")
    f.init("self.<n> = types.SimpleNamespace(k=<k>, inner=types.SimpleNamespace(k=2), t=(4, <k>), s='ab')")
    f.value(
        f.pick(
            "operator.attrgetter('k')(self.<n>)",
            "operator.itemgetter(1)(self.<n>.t)",
            "operator.add(self.<n>.k, 1)",
            "operator.attrgetter('k')(self.<n>)",
            "max(self.<n>.t, key=lambda v: -v)",
        )
    )
    f.live("set", "o.<n>.k = 9; o.<n>.t = (9, 8)")


@kind
def control_flow(f: Fragment) -> None:
    f.slot("k")
    f.slot("mode", "'one'", "'two'", "'three'")
    f.init("self.<n> = <mode>\nself.<n>_k = <k>")
    body = f.pick(
        "match self.<n>:\n    case 'one':\n        r = 1\n    case 'two' if self.<n>_k > 2:\n        r = 2\n    case _:\n        r = 3",
        "if self.<n> == 'one' and (k := self.<n>_k) > 2:\n    r = k\nelif self.<n> in ('two', 'one'):\n    r = 5\nelse:\n    r = 7",
        "r = 0\nwhile r < self.<n>_k:\n    r += len(self.<n>) % 4\n    if r > 20:\n        break",
        "r = 0\nfor i in range(self.<n>_k):\n    if self.<n> == 'two' and i == 1:\n        continue\n    r += i\nelse:\n    r += 1",
        "try:\n    if self.<n> == 'one':\n        raise ValueError(self.<n>_k)\n    r = 1\nexcept ValueError as error:\n    r = error.args[0]\nfinally:\n    pass",
    )
    indented = "    " + body.replace("\n", "\n    ")
    f.member(f"def <n>_read(self):\n{indented}\n    return r", inherited=f.pick(True, False))
    f.value("self.<n>_read()")
    f.live("set", "o.<n> = 'three' if o.<n> != 'three' else 'one'")
    f.live("set a number", "o.<n>_k = 9")


@kind
def texts(f: Fragment) -> None:
    f.slot("text", "'alpha'", "'beta'", "'gamma-x'")
    f.top(
        "a",
        "<n>_TEXT = <text>\n<n>_alpha = 1\n<n>_beta = 2\n<n>_table = {'alpha': 2, 'beta': 3, 'gamma-x': 4}",
    )
    f.value(
        f.pick(
            "a.<n>_table[a.<n>_TEXT]",
            "len(f'{a.<n>_TEXT:>3}-{a.<n>_TEXT!r}')",
            "len('{} {}'.format(a.<n>_TEXT, 1))",
            "len('%s' % a.<n>_TEXT)",
            "len(a.<n>_TEXT.replace('a', 'bb').strip('b'))",
            "a.<n>_TEXT.find('t') + 2",
            "ord(a.<n>_TEXT[0]) - 90",
            "sum(c == 'a' for c in a.<n>_TEXT) + len(a.<n>_TEXT.partition('-')[2]) * 3",
            "len(a.<n>_TEXT.encode())",
            "a.<n>_table.get(a.<n>_TEXT.lower().removesuffix('-x'), 9)",
        )
    )
    f.live("set", "a.<n>_TEXT = 'gamma-x' if a.<n>_TEXT != 'gamma-x' else 'beta'")


@kind
def context_variable(f: Fragment) -> None:
    f.slot("k")
    f.slot("set", "pass", "<n>_VAR.set(5)")
    f.top("a", "<n>_VAR = contextvars.ContextVar('<n>_VAR', default=<k>)\n<set>")
    f.value(f.pick("a.<n>_VAR.get()", "a.<n>_VAR.get(2)"))
    f.live("set", "a.<n>_VAR.set(9)")


@kind
def cached(f: Fragment) -> None:
    f.slot("k")
    f.top("a", "@functools.lru_cache\ndef <n>(n):\n    return n + <k>")
    f.value("a.<n>(2)")


@kind
def method_stored(f: Fragment) -> None:
    f.slot("k")
    f.slot("which", "<n>_one", "<n>_two")
    f.member("def <n>_one(self, n):\n    return n + <k>\ndef <n>_two(self, n):\n    return n + 8")
    f.init(f.pick("self.<n> = self.<which>", "self.<n> = [self.<which>][0]"))
    f.value("self.<n>(1)")
    f.live("another method", "o.<n> = o.<n>_two")
