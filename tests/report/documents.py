"""Documents of reports made by hand, with the figures that tests look for."""

from __future__ import annotations

from typing import Any

HOSTILE = (
    '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">&amp;\'"{{ 7 * 7 }}'
)
"""A text that breaks out of pages which do not take care."""


def piece(label: str, number: int, origin: str = "memory", **changes: Any) -> dict[str, Any]:
    return {
        "label": label,
        "digest": f"{number:064x}",
        "nodes": 12 + number,
        "origin": origin,
        "form": "direct",
        "bypass": None,
        "lookup_ms": 0.5,
        "matches": {"fold": number},
        "sizes": None,
    } | changes


def detail(text: str = "graph of it") -> dict[str, Any]:
    return {
        "kind": "piece",
        "label": "blocks.0",
        "created": 1.7e9,
        "bytes": 123_456,
        "texts": {"graph": text, "inputs": "float32 [2, 8]", "symbols": ""},
        "code": f"# code\n{text}",
        "key": key("a" * 16, "0.5"),
    }


def key(digest: str, value: str) -> dict[str, Any]:
    leaf = {"name": "FACTOR", "kind": "value", "digest": digest, "text": value, "children": [], "more": 0}
    same = {"name": "torch", "kind": "value", "digest": "1" * 16, "text": "2.13.0", "children": [], "more": 0}
    part = {"name": "passes", "kind": "parts", "digest": digest, "text": None, "children": [leaf], "more": 2}
    return {
        "name": "piece",
        "kind": "parts",
        "digest": digest,
        "text": None,
        "children": [part, same],
        "more": 0,
    }


def document(**changes: Any) -> dict[str, Any]:
    """A cold start of a model of thirty-two pieces, three of them distinct; one was found in the store."""
    pieces = [piece("embed", 0, "store"), piece("blocks.0", 1, "compiled")]
    pieces += [piece(f"blocks.{number}", 1) for number in range(1, 30)]
    pieces += [piece("head", 2, "compiled")]
    change = {
        "path": "piece → passes → scaled",
        "kind": "changed",
        "before": "aa",
        "after": "bb",
        "lines": "--- before\n+++ after\n@@ -1,2 +1,2 @@\n def scaled(x):\n-    return x * 0.5\n+    return x * 0.25",
    }
    miss = {
        "kind": "piece",
        "key": f"{1:064x}",
        "label": "blocks.0",
        "reason": "the same graph is stored, but not with the same passes",
        "nearest": "f" * 64,
        "changes": [change],
        "detail": "",
    }
    return {
        "schema": 2,
        "name": "20260101T000000-42-0",
        "began": 1767225600.0,
        "process": {"id": 42, "program": "serve.py"},
        "status": "cold",
        "why": "blocks.0: the same graph is stored, but not with the same passes",
        "graphs": 1,
        "traced": 1,
        "loaded": 0,
        "pieces": len(pieces),
        "distinct_pieces": 3,
        "lookups": len(pieces),
        "lookup_ms": 16.0,
        "repeated_piece_ms": 0.5,
        "seconds": {"trace": 3.0, "compile": 4.25, "lookup": 0.01, "total": 7.5},
        "spared": None,
        "spans": [
            {"phase": "trace", "start": 1.0, "end": 4.0, "piece": None},
            {"phase": "compile", "start": 4.0, "end": 8.0, "piece": "blocks.0"},
            {"phase": "compile", "start": 8.0, "end": 8.25, "piece": "head"},
        ],
        "pipeline": "fold{limit=4},tidy",
        "pass_runs": [
            {
                "piece": f"{1:064x}",
                "pass": "fold",
                "hook": "post_grad_post",
                "seconds": 0.002,
                "nodes_before": 40,
                "nodes_after": 31,
                "rewrites": 3,
                "patterns": {"pair": 3},
                "near_misses": {"triple": {"matched": 2, "reason": "2 of 3 operators matched"}},
                "diff": "--- before\n+++ after\n@@ -1 +1 @@\n-mul = mul(x, 2)\n+add = add(x, x)",
            }
        ],
        "matches": {"fold": 31, "fold/pair": 31, "tidy": 0},
        "notes": ["blocks.0: compiled"],
        "traced_because": [],
        "misses": [miss],
        "graph_breaks": [],
        "each_piece": pieces,
        "variants": [],
        "versions": {"passprint": "0.1.0", "python": "3.11.7", "torch": "2.13.0"},
        "store": {
            "place": "/var/cache/passprint",
            "entries": 5,
            "objects": 11,
            "bytes": 496_000,
            "limit_bytes": 5_368_709_120,
            "hits": 3,
            "misses": 1,
            "bypasses": 0,
            "stores": 4,
            "failures": 0,
            "reasons": {"hit": {}, "miss": {"no entry": 1}, "bypass": {}, "store": {}, "fail": {}},
            "tiers": [],
        },
        "details": {
            f"{0:064x}": detail(),
            f"{1:064x}": detail("mul = operator.mul(x, 2)") | {"key": key("b" * 16, "0.25")},
            "f" * 64: detail() | {"texts": {}, "code": None},
        },
    } | changes


def hostile_document() -> dict[str, Any]:
    """The same with `HOSTILE` at the end of every text that may come from a user, names of passes included."""
    made: dict[str, Any] = _poisoned(document())
    made["matches"] = {f"{name}{HOSTILE}": count for name, count in made["matches"].items()}
    return made


def _poisoned(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {below: _poisoned(held, below) for below, held in value.items()}
    if isinstance(value, list):
        return [_poisoned(one, name) for one in value]
    return f"{value}{HOSTILE}" if isinstance(value, str) and name not in _OURS else value


_OURS = frozenset({"status", "digest", "key", "nearest", "piece"})
"""What passprint alone writes, and a page looks things up by."""
