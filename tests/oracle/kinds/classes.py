"""What is behind classes and modules: bases, metaclasses, registries, what they say of themselves."""

from __future__ import annotations

from tests.oracle.fragments import Fragment, kind


@kind
def bases_in_order(f: Fragment) -> None:
    f.slot("order", "<n>One, <n>Two", "<n>Two, <n>One")
    f.slot("k")
    f.top(
        "b",
        """
            class <n>One:
                def read(self):
                    return <k>
            class <n>Two:
                def read(self):
                    return 7
            class <n>Both(<order>):
                pass
            """,
    )
    f.init("self.<n> = b.<n>Both()")
    f.value(
        f.pick(
            "self.<n>.read()",
            "(2 if b.<n>Both.__mro__[1] is b.<n>One else 3)",
            "super(b.<n>Both, self.<n>).read()",
        )
    )
    f.live("other bases", "b.<n>Both.__bases__ = (b.<n>Two,)")


@kind
def metaclass(f: Fragment) -> None:
    f.slot("k")
    f.top(
        "a",
        """
            class <n>Meta(type):
                scale = <k>
                @property
                def twice(cls):
                    return cls.scale * 2
            class <n>Made(metaclass=<n>Meta):
                pass
            """,
    )
    f.value(f.pick("a.<n>Made.scale", "a.<n>Made.twice", "type(a.<n>Made).scale"))
    f.live("set", "a.<n>Meta.scale = 9")


@kind
def registry(f: Fragment) -> None:
    f.slot("k")
    f.slot("name", "'one'", "'two'")
    f.slot("more", "", "@c.<n>_register('one')\ndef <n>_again(n):\n    return n + 11")
    f.top(
        "c",
        """
            <n>_KNOWN = {}
            def <n>_register(name):
                def keep(function):
                    <n>_KNOWN[name] = function
                    return function
                return keep
            """,
    )
    f.top(
        "b",
        """
            @c.<n>_register('one')
            def <n>_one(n):
                return n + <k>
            @c.<n>_register('two')
            def <n>_two(n):
                return n + 8
            """,
    )
    f.top("b", "<more>")
    f.init("self.<n> = <name>")
    f.value("c.<n>_KNOWN[self.<n>](1)")
    f.live("replace", "c.<n>_KNOWN['one'] = lambda n: n + 12")


@kind
def module_getattr_function(f: Fragment) -> None:
    f.slot("k")
    f.slot("real", "", "<n>_LAZY = 5")
    f.top(
        "c",
        """
            <n>_DATA = {'<n>_LAZY': <k>}
            def __getattr__(name):
                if name.endswith('_LAZY'):
                    return globals()[name[:-5] + '_DATA'][name]
                raise AttributeError(name)
            <real>
            """,
    )
    f.value("c.<n>_LAZY")
    f.live("set", "c.<n>_DATA['<n>_LAZY'] = 8")
    f.live("a real one", "c.<n>_LAZY = 9")
    f.whole.add("c")


@kind
def forward_itself(f: Fragment) -> None:
    f.slot("k")
    f.slot("before", "pass", "x = torch.mm(x, self.weight)")
    f.value("<k>", "<before>")
    f.live("forward of the class", "type(o).forward = lambda self, x: torch.mm(x, self.weight)")
    f.live("a method of torch's", "torch.nn.Module.<n>_hook = 3", reads=False)


@kind
def submodule_replaced(f: Fragment) -> None:
    f.slot("class", "<n>One", "<n>Two")
    f.slot("k")
    f.top(
        "a",
        """
            class <n>One(torch.nn.Module):
                def forward(self, x, w):
                    return torch.addmm(x, x, w, alpha=<k>)
            class <n>Two(<n>One):
                def forward(self, x, w):
                    return torch.mm(super().forward(x, w), w)
            """,
    )
    f.init("self.<n> = a.<class>()")
    f.value("1", "x = self.<n>(x, self.weight)")
    f.live("another", "o.<n> = a.<n>Two()")
    f.live("another class", "o.<n>.__class__ = a.<n>Two")
    f.live("forward of the class", "a.<n>One.forward = lambda self, x, w: torch.mm(x, w)")
    f.live("forward of the object", "o.<n>.forward = lambda x, w: torch.mm(x, w)")


