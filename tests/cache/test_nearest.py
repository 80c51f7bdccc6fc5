"""With which entry a miss is compared: the one that differs least. And what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from passprint.cache import LocalStore, explain_miss, with_sources
from passprint.identity import Fingerprint, compose

GRAPH = "\n".join(f"v{number} = op{number}(v{number - 1})" for number in range(1, 20))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "cache")


def key_of(graph: str = GRAPH, **more: Any) -> Fingerprint:
    parts = {"graph": graph, "passes": "none", "host": host()}
    return with_sources(compose("piece", parts | more), texts={"graph": graph})


def host(cpu: tuple[str, ...] = ("avx2",), **environment: str) -> Fingerprint:
    return compose("host", {"cpu": dict.fromkeys(cpu, True), "environment": environment})


def pipeline(**passes: object) -> Fingerprint:
    numbered = {f"{number} {name}": options for number, (name, options) in enumerate(passes.items())}
    return compose("pipeline", {"order": tuple(passes), **numbered})


def put(store: LocalStore, key: Fingerprint, label: str = "layer") -> str:
    assert store.put(key, {"code": b"x"}, {"label": label})
    return key.digest


def test_of_other_passes_those_that_differ_in_fewest_parts(store: LocalStore) -> None:
    near = put(store, key_of(passes=pipeline(one=1, two=2, three=3)))
    put(store, key_of(passes=pipeline(one=7, two=8, three=9)))
    miss = explain_miss(store, key_of(passes=pipeline(one=1, two=2, three=4)), "layer")
    assert miss.nearest == near
    assert [str(change) for change in miss.changes] == ["piece → passes → 2 three: 3 → 4"]


def test_of_other_settings_those_that_differ_in_fewest(store: LocalStore) -> None:
    near = put(store, key_of(torch={"threads": 2, "mode": "a", "simd": 1}))
    put(store, key_of(torch={"threads": 1, "mode": "b", "simd": 2}))
    miss = explain_miss(store, key_of(torch={"threads": 2, "mode": "a", "simd": 3}), "layer")
    assert (miss.nearest, len(miss.changes)) == (near, 1)


def test_few_changes_in_two_parts_are_nearer_than_many_in_one(store: LocalStore) -> None:
    options = {f"option {number}": number for number in range(9)}
    near = put(store, key_of(passes=pipeline(one=options | {"option 1": 7}), torch={"threads": 2}))
    put(store, key_of(passes=pipeline(one=dict.fromkeys(options, "other")), torch={"threads": 1}))
    miss = explain_miss(store, key_of(passes=pipeline(one=options), torch={"threads": 1}), "layer")
    assert (miss.nearest, len(miss.changes)) == (near, 2)


def test_of_other_graphs_the_one_with_fewest_other_lines(store: LocalStore) -> None:
    near = put(store, key_of(GRAPH.replace("op7(", "other(")))
    put(store, key_of(GRAPH.replace("op", "another")))
    miss = explain_miss(store, key_of(), "layer")
    assert miss.nearest == near
    assert "-v7 = other(v6)\n+v7 = op7(v6)" in (miss.changes[0].lines or "")


def test_of_equally_near_ones_the_newest(store: LocalStore) -> None:
    put(store, key_of(passes="one"))
    newest = put(store, key_of(passes="two"))
    assert explain_miss(store, key_of(passes="three"), "layer").nearest == newest


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {"OMP_X": "true"}, "environment: the variable OMP_X was not set and is 'true'"),
        ({"OMP_X": "true"}, {}, "environment: the variable OMP_X was 'true' and is not set"),
        ({"OMP_X": "true"}, {"OMP_X": "no"}, "environment: the variable OMP_X was 'true' and is 'no'"),
    ],
)
def test_a_variable_of_the_environment_is_named(
    store: LocalStore, before: dict[str, str], after: dict[str, str], told: str
) -> None:
    put(store, key_of(host=host(**before)))
    miss = explain_miss(store, key_of(host=host(**after)), "layer")
    assert str(miss) == f"the same graph is stored, but for another {told}"


def test_another_host_with_another_environment(store: LocalStore) -> None:
    put(store, key_of(host=host(("avx2", "avx512_f"))))
    miss = explain_miss(store, key_of(host=host(OMP_X="true")), "layer")
    assert str(miss) == (
        "the same graph is stored, but for another host: built for avx512_f, which this host lacks; "
        "the variable OMP_X was not set and is 'true'"
    )


def test_what_came_or_went_is_shown_where_it_has_a_text(store: LocalStore) -> None:
    put(store, key_of())
    assert str(explain_miss(store, key_of(sizes="d0 in [2, 64]"), "layer")).endswith(
        "sizes: added 'd0 in [2, 64]'"
    )
    put(store, key_of(sizes="d0 in [2, 8]", passes="other"))
    miss = explain_miss(store, key_of(passes="other", extra=compose("extra", {"a": 1})), "layer")
    assert str(miss).endswith("sizes: removed 'd0 in [2, 8]'; extra: added")


def test_passes_in_another_order_are_not_told_as_gone_and_come(store: LocalStore) -> None:
    put(store, key_of(passes=pipeline(one=1, two=2)))
    miss = explain_miss(store, key_of(passes=pipeline(two=2, one=1)), "layer")
    assert [change.path for change in miss.changes] == ["piece → passes → order"]
    miss = explain_miss(store, key_of(passes=pipeline(new=0, one=1, two=2)), "layer")
    assert [change.path for change in miss.changes] == ["piece → passes → order", "piece → passes → 0 new"]
