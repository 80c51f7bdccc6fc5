"""Tensors by kind, hooks, weights in a tensor subclass."""

from __future__ import annotations

from tests.oracle.fragments import Fragment, kind


@kind
def buffer_kind(f: Fragment) -> None:
    f.slot("dtype", "torch.float32", "torch.float64", "torch.int64")
    f.slot("shape", "2, 3", "3, 3", "2, 3, 1")
    f.init("self.register_buffer('<n>', torch.ones(<shape>, dtype=<dtype>))")
    f.value(
        f.pick(
            "(2 if self.<n>.dtype == torch.float32 else 3) + self.<n>.shape[0]",
            "self.<n>.dim() + self.<n>.size(0) * 2 + self.<n>.is_floating_point()",
            "self.<n>.numel() + (self.<n>.dtype is torch.int64)",
            "len(self.<n>.shape) + self.<n>.element_size() + self.<n>.stride()[0]",
            "self._buffers['<n>'].ndim + self.<n>.shape[0] + self.<n>.itemsize",
        )
    )
    f.live("another shape", "o.<n> = torch.ones(5, 1, 2, dtype=torch.float16)")


@kind
def parameter_kind(f: Fragment) -> None:
    f.slot("grad", "False", "True")
    f.slot(
        "make",
        "torch.nn.Parameter(torch.ones(2, 3), requires_grad=<grad>)",
        "torch.ones(2, 3, requires_grad=<grad>)",
        "None",
    )
    f.init("self.<n> = <make>")
    f.value(
        f.pick(
            "(1 if self.<n> is None else 2 + self.<n>.requires_grad)",
            "(2 if isinstance(self.<n>, torch.nn.Parameter) else 3)",
            "(2 if isinstance(self.<n>, torch.Tensor) else 3)",
        )
    )
    f.live("another", "o.<n> = None")


@kind
def parameters_listed(f: Fragment) -> None:
    f.slot(
        "more",
        "pass",
        "self.register_buffer('<n>_y', torch.ones(2))",
        "self.<n>_z = torch.nn.Parameter(torch.ones(1))",
    )
    f.init("""
            self.<n>_x = torch.nn.Parameter(torch.ones(2))
            <more>
            """)
    f.value(
        f.pick(
            "len(list(self.parameters())) + 2 * len(list(self.buffers()))",
            "len([n for n, _ in self.named_parameters()]) + 2 * len(dict(self.named_buffers()))",
            "len(self._parameters) + 2 * len(self._buffers)",
            "sum(p.numel() for p in self.parameters()) + 3 * len(self._buffers)",
            "(2 if '<n>_y' in self._buffers else 3) + hasattr(self, '<n>_z')",
        )
    )


@kind
def module_listed(f: Fragment) -> None:
    f.slot("count", "2", "3")
    f.slot("kind", "torch.nn.Identity()", "torch.nn.Dropout(0.5)")
    f.init(
        """
            self.<n> = torch.nn.ModuleList([<kind> for _ in range(<count>)])
            for i, s in enumerate(self.<n>):
                s.scale = i + 1
            """
    )
    f.value(
        f.pick(
            "sum(s.scale for s in self.<n>)",
            "len(self.<n>) + isinstance(self.<n>[0], torch.nn.Dropout)",
            "len([s for s in self.modules() if isinstance(s, torch.nn.Identity)])",
            "len(list(self.named_children())) + len(list(self.<n>.children())) * 2",
            "self.<n>[-1].scale",
        )
    )
    f.live("set", "o.<n>[-1].scale = 9")
    f.live("append", "s = torch.nn.Identity(); s.scale = 7; o.<n>.append(s)")


@kind
def module_dict(f: Fragment) -> None:
    f.slot("names", "'p', 'q'", "'q', 'p'", "'p', 'q', 'r'")
    f.slot("use", "'p'", "'q'")
    f.init(
        """
            self.<n> = torch.nn.ModuleDict({k: torch.nn.Identity() for k in (<names>,)})
            for i, s in enumerate(self.<n>.values()):
                s.scale = i + 1
            self.<n>_use = <use>
            """
    )
    f.value(
        f.pick(
            "self.<n>[self.<n>_use].scale",
            "sum(i * s.scale for i, s in enumerate(self.<n>.values()))",
            "('r' in self.<n>) + self.<n>['p'].scale",
            "len(self.<n>) + len(self.<n>.keys())",
        )
    )
    f.live("use another", "o.<n>_use = 'q' if o.<n>_use == 'p' else 'p'")


