"""Control flow, generators, operators, texts, context variables."""

from __future__ import annotations

import textwrap

from tests.oracle.fragments import Fragment, kind


@kind
def generators(f: Fragment) -> None:
    f.slot("k")
    f.slot("stop", "3", "4")
    f.top(
        "b",
        """
            <n>_K = <k>
            def <n>(n):
                for i in range(n):
                    yield i + <n>_K
            def <n>_from(n):
                yield from <n>(n)
            """,
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
    f.top(
        "a",
        """
            def <n>(n):
                return <k> if n == 0 else 1 + <n>(n - 1)
            """,
    )
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
    f.init("""
            self.<n> = <mode>
            self.<n>_k = <k>
            """)
    body = f.pick(
        """
            match self.<n>:
                case 'one':
                    r = 1
                case 'two' if self.<n>_k > 2:
                    r = 2
                case _:
                    r = 3
            """,
        """
            if self.<n> == 'one' and (k := self.<n>_k) > 2:
                r = k
            elif self.<n> in ('two', 'one'):
                r = 5
            else:
                r = 7
            """,
        """
            r = 0
            while r < self.<n>_k:
                r += len(self.<n>) % 4
                if r > 20:
                    break
            """,
        """
            r = 0
            for i in range(self.<n>_k):
                if self.<n> == 'two' and i == 1:
                    continue
                r += i
            else:
                r += 1
            """,
        """
            try:
                if self.<n> == 'one':
                    raise ValueError(self.<n>_k)
                r = 1
            except ValueError as error:
                r = error.args[0]
            finally:
                pass
            """,
    )
    indented = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    f.member(f"def <n>_read(self):\n{indented}\n    return r", inherited=f.pick(True, False))
    f.value("self.<n>_read()")
    f.live("set", "o.<n> = 'three' if o.<n> != 'three' else 'one'")
    f.live("set a number", "o.<n>_k = 9")


@kind
def texts(f: Fragment) -> None:
    f.slot("text", "'alpha'", "'beta'", "'gamma-x'")
    f.top(
        "a",
        """
            <n>_TEXT = <text>
            <n>_alpha = 1
            <n>_beta = 2
            <n>_table = {'alpha': 2, 'beta': 3, 'gamma-x': 4}
            """,
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
    f.top(
        "a",
        """
            <n>_VAR = contextvars.ContextVar('<n>_VAR', default=<k>)
            <set>
            """,
    )
    f.value(f.pick("a.<n>_VAR.get()", "a.<n>_VAR.get(2)"))
    f.live("set", "a.<n>_VAR.set(9)")
