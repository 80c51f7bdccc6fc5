"""The page in a real browser: what it shows, by mouse and by keyboard, on paper, and that it stays by itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.report.browser import axe, browser, why_not
from tests.report.documents import HOSTILE, document, hostile_document

from passprint.report.compared import compared_page
from passprint.report.page import PARTS, page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with browser() as found:
        yield found


class Watched:
    """A tab that collects what should not happen: errors, messages, and requests for anything but the page."""

    def __init__(self, tab: Page, path: Path) -> None:
        self.tab, self.bad = tab, []
        tab.on("console", lambda message: self.bad.append(f"console: {message.text}"))
        tab.on("pageerror", lambda error: self.bad.append(f"error: {error}"))
        tab.on("dialog", lambda dialog: self.bad.append(f"dialog: {dialog.message}"))
        tab.on("request", lambda request: self._asked(request.url, path))
        tab.goto(path.as_uri())

    def _asked(self, url: str, path: Path) -> None:
        if url != path.as_uri() and not url.startswith("data:"):
            self.bad.append(f"request: {url}")


@pytest.fixture
def show(opened: Browser, tmp_path: Path) -> Iterator[Any]:
    """Opens a text as a page; at the end nothing bad may have happened on any."""
    tabs: list[Watched] = []

    def show(text: str, **how: Any) -> Page:
        path = tmp_path / f"page{len(tabs)}.html"
        path.write_text(text, encoding="utf-8")
        tabs.append(Watched(opened.new_page(**how), path))
        return tabs[-1].tab

    yield show
    assert [bad for tab in tabs for bad in tab.bad] == []
    for one in tabs:
        one.tab.close()


def test_each_part_is_there_with_its_figures(show: Any) -> None:
    tab = show(page(document()))
    assert tab.locator("h1").inner_text() == "Compiled in 7.50 s"
    for anchor, title in PARTS:
        assert tab.locator(f"#{anchor} h2").inner_text() == title
    assert tab.locator(".lane button").count() == 3
    assert tab.locator(".boxes button").count() == 32
    assert len({tab.locator(f".boxes .t{n}").count() for n in (0, 1, 2)}) == 2
    assert tab.locator("#why .diff .minus").first.inner_text() == "-    return x * 0.5"
    assert "31" in tab.locator("#passes tbody tr").first.inner_text()
    assert "75%" in tab.locator("#store").inner_text()


def test_a_click_on_a_piece_shows_its_graph_and_code(show: Any) -> None:
    tab = show(page(document()))
    shown = tab.locator(".panel:visible")
    assert shown.count() == 1
    assert shown.locator("h3").inner_text() == "blocks.0 and 29 equal to it"  # the first that was compiled
    tab.locator(".boxes button").first.click()
    assert shown.locator("h3").inner_text() == "embed"
    tab.locator(".boxes button").nth(4).click()
    shown.get_by_text("Graph before the passes").click()
    assert shown.locator("pre[data-of=graph]").inner_text() == "mul = operator.mul(x, 2)"
    shown.get_by_text("Generated code").click()
    assert "# code" in shown.locator("pre[data-of=code]").inner_text()
    shown.get_by_text("Changed by fold: 40 → 31 nodes").click()
    assert shown.locator(".diff .plus").inner_text() == "+add = add(x, x)"


def test_everything_works_by_keyboard(show: Any) -> None:
    tab = show(page(document()))
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.locator(".boxes button").first.focus()
    tab.keyboard.press("ArrowLeft")  # there is none before the first
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
    tab.locator("#timeline .track").focus()
    tab.keyboard.press("+")
    assert tab.locator("#zoom-level").inner_text() == "2.0×"
    assert tab.evaluate(
        "document.querySelector('.plot').offsetWidth > 1.9 * document.querySelector('.track').clientWidth"
    )
    tab.keyboard.press("0")
    assert tab.locator("#zoom-level").inner_text() == "whole start"
    tab.locator(".lane button").nth(1).focus()
    assert (
        tab.locator("#readout").inner_text()
        == "compile, blocks.0: 4.00 s, from 3.00 s on; passes and Inductor"
    )
    tab.locator("#data summary").focus()
    tab.keyboard.press("Enter")
    tab.wait_for_function("document.querySelector('#data pre').textContent.includes('\"schema\": 2')")


def test_what_can_be_operated_has_a_name_and_takes_the_focus(show: Any) -> None:
    tab = show(page(document()))
    unnamed = tab.evaluate(
        """[...document.querySelectorAll("button, a, summary, [role=region]")]
        .filter((one) => !(one.getAttribute("aria-label") || one.textContent).trim()).length"""
    )
    assert unnamed == 0
    levels = tab.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((one) => +one.tagName[1])")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = tab.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))
    scrolls = tab.evaluate(
        """[...document.querySelectorAll("pre, .scroll, .track")]
        .filter((one) => one.scrollWidth > one.clientWidth + 1 && one.tabIndex < 0).length"""
    )
    assert scrolls == 0


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_text_stands_out_from_its_ground(show: Any, colours: str) -> None:
    tab = show(page(document()), color_scheme=colours)
    weakest = tab.evaluate(
        """() => {
        const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
        const parsed = (text) => text.match(/[\\d.]+/g).map(Number);
        const ground = (one) => {
            for (let at = one; at; at = at.parentElement) {
                const colour = parsed(getComputedStyle(at).backgroundColor);
                if (colour.length < 4 || colour[3] > 0) return colour;
            }
            return [255, 255, 255];
        };
        let weakest = [99, ""];
        const texts = "p, h1, h2, h3, dt, dd, td, th, a, summary, small, b, pre span, .value, .tick";
        for (const one of document.querySelectorAll(texts)) {
            if (!one.offsetParent || one.className === "skip") continue;
            const [a, b] = [light(parsed(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => y - x);
            const contrast = (a + 0.05) / (b + 0.05);
            if (contrast < weakest[0]) weakest = [contrast, one.outerHTML.slice(0, 120)];
        }
        return weakest;
    }"""
    )
    assert weakest[0] >= 4.5, weakest


@pytest.mark.skipif(axe() is None, reason="AXE does not name axe.min.js: make test-page fetches it")
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_an_audit_of_accessibility_finds_nothing(opened: Browser, tmp_path: Path, colours: str) -> None:
    for name, text in (("page", page(document())), ("compared", compared_page(document(), document()))):
        (tmp_path / f"{name}.html").write_text(text, encoding="utf-8")
        context = opened.new_context(color_scheme=colours, bypass_csp=True)  # axe comes from outside
        tab = context.new_page()
        tab.goto((tmp_path / f"{name}.html").as_uri())
        tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        tab.evaluate(axe())
        found = tab.evaluate("axe.run()")["violations"]
        assert [(one["id"], one["impact"], one["nodes"][0]["html"]) for one in found] == []
        context.close()


def test_on_a_phone_nothing_sticks_out(show: Any) -> None:
    tab = show(page(document()), viewport={"width": 360, "height": 740})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360


def test_on_paper_everything_is_open(show: Any) -> None:
    tab = show(page(document()))
    tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    tab.emulate_media(media="print")
    assert tab.locator(".panel:visible").count() == 3
    assert tab.locator("pre[data-of=graph]").nth(1).inner_text() == "mul = operator.mul(x, 2)"
    assert not tab.locator("nav").is_visible()


def test_hostile_texts_stay_texts(show: Any) -> None:
    tab = show(page(hostile_document()))
    for number in (0, 1, 31):
        tab.locator(".boxes button").nth(number).click()
    tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate("window.hacked === undefined && document.images.length === 0")
    assert HOSTILE in tab.locator("#why h3").first.inner_text()
    assert HOSTILE in tab.locator("pre[data-of=code]").nth(1).inner_text()


def test_two_reports_side_by_side(show: Any) -> None:
    after = document(status="warm", why=None, spared=7.5, seconds={"lookup": 0.01, "total": 0.1})
    after["each_piece"][1] = after["each_piece"][1] | {"digest": "9" * 64}
    tab = show(compared_page(document(), after))
    row = tab.locator("tr", has=tab.get_by_text("total", exact=True)).first.inner_text().split("\t")
    assert row == ["total", "7.50 s", "100 ms"]
    assert "blocks.0" in tab.locator("main section").nth(1).inner_text()
    hostile = show(compared_page(hostile_document(), document()))
    assert hostile.evaluate("window.hacked === undefined && document.images.length === 0")
