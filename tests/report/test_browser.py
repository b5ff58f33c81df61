"""The report in a real browser: it sorts, filters, downloads and zooms, by mouse and keyboard, and never complains."""

import csv
import json
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from ecgscale.analysis.report import report
from ecgscale.analysis.study import figures
from ecgscale.analysis.table.build import write
from tests.planted import CARD, planted_points, planted_table, write_runs

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
NAMED = """() => [...document.querySelectorAll("button, a, input, select, img, summary, [tabindex='0']")]
  .filter((e) => !e.closest("dialog") && !(e.labels?.length || e.textContent.trim() || e.alt || e.ariaLabel))
  .map((e) => e.outerHTML.slice(0, 80))"""
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const luminance = ([r, g, b]) => { const f = (v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
    return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
    if (c[3] === 255) return c; } return [255, 255, 255]; };
  return [...document.querySelectorAll("p, td, th button, dd, dt, .flag, .verdict, .soft, nav a, label, summary")]
    .filter((e) => e.offsetParent && e.textContent.trim()).map((e) => {
      const [a, b] = [luminance(rgb(getComputedStyle(e).color)), luminance(behind(e))];
      return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.className + " " + e.textContent.trim().slice(0, 40)];
    }).sort((x, y) => x[0] - y[0])[0];
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed here (apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with two of the figures, a card, and a table of fits with flags."""
    results = tmp_path_factory.mktemp("results")
    write_runs(results, planted_points())
    write(planted_table(), results)
    card = {"description": "A planted corpus.", "license": "CC BY 4.0", "identifier": "https://doi.org/10.1/2", **CARD}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "FIGURES", {name: figures.FIGURES[name] for name in ("scaling", "learning")})
        return report(results, cards={"ptbxl-sample": card})


@pytest.fixture
def page(browser: "Browser", file: Path) -> Iterator["Page"]:
    """The report, opened afresh; it may neither complain on the console nor ask the network for anything."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, reduced_motion="reduce")
    opened = context.new_page()
    opened.set_default_timeout(5000)
    said: list[str] = []
    asked: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(file.as_uri())
    opened.evaluate("document.querySelectorAll('details.room').forEach((e) => { e.open = true; })")
    yield opened
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    context.close()


def shown(page: "Page", column: int) -> list[str]:
    cells = page.locator(f"#exponents-table tbody tr:not([hidden]) td:nth-child({column})")
    return cells.all_inner_texts()


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def test_columns_sort_by_value_by_mouse_and_by_keyboard(page: "Page") -> None:
    head = page.locator("#exponents-table thead th").nth(5)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    values = [number(v) for v in shown(page, 6) if v != "–"]
    assert values == sorted(values)
    assert len(set(values)) > 3
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert [number(v) for v in shown(page, 6) if v != "–"] == values[::-1]
    assert "–" not in shown(page, 6)[: len(values)]
    page.locator("#exponents-table thead th button").nth(1).click()
    assert head.get_attribute("aria-sort") is None
    assert shown(page, 2) == sorted(shown(page, 2))


def test_the_exponents_table_filters(page: "Page") -> None:
    total = page.locator("#exponents-table tbody tr").count()
    page.get_by_label("exponents only").uncheck()
    assert page.locator("#count").inner_text() == f"{total} of {total} rows"
    law, configuration = (page.locator("#filters select").nth(i) for i in (0, 1))
    law.select_option("transfer")
    configuration.select_option("R-SSL")
    assert set(shown(page, 1)) == {"transfer"}
    assert set(shown(page, 2)) == {"R-SSL"}
    assert page.locator("#count").inner_text() == f"{len(shown(page, 1))} of {total} rows"
    law.select_option("")
    configuration.select_option("")
    page.get_by_label("search").fill("bound")
    assert shown(page, 11)
    flagged = len(shown(page, 11))
    page.get_by_label("without flags").check()
    assert len(shown(page, 11)) < flagged
    page.get_by_label("search").fill("no such thing")
    assert page.locator("#count").inner_text() == f"0 of {total} rows"


def test_what_is_shown_can_be_downloaded(page: "Page", tmp_path: Path) -> None:
    def saved(link: str, inside: str) -> Path:
        with page.expect_download() as waiting:
            page.locator(inside).get_by_role("link", name=link, exact=True).click()
        waiting.value.save_as(tmp_path / waiting.value.suggested_filename)
        return tmp_path / waiting.value.suggested_filename

    table = saved("Whole table (CSV)", "#exponents")
    assert len(pd.read_csv(table)) == len(planted_table())
    data = saved("Data (CSV)", "#figure-scaling")
    assert data.name == "scaling.csv"
    assert len(list(csv.DictReader(data.open()))) > 10
    picture = saved("Save as SVG", "#figure-scaling")
    assert picture.name == "scaling.svg"
    assert "<svg" in picture.read_text()[:400]
    page.locator("#card-ptbxl-sample summary").click()
    card = saved("Card (Croissant JSON-LD)", "#card-ptbxl-sample")
    assert json.loads(card.read_text())["license"] == "CC BY 4.0"


def test_figures_are_enlarged_and_escape_gives_the_focus_back(page: "Page") -> None:
    plate = page.get_by_role("button", name="Enlarge").first
    plate.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    assert dialog.is_visible()
    assert (dialog.locator("svg").get_attribute("aria-label") or "").strip()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert plate.evaluate("e => e === document.activeElement")


def test_a_folded_room_opens_when_it_is_asked_for(page: "Page") -> None:
    room = page.locator("#claims")
    room.evaluate("e => { e.open = false; }")
    page.get_by_role("link", name="each with its numbers").click()
    assert room.evaluate("e => e.open")


def test_the_keyboard_reaches_the_report_and_opens_a_claim(page: "Page") -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    rows = page.locator("details.claim")
    assert rows.count() == 18
    rows.nth(8).locator("summary").press("Enter")
    assert rows.nth(8).get_by_text("share of cells that a ResNet wins", exact=True).last.is_visible()


def test_everything_has_a_name_and_every_column_a_scope(page: "Page") -> None:
    assert page.evaluate(NAMED) == []
    assert page.locator("th:not([scope])").count() == 0
    assert page.locator("main").count() == 1
    assert page.locator("figure svg:not([aria-label])").count() == 0
    levels = page.locator("h1, h2, h3").evaluate_all("all => all.map((e) => Number(e.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read_in_light_and_dark(page: "Page", scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    ratio, where = page.evaluate(CONTRAST)
    assert ratio >= 4.5, where
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != background


@pytest.mark.parametrize("width", [390, 320])
def test_a_phone_never_scrolls_sideways(page: "Page", width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.evaluate("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
