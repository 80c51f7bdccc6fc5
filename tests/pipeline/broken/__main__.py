"""Prints how many broken passes of each kind were caught, and by which."""

from __future__ import annotations

from tests.pipeline.broken import BROKEN, graph_of, try_pass
from tests.pipeline.broken.suite import Broken, Caught


def main() -> None:
    """Print how many of each kind were caught, by what."""
    found: dict[str, list[tuple[Broken, Caught]]] = {}
    for dynamic in (False, True):
        graph = graph_of(dynamic=dynamic)
        for case in BROKEN:
            found.setdefault(case.kind, []).append((case, try_pass(case, graph)))
    print(f"{'kind':<15} {'passes':>7} {'manager':>8} {'verify':>7} {'numerics':>9} {'missed':>7}")
    for kind, results in found.items():
        count = {
            by: sum(caught.by == by for _, caught in results) for by in ("manager", "verify", "numerics")
        }
        right = [case.name == caught.blamed for case, caught in results]
        told = f"{count['manager']:>8} {count['verify']:>7} {count['numerics']:>9} {right.count(False):>7}"
        print(f"{kind:<15} {len(results) // 2:>7} {told}")
        for case, caught in results:
            if caught.blamed != case.name:
                print(f"    not caught: {case.name} ({caught.blamed})")
    total = [case.name == caught.blamed for results in found.values() for case, caught in results]
    print(
        f"{len(BROKEN)} passes, each on static and dynamic sizes: {sum(total)} of {len(total)} caught, by name"
    )


if __name__ == "__main__":
    main()