@kind
def training_mode(f: Fragment) -> None:
    f.slot("line", "pass", "self.<n>.train()")
    f.init("self.<n> = b.<n>Mode()")
    f.top(
        "b",
        """
            class <n>Mode(torch.nn.Module):
                always = <always>
                def train(self, mode=True):
                    return super().train(mode or self.always)
            """,
    )
    f.slot("always", "False", "True")
    f.value(f.pick("(2 if self.<n>.training else 3)", "2 + self.<n>.training - self.training"))
    f.live("train", "o.<n>.training = not o.<n>.training")


@kind
def hooked(f: Fragment) -> None:
    f.slot("k", "0.5", "2.0")
    f.slot("op", "+", "-")
    f.slot(
        "register",
        f.pick(
            "self.<n>_sub.register_forward_hook(a.<n>_post)",
            "self.<n>_sub.register_forward_pre_hook(a.<n>_pre)",
        ),
        "pass",
    )
    f.top("a", """
            <n>_K = <k>
            def <n>_post(module, args, output):
                return torch.addmm(output, output, module.w, alpha=0 <op> <n>_K)
            def <n>_pre(module, args):
                return (torch.addmm(args[0], args[0], module.w, alpha=0 <op> <n>_K),)
            class <n>Sub(torch.nn.Module):
                def __init__(self):
                    super().__init__()
                    self.register_buffer('w', torch.randn(8, 8) / 8)
                def forward(self, x):
                    return torch.mm(x, self.w)
            """)  # fmt: skip
    f.init("""
            self.<n>_sub = a.<n>Sub()
            <register>
            """)
    f.value("1", "x = self.<n>_sub(x)")
    f.live("a global", "a.<n>_K = 3.0")
    f.live(
        "register", "o.<n>_sub.register_forward_hook(lambda module, args, output: torch.mm(output, module.w))"
    )
    f.live(
        "register before",
        "o.<n>_sub.register_forward_pre_hook(lambda module, args: (torch.mm(args[0], module.w),))",
    )


@kind
def linear(f: Fragment) -> None:
    f.slot("bias", "True", "False")
    f.slot("k", "2", "3")
    f.init("self.<n> = torch.nn.Linear(8, 8, bias=<bias>)")
    f.value("(<k> if self.<n>.bias is not None else 5) + self.<n>.in_features", "x = self.<n>(x)")
    f.live("no bias", "o.<n>.bias = None")


SUBCLASS = """\
<n>_FACTOR = <factor>
def <n>_widen(w):
    return torch.addmm(w, w, w, beta=<n>_FACTOR, alpha=<alpha>)
class <n>Weight(torch.Tensor):
    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, device=inner.device)
    def __init__(self, inner):
        self.inner = inner
    def __tensor_flatten__(self):
        return ["inner"], {}
    @classmethod
    def __tensor_unflatten__(cls, inner, meta, size, stride):
        return cls(inner["inner"])
MODE
"""
FUNCTION = """\
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.mm:
            return func(args[0], <n>_widen(args[1].inner))
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))
    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten.detach.default, torch.ops.aten.alias.default):
            return return_and_correct_aliasing(func, args, kwargs or {}, cls(func(args[0].inner)))
        raise NotImplementedError(str(func))
"""
DISPATCH = """\
    __torch_function__ = torch._C._disabled_torch_function_impl
    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten.detach.default, torch.ops.aten.alias.default):
            return return_and_correct_aliasing(func, args, kwargs or {}, cls(func(args[0].inner)))
        plain = lambda t: <n>_widen(t.inner) if isinstance(t, cls) else t
        return func(*[plain(a) for a in args], **(kwargs or {}))
"""


@kind
def subclass_weight(f: Fragment) -> None:
    f.slot("factor", "1.0", "0.5", "0.25")
    f.slot("alpha", "0.5", "2.0")
    f.top(
        "c",
        "from torch.utils._python_dispatch import return_and_correct_aliasing\n"
        + SUBCLASS.replace("MODE", f.pick(FUNCTION, DISPATCH)),
    )
    f.init("self.<n> = torch.nn.Parameter(c.<n>Weight(torch.randn(8, 8) / 8), requires_grad=False)")
    f.value("1", "x = torch.mm(x, self.<n>)")
    f.live("a global", "c.<n>_FACTOR = 3.0")
    f.live("a helper", "c.<n>_widen = lambda w: torch.mm(w, w)")
