"""The context that a pass runs in."""

from __future__ import annotations

import asyncio
import threading

import pytest

from passprint import PassprintError
from passprint.passes import CompileRange, PassContext, current_pass_context, get_pass_context, pass_context


def test_a_range_has_both_ends() -> None:
    sizes = CompileRange(4, 8)
    assert [size in sizes for size in (3, 4, 8, 9)] == [False, True, True, False]
    assert not sizes.is_single_size()
    assert CompileRange(4, 4).is_single_size()
    assert str(sizes) == "[4, 8]"
    assert 10**9 in CompileRange.any()
    assert str(CompileRange.any()) == "[0, ]"


@pytest.mark.parametrize("ends", [(5, 4), (-1, 4)])
def test_an_empty_range_is_an_error(ends: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="both ends"):
        CompileRange(*ends)


def test_outside_a_context_the_error_says_how_to_enter_one() -> None:
    assert current_pass_context() is None
    with pytest.raises(PassprintError, match=r"with pass_context\(CompileRange"):
        get_pass_context()


def test_contexts_nest_and_end() -> None:
    with pass_context(CompileRange(1, 2)) as outer:
        assert get_pass_context() is outer
        with pass_context(CompileRange(3, 4)) as inner:
            assert get_pass_context() is inner
        assert get_pass_context() is outer
        with pytest.raises(KeyError), pass_context(CompileRange(5, 6)):
            raise KeyError
        assert get_pass_context() is outer
    assert current_pass_context() is None


def test_only_a_range_is_taken() -> None:
    with pytest.raises(TypeError, match="CompileRange"), pass_context(8):  # type: ignore[arg-type]
        pass


def test_two_threads_never_see_each_other() -> None:
    both_in = threading.Barrier(2, timeout=30)
    seen: dict[int, list[PassContext | None]] = {}

    def work(size: int) -> None:
        before = current_pass_context()
        with pass_context(CompileRange(size, size)):
            both_in.wait()
            inside = get_pass_context()
            both_in.wait()
        seen[size] = [before, inside, current_pass_context()]

    with pass_context(CompileRange(9, 9)):
        threads = [threading.Thread(target=work, args=(size,)) for size in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for size in (1, 2):
        before, inside, after = seen[size]
        assert (before, after) == (None, None)
        assert inside is not None
        assert inside.compile_range == CompileRange(size, size)


def test_two_tasks_never_see_each_other() -> None:
    async def work(size: int) -> int:
        with pass_context(CompileRange(size, size)):
            await asyncio.sleep(0)
            return get_pass_context().compile_range.start

    async def main() -> list[int]:
        return await asyncio.gather(*(work(size) for size in range(1, 4)))

    assert asyncio.run(main()) == [1, 2, 3]


def test_counts_add_up() -> None:
    context = PassContext(CompileRange(1, 2))
    context.count("a", 2)
    context.count("a", 3)
    assert context.matches == {"a": 5}
