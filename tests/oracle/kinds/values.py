"""Tensors by value: they are inputs of a graph wherever they lie, and never a part of what is stored."""

from __future__ import annotations

from tests.oracle.fragments import Fragment, kind

TENSOR = "torch.full((8, 8), <k>)"


@kind
def tensor_attribute(f: Fragment) -> None:
    f.slot("k", "0.5", "0.25", "2.0")
    f.init(f"self.<n> = {TENSOR}")
    f.value("1", "x = torch.mm(x, self.<n>)")
    f.live("another", "o.<n> = torch.full((8, 8), 3.0)")
    f.live("in place", "o.<n>.mul_(3.0)")


@kind
def tensor_global(f: Fragment) -> None:
    place = f.pick("main", "a", "b", "c")
    f.slot("k", "0.5", "0.25", "2.0")
    f.top(place, f"<n>_T = {TENSOR}\ndef <n>(x):\n    return torch.mm(x, <n>_T)")
    prefix = "" if place == "main" else f"{place}."
    f.value("1", f.pick(f"x = torch.mm(x, {prefix}<n>_T)", f"x = {prefix}<n>(x)"))
    f.live("another", f"{place}.<n>_T = torch.full((8, 8), 3.0)")
    f.live("in place", f"{place}.<n>_T.mul_(3.0)")


@kind
def tensor_in_containers(f: Fragment) -> None:
    f.slot("k", "0.5", "0.25")
    at = f.pick("[1]", "['t']", ".t", "[0][0]")
    made = {
        "[1]": f.pick(f"[1, {TENSOR}]", f"(1, {TENSOR})"),
        "['t']": "{'t': " + TENSOR + "}",
        ".t": f"types.SimpleNamespace(t={TENSOR})",
        "[0][0]": f"(({TENSOR},),)",
    }
    f.init(f"self.<n> = {made[at]}")
    f.value("1", f"x = torch.mm(x, self.<n>{at})")
    f.live("in place", f"o.<n>{at}.mul_(3.0)")


@kind
def tensor_in_function(f: Fragment) -> None:
    f.slot("k", "0.5", "0.25")
    f.top(
        "b",
        f.pick(
            f"def <n>(x, t={TENSOR}):\n    return torch.mm(x, t)",
            f"def <n>_make(t):\n    return lambda x: torch.mm(x, t)\n\n<n> = <n>_make({TENSOR})",
            f"<n> = functools.partial(torch.mm, mat2={TENSOR})",
            f"class C:\n    t = {TENSOR}\n    def __call__(self, x):\n        return torch.mm(x, self.t)\n\n<n> = C()",
        ),
    )
    f.value("1", "x = b.<n>(x)")
    f.live("another", "b.<n> = lambda x: torch.mm(x, torch.full((8, 8), 3.0))")


@kind
def tensor_made(f: Fragment) -> None:
    f.slot("k", "0.5", "2.0")
    f.slot("size", "8", "8 * 1")
    f.init("self.<n> = <k>")
    f.value("1", "x = torch.mm(x, torch.full((8, 8), self.<n>))")
    f.live("set", "o.<n> = 3.0")


@kind
def tensor_size(f: Fragment) -> None:
    f.slot("rows", "8", "4", "6")
    f.init("self.register_buffer('<n>', torch.ones(<rows>, 8))")
    f.value("self.<n>.shape[0]", "x = torch.mm(torch.mm(x, self.<n>.t()), self.<n>)")
    f.live("another size", "o.<n> = torch.ones(5, 8)")
    f.live("other strides", "o.<n> = torch.ones(8, o.<n>.shape[0]).mul_(0.5).t()")


@kind
def tensor_requires_grad(f: Fragment) -> None:
    f.slot("grad", "False", "True")
    f.init("self.<n> = torch.nn.Linear(8, 8)\nself.<n>.requires_grad_(<grad>)")
    f.value("2 + self.<n>.weight.requires_grad", "x = self.<n>(x)")
    f.live("turn", "o.<n>.requires_grad_(not o.<n>.weight.requires_grad)")
