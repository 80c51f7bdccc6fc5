"""The page of a report, without a browser: its parts, its size, and that texts stay texts."""

from __future__ import annotations

import builtins
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.report.documents import HOSTILE, document, hostile_document

from passprint.cache.store import TierStats
from passprint.report.files import read, save
from passprint.report.page import PARTS, page
from passprint.report.templating import PageError, environment


class Elements(HTMLParser):
    """The start tags of a page with their attributes, and its texts outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def count(self, tag: str) -> int:
        return sum(found == tag for found, _ in self.found)


def test_the_parts_are_in_order_and_have_the_figures() -> None:
    text = page(document())
    places = [text.index(f'<section id="{anchor}"') for anchor, _ in PARTS]
    assert places == sorted(places)
    assert '<h1><span class="cold">Compiled</span> in 7.50 s</h1>' in text
    assert "2 of 3 distinct pieces; the rest was found" in text
    for figure in (
        "31",
        "40 → 31",
        "484.4 KiB",
        "75%",
        "2 of 3 operators matched",
        "fold{limit=4},tidy",
        "7.25 s",
    ):
        assert figure in text


def test_the_data_inside_is_the_document(tmp_path: Path) -> None:
    for made in (document(), hostile_document()):
        save(made, tmp_path / "report.html")
        assert read(tmp_path / "report.html") == made


def test_hostile_texts_stay_texts() -> None:
    plain, hostile = Elements(page(document())), Elements(page(hostile_document()))
    assert hostile.count("img") == 0
    assert hostile.count("script") == plain.count("script") == 2
    assert "{{ 7 * 7 }}" in "".join(hostile.texts)
    assert not [name for _, attributes in hostile.found for name in attributes if name.startswith("on")]
    assert HOSTILE in "".join(hostile.texts)


def test_nothing_is_asked_of_the_network() -> None:
    text = page(document())
    assert "default-src 'none'" in text
    assert not re.search(r"https?://", re.sub(r'<script type="application/json".*?</script>', "", text))


def test_a_page_of_thirty_two_large_pieces_is_below_a_megabyte() -> None:
    made = document()
    for detail in made["details"].values():
        detail["texts"] = {"graph": "x = mul(a, b)\n" * 2800}
        detail["code"] = "y = kernel(x)\n" * 2800
    assert len(page(made).encode()) < 1_000_000


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "warm", "why": None, "misses": [], "spared": 7.0, "pass_runs": [], "notes": []},
        {"status": "pending", "each_piece": [], "spans": [], "misses": [], "matches": {}, "seconds": {}},
        {"status": "bypass", "store": None, "details": {}},
        {"graph_breaks": [{"place": "net.py:3 in forward", "line": "print(x)", "reason": "a call of print"}]},
    ],
    ids=["warm", "pending", "bypass", "graph break"],
)
def test_every_kind_of_report_has_a_page(changes: dict[str, Any]) -> None:
    text = page(document(**changes))
    assert all(f'<section id="{anchor}"' in text for anchor, _ in PARTS)
    for broken in changes.get("graph_breaks", ()):
        assert broken["place"] in text
        assert broken["line"] in text


def test_remotes_are_told_by_name_and_hostile_ones_stay_text() -> None:
    made = document()
    assert "asked by this process" not in page(made)
    tier = TierStats(
        "redis://<b>cache</b>:6379",
        "readonly",
        True,
        hits=7,
        refused=3,
        bytes_received=2_000_000,
        seconds=0.5,
    )
    made["store"]["tiers"] = [tier._asdict()]
    text = page(made)
    assert "<code>redis://&lt;b&gt;cache&lt;/b&gt;:6379</code>" in text
    assert re.search(
        r">readonly</td><td class=\"number\">7</td><td class=\"number\">0</td>.*>3</td>.*1.9 MiB", text
    )


def test_without_jinja2_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "jinja2":
            raise ModuleNotFoundError("No module named 'jinja2'", name="jinja2")
        return imported(name, *args, **kwargs)

    environment.cache_clear()
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(PageError, match=r"pip install 'passprint\[report\]'"):
        page(document())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no json", "holds no report"),
        ("[]", "holds no report"),
        (json.dumps(document(schema=99)), "schema 99; this version of passprint shows schema 2"),
    ],
)
def test_a_file_that_is_no_report_is_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(PageError, match=said):
        read(tmp_path / "report.json")


def test_an_ending_without_a_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        PageError, match=r"cannot be saved as 'report\.pdf'\. Expected a name that ends in \.html"
    ):
        save(document(), tmp_path / "report.pdf")
    assert not list(tmp_path.iterdir())


def test_a_trace_has_each_span_in_microseconds(tmp_path: Path) -> None:
    save(document(), tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    spans = [(event["name"], event["ts"], event["dur"]) for event in events if event["ph"] == "X"]
    assert spans == [
        ("trace", 0.0, 3_000_000.0),
        ("compile blocks.0", 3_000_000.0, 4_000_000.0),
        ("compile head", 7_000_000.0, 250_000.0),
    ]
    assert {event["pid"] for event in events} == {42}


def test_a_box_shows_the_end_of_a_long_label() -> None:
    made = document()
    made["each_piece"][5]["label"] = "model.decoder.layers.12"
    assert '<b title="model.decoder.layers.12">layers.12</b>' in page(made)
