"""Kernels of one graph in one library, and strides that are read off."""

from __future__ import annotations

from pathlib import Path

import pytest
import sympy
import torch
from tests.compiler.processes import in_new_process
from torch._inductor.codegen.cpp import stride_at_vec_range
from torch.utils._sympy.functions import FloorDiv, ModularIndexing

import passprint
from passprint.cache import open_store
from passprint.compiler.artifacts.kernels import load_kernel
from passprint.compiler.lowering import joint
from passprint.compiler.lowering.strides import plain_stride

KERNEL = """
#include <torch/csrc/inductor/cpp_prefix.h>
extern "C"  void  kernel(float* in_out_ptr0,
                       const int64_t ks0)
{
    {
        #pragma GCC ivdep
        for(int64_t x0=0; x0<ks0; x0+=1)
        {
            in_out_ptr0[x0] += 1;
        }
    }
}
"""
HELPER = "inline int64_t helper() { return 1; }\n"


def two_kernels(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return (torch.relu(x @ w) @ w).sigmoid() * 2


def given(n: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(n)
    return torch.randn(n, 8), torch.randn(8, 8)


def libraries(cache: Path) -> list[int]:
    """How many libraries each stored piece has."""
    entries = [entry for entry in open_store(cache).entries() if entry.meta["form"] == "direct"]
    return [sum(name.endswith(".so") for name in entry.files) for entry in entries]


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty Inductor cache and no graphs from other tests."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    torch._dynamo.reset()


def test_a_plain_kernel_can_be_joined() -> None:
    assert joint.can_join(["float*", "const int64_t"], KERNEL)


@pytest.mark.parametrize(
    ("kinds", "source"),
    [
        (["float*", "float"], KERNEL),
        (["float*", "uintptr_t"], KERNEL),
        (["float*", "const int64_t"], KERNEL.replace('extern "C"', HELPER + 'extern "C"')),
        (["float*", "const int64_t"], KERNEL + HELPER),
        (["float*", "const int64_t"], KERNEL.replace('extern "C"', '#include <omp.h>\nextern "C"')),
        (["float*", "const int64_t"], KERNEL.replace('extern "C"', '#define N 1\nextern "C"')),
        (["float*", "const int64_t"], KERNEL + KERNEL),
        (["float*", "const int64_t"], KERNEL.replace("kernel(", "other(")),
    ],
)
def test_what_is_more_than_one_plain_function_is_built_alone(kinds: list[str], source: str) -> None:
    assert not joint.can_join(kinds, source)


def test_the_kernels_of_a_piece_are_one_library_here_and_in_a_new_process(tmp_path: Path) -> None:
    x, w = given()
    compiled = passprint.compile(two_kernels, cache=tmp_path / "cache", dynamic={"x": (0,)})
    torch.testing.assert_close(compiled(x, w), two_kernels(x, w))
    torch.testing.assert_close(compiled(given(9)[0], w), two_kernels(given(9)[0], w))
    assert libraries(tmp_path / "cache") == [1]
    found = in_new_process(
        tmp_path,
        f"""
from tests.compiler.test_builds import given, two_kernels
compiled = passprint.compile(two_kernels, cache={str(tmp_path / "cache")!r}, dynamic={{"x": (0,)}})
difference = max((compiled(*given(n)) - two_kernels(*given(n))).abs().max().item() for n in (5, 9))
print(json.dumps(compiled.report.to_dict() | {{"difference": difference}}))
""",
    )
    assert found["status"] == "warm", found["why"]
    assert found["difference"] < 1e-5


def test_a_kernel_says_what_it_was_not_given(tmp_path: Path) -> None:
    """Bindings of our own answer a mistake with an error, not with a crash."""
    passprint.compile(two_kernels, cache=tmp_path / "cache", dynamic={"x": (0,)})(*given())
    (entry,) = (e for e in open_store(tmp_path / "cache").entries() if e.meta["form"] == "direct")
    first = load_kernel(next(entry.path(name) for name in entry.files if name.endswith(".so")))
    second = getattr(first.__self__, "kernel_1")  # noqa: B009
    for kernel in (first, second):
        with pytest.raises(RuntimeError, match="arguments, not 0"):
            kernel()
        with pytest.raises((RuntimeError, TypeError)):
            kernel(*["no tensor"] * 2)


def test_kernels_that_cannot_be_built_together_are_built_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joint, "join", lambda sources: "#error together they do not build\n")
    x, w = given()
    compiled = passprint.compile(two_kernels, cache=tmp_path / "cache", dynamic={"x": (0,)})
    torch.testing.assert_close(compiled(x, w), two_kernels(x, w))
    assert libraries(tmp_path / "cache") == [2]


def test_without_a_compiler_the_error_says_what_to_do(tmp_path: Path) -> None:
    """Found in the store: it runs. Not found: an error that speaks to a person."""
    x, w = given()
    passprint.compile(two_kernels, cache=tmp_path / "cache")(x, w)
    torch._dynamo.reset()
    with torch._inductor.config.patch({"cpp.cxx": (None, "no-such-compiler")}):
        stored = passprint.compile(two_kernels, cache=tmp_path / "cache")
        torch.testing.assert_close(stored(x, w), two_kernels(x, w))
        with pytest.raises(passprint.CompileError, match="'no-such-compiler' was not found") as caught:
            passprint.compile(lambda x: x.sin() + x.cos(), cache=tmp_path / "cache")(x)
    for word in ("C++ compiler", "$CXX", "passprint cache export", "passprint cache import"):
        assert word in str(caught.value)


# ---- strides --------------------------------------------------------------------------------------------

X, Y, S = sympy.symbols("d0 d1 s0", integer=True, nonnegative=True)


@pytest.mark.parametrize(
    "index",
    [
        X,
        sympy.Integer(7),
        64 * X + 3 * Y + 5,
        64 * S * X + Y * S + S,
        S * X + 8 * X + Y,
        64 * FloorDiv(Y, 3) + X,
        ModularIndexing(Y, 4, 8) * 8 + 2 * X,
        8 * (X + Y) * S,
        sympy.expand(8 * (X + Y) * S),
    ],
)
def test_a_stride_that_is_read_off_is_what_torch_finds(index: sympy.Expr) -> None:
    stride = plain_stride(index, X)
    if stride is not None:
        assert stride == stride_at_vec_range(index, X, 8)
    assert (stride is None) == (index == 8 * (X + Y) * S)


@pytest.mark.parametrize(
    "index", [FloorDiv(X, 3), X * X, X * FloorDiv(Y, 2), ModularIndexing(X, 1, 8) + X, X * Y * X]
)
def test_a_stride_that_is_not_plain_is_left_to_torch(index: sympy.Expr) -> None:
    assert plain_stride(index, X) is None


FORKED = """
import os, threading
from passprint.compiler.lowering import builds
begun, end = threading.Event(), threading.Event()
builds._probe_instruction_sets = lambda: (begun.set(), end.wait())
builds.prepare()
begun.wait()
child = os.fork()
if child == 0:
    with builds.BackgroundBuilds():
        os._exit(7)
for _ in range(200):
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        break
    threading.Event().wait(0.1)
else:
    os.kill(child, 9)
    os.waitpid(child, 0)
end.set()
print(json.dumps({"status": os.waitstatus_to_exitcode(status) if done else "it hangs"}))
"""


def test_a_process_forked_while_the_compiler_is_asked_does_not_wait_for_who_asks(tmp_path: Path) -> None:
    assert in_new_process(tmp_path, FORKED) == {"status": 7}