@kind
def said_of_itself(f: Fragment) -> None:
    f.slot("doc", "'one'", "'other'")
    f.slot("name", "<n>_one", "<n>_other")
    f.slot("args", "n", "n, m=3")
    f.top(
        "a",
        """
            def <name>(<args>):
                <doc>
                return n
            <n>_F = <name>
            """,
    )
    f.value(
        f.pick(
            "len(a.<n>_F.__doc__ or '')",
            "len(a.<n>_F.__name__)",
            "a.<n>_F.__code__.co_argcount",
            "len(a.<n>_F.__defaults__ or ())",
            "len(a.<n>_F.__qualname__)",
        )
    )
    f.live("another", "a.<n>_F = lambda a, b, c, d: a")


@kind
def annotations_read(f: Fragment) -> None:
    f.slot("type", "int", "str")
    f.top(
        "b",
        "class <n>Shape:\n    k: <type> = 3\n    l: int = 4\n\ndef <n>_f(x: <type>) -> int:\n    return x",
    )
    f.value(
        f.pick(
            "(2 if b.<n>Shape.__annotations__['k'] is int else 3)",
            "(2 if b.<n>_f.__annotations__['x'] is int else 3)",
        )
    )
    f.live("another", "b.<n>Shape.__annotations__['k'] = float; b.<n>_f.__annotations__['x'] = float")


@kind
def module_replaced(f: Fragment) -> None:
    f.slot("k")
    f.top("a", "<n>_NS = types.SimpleNamespace(k=<k>)")
    f.top("b", "class <n>_NS:\n    k = 8")
    f.top("main", "<n>_used = <which>")
    f.slot("which", "a", "b")
    f.value("<n>_used.<n>_NS.k")
    f.live("another", "main.<n>_used = b if main.<n>_used is a else a")


@kind
def context_manager(f: Fragment) -> None:
    f.slot("k")
    f.slot("out", "1", "2")
    f.top(
        "b",
        """
            class <n>Manager:
                def __init__(self, k):
                    self.k = k
                def __enter__(self):
                    return self.k + <k>
                def __exit__(self, *error):
                    self.k = <out>
            """,
    )
    f.member(
        """
            def <n>(self):
                manager = b.<n>Manager(2)
                with manager as n:
                    n += 1
                return n + manager.k
            """
    )
    f.value("self.<n>()")
    f.live("another", "b.<n>Manager.__enter__ = lambda self: 9")


@kind
def named_operator(f: Fragment) -> None:
    f.slot("name", "'mm'", "'matmul_twice'", "'addmm'")
    f.init("self.<n> = <name>")
    f.member(
        """
            def <n>_run(self, x):
                if self.<n> == 'matmul_twice':
                    return torch.mm(torch.mm(x, self.weight), self.weight)
                args = (x, self.weight) if self.<n> == 'mm' else (x, x, self.weight)
                return getattr(torch, self.<n>)(*args)
            """
    )
    f.value("1", "x = self.<n>_run(x)")
    f.live("another", "o.<n> = 'mm' if o.<n> == 'addmm' else 'addmm'")


@kind
def torch_state(f: Fragment) -> None:
    f.slot("k")
    f.slot("set", "pass", "torch.set_default_dtype(torch.float64); torch.set_default_dtype(torch.float32)")
    f.top("a", "<set>")
    f.value(
        f.pick(
            "<k> + (torch.get_default_dtype() == torch.float32)",
            "<k> + torch.is_grad_enabled()",
            "<k> + torch.is_inference_mode_enabled()",
            "<k> + torch.are_deterministic_algorithms_enabled()",
        )
    )
    f.live("deterministic", "torch.use_deterministic_algorithms(True)")


@kind
def data_types(f: Fragment) -> None:
    f.slot("type", "torch.float32", "torch.float64", "torch.int64")
    f.slot("size", "2, 3", "3, 2")
    f.init(
        "self.<n> = <type>\nself.<n>_size = torch.Size([<size>])\nself.<n>_device = torch.device('<device>')"
    )
    f.slot("device", "cpu", "meta")
    f.value(
        f.pick(
            "(2 if self.<n> == torch.float32 else 3)",
            "self.<n>.itemsize + self.<n>.is_floating_point",
            "self.<n>_size[0] + len(self.<n>_size)",
            "(2 if self.<n>_device.type == 'cpu' else 3)",
            "{torch.float32: 2, torch.float64: 3}.get(self.<n>, 4)",
        )
    )
    f.live(
        "another", "o.<n> = torch.float16; o.<n>_size = torch.Size([7]); o.<n>_device = torch.device('meta')"
    )
