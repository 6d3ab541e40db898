"""A person finds the winner in MLflow's pages, in a real browser: from the start page to the model's card."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from orchestrator.promotion.judge import PromotionRequest
from orchestrator.promotion.promote import promote
from orchestrator.tracking.ui.server import serve
from tests import needs
from tests.promotion.conftest import Tracked
from tests.tracking.records import ACCURACY

pytestmark = needs.chromium
WAIT_MS = 60_000
"""Longest wait for a page; other tests share the cores."""
TRIAL = re.compile(r"^trial-\d+$")


@pytest.fixture
def start_page(tracked: Tracked, tmp_path: Path) -> Iterator[tuple[Page, list[str]]]:
    """Yield the start page of MLflow over a promoted sweep, and the errors of the pages."""
    request = PromotionRequest(name="films", metric=ACCURACY)
    promote(tracked.trained.store.record, tracked.candidates().choose(), tracked.location, request)
    errors: list[str] = []
    with (
        serve(tracked.location, port=0, log=tmp_path / "server.log") as address,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"]) as browser,
    ):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        yield page, errors


def test_winner_is_found_from_the_start_page(start_page: tuple[Page, list[str]], tmp_path: Path) -> None:
    page, errors = start_page
    expect.set_options(timeout=WAIT_MS)

    def seen(text: str | re.Pattern[str]) -> None:
        expect(page.get_by_text(text, exact=True).first).to_be_visible()

    page.get_by_role("link", name="films").first.click()
    # The trials, the best first, with their metrics, parameters and states.
    expect(page.get_by_role("link", name=TRIAL)).to_have_text(["trial-002", "trial-001", "trial-000", "trial-003"])
    for text in ("best_val_accuracy", "learning_rate", "state", "0.9", "0.0003", "pruned"):
        seen(text)
    page.screenshot(path=tmp_path / "trials.png")
    # Three of them compared: their curves.
    for row in range(1, 4):
        page.get_by_role("checkbox").nth(row).check()
    page.get_by_role("button", name="Compare").click()
    seen("Comparing 3 Runs from 1 Experiment")
    page.screenshot(path=tmp_path / "compared.png")
    page.go_back()
    # The charts begin with the searched metric.
    page.locator("input[value=CHART]").dispatch_event("click")  # its picture covers it
    expect(page.get_by_text(re.compile("^(val|train|gap)/[a-z]+$")).first).to_have_text("val/accuracy")
    page.screenshot(path=tmp_path / "charts.png")
    # The winner, its registered version and its card.
    page.get_by_role("link", name="trial-002").first.click()
    seen("Registered models")
    page.screenshot(path=tmp_path / "run.png")
    page.get_by_role("link", name="films").last.click()
    expect(page).to_have_url(re.compile("/models/films/versions/1"))
    for text in ("@ champion", "Scores", "Gates"):
        seen(text)
    page.screenshot(path=tmp_path / "version.png")
    # The experiment's list of models names the registered one.
    page.goto(re.sub("#.*", "#/experiments/1/models", page.url))
    expect(page.get_by_role("gridcell").get_by_role("link", name="films")).to_be_visible()
    assert errors == []
