"""The report page in a real browser: charts, sorting, keyboard, both colour schemes, phone width, no network."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orchestrator.report.files import write_report
from orchestrator.report.summary import Importances, summarise
from tests import needs
from tests.report.examples import make_records, make_sweep

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = needs.chromium
HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    records = [
        replace(record, params={**record.params, "init": HOSTILE * (record.number % 2)}) for record in make_records()
    ]
    summary = summarise(make_sweep(), records, Importances(values={"learning_rate": 0.71, "rank": 0.29}))
    return write_report(tmp_path_factory.mktemp("report"), summary)[0].as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(browser: "Browser", address: str, width: int, scheme: str) -> tuple["Page", list[str]]:
    """Return the loaded page, and a list that receives its errors and its requests to other addresses."""
    problems: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    page.on(
        "request",
        lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else problems.append(request.url),
    )
    page.goto(address)
    page.wait_for_function("document.querySelectorAll('.main-svg').length >= 8")
    return page, problems


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (420, "dark")])
def test_charts_are_drawn_without_errors(browser: "Browser", address: str, width: int, scheme: str) -> None:
    page, problems = opened(browser, address, width, scheme)
    assert problems == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.querySelectorAll('.plot')].every(plot => plot.data.length > 0)")
    ink = page.evaluate("document.getElementById('survival').layout.template.layout.font.color")
    assert ink == {"light": "#222222", "dark": "#d8d8d8"}[scheme]
    page.close()


def test_keyboard_sorts_table_and_reads_points(browser: "Browser", address: str) -> None:
    page, problems = opened(browser, address, 1280, "light")
    page.locator("#leaderboard button", has_text="trial").focus()
    page.keyboard.press("Enter")
    numbers = page.locator("#leaderboard tbody td:nth-child(2)").all_inner_texts()
    assert numbers == [str(number) for number in range(12)]
    page.keyboard.press("Enter")
    assert page.locator("#leaderboard th[aria-sort=descending]").inner_text().startswith("trial")
    assert page.locator("#leaderboard tbody td:nth-child(2)").first.inner_text() == "11"
    page.locator("#best_so_far").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#best_so_far-point").inner_text().startswith("trial 0, complete: 0.")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.getElementById('survival').layout.template.layout.font.color === '#d8d8d8'")
    assert problems == []
    page.close()
