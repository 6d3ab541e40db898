"""A person finds the winner in MLflow's pages, in a real browser: from the start page to the model's card."""

import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from orchestrator.core.sweeps.sweep import SweepStatus
from orchestrator.core.trials.manifest import Owner
from orchestrator.core.trials.row_measures import Measurement, RowMeasures
from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.evaluation.measurement_file import kept_test_file, write_measurement
from orchestrator.promotion.candidates import Candidates
from orchestrator.promotion.gates.judge import PromotionRequest
from orchestrator.promotion.promote import promote
from orchestrator.tracking.location import Location
from orchestrator.tracking.runs.synchroniser import Synchroniser
from orchestrator.tracking.ui.server import serve
from tests import needs
from tests.tracking.records import ACCURACY, StoredSweep, description, sweep, trial
from tests.tracking.trained import TrainedSweep

pytestmark = needs.chromium
WAIT_MS = 60_000
"""Longest wait for a page; other tests share the cores."""
WIDTH = 1280
TRIAL = re.compile(r"^trial-\d+")
TECHNICAL = re.compile(r"mlflow\.loratory|loratory\.(alias|gates|validation)|verdict")
"""Words of tags that only programs read."""
FIXED = {"dropout": 0.1, "weight_decay": 0.01, "warmup_ratio": 0.02, "batch_size": 16}
RIGHT = {0: 150, 2: 185}
"""Rows classified correctly by the kept adapters, of 200."""


def with_test_rows(record: TrialRecord, folder: Path) -> TrialRecord:
    """Return a trial with a test measurement, stored by row."""
    right = RIGHT[record.number]
    best = record.best(ACCURACY)
    assert best is not None
    rows = RowMeasures(
        losses=(0.5,) * 200,
        units=(1.0,) * 200,
        predictions=(1,) * right + (2,) * (200 - right),
        references=(1,) * 200,
    )
    values = {"loss": 0.5, "accuracy": right / 200}
    file = kept_test_file(folder, record.number)
    write_measurement(
        file, best.nominal_samples, Owner(sweep="", task=record.task), Measurement(metrics=values, rows=rows)
    )
    return replace(record, final={**record.final, **{f"test/{name}": value for name, value in values.items()}})


def fill(trained: TrainedSweep, location: Location, folder: Path) -> None:
    """Write two sweeps of one name to a store, six parameters each; promote two trials of the newer one."""
    shutil.copytree(trained.adapters.sweep_dir, folder)
    records = [
        with_test_rows(record, folder) if record.number in RIGHT else record
        for record in trained.store.records.values()
    ]
    records += [trial(number, (0.5 + number / 100,), TrialState.PRUNED) for number in range(4, 9)]
    records = [replace(record, params={**record.params, **FIXED}) for record in records]
    space: dict[str, Any] = {"space": {name: {} for name in records[0].params}}
    older, newer = (
        replace(sweep(generation=number, status=SweepStatus.FINISHED), fingerprint=space) for number in (1, 2)
    )
    old = StoredSweep(older, *(trial(number, (0.95,), TrialState.COMPLETE) for number in range(2)))
    Synchroniser(old.ledger, old.id, description(), location).run()
    new, adapters = StoredSweep(newer, *records), replace(trained.adapters, sweep_dir=folder)
    Synchroniser(new.ledger, new.id, description(), location, adapters).run()
    candidates = Candidates(new.record, tuple(new.records.values()), adapters, location)
    request = PromotionRequest(name="films", metric=ACCURACY)
    promote(new.record, candidates.choose(0), location, replace(request, forced="the first one"))
    promote(new.record, candidates.choose(2), location, request)


@pytest.fixture
def start_page(trained: TrainedSweep, local_store: Location, tmp_path: Path) -> Iterator[tuple[Page, list[str]]]:
    """Yield the start page of MLflow over promoted sweeps, and the errors of the pages."""
    fill(trained, local_store, tmp_path / "sweep")
    errors: list[str] = []
    with (
        serve(local_store, port=0, log=tmp_path / "server.log") as address,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"]) as browser,
    ):
        page = browser.new_page(viewport={"width": WIDTH, "height": 900})
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        yield page, errors


def test_winner_is_found_from_the_start_page(
    start_page: tuple[Page, list[str]], local_store: Location, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    page, errors = start_page
    expect.set_options(timeout=WAIT_MS)
    began = time.monotonic()

    def seen(text: str | re.Pattern[str]) -> None:
        expect(page.get_by_text(text, exact=True).first).to_be_visible()

    page.get_by_role("link", name="films").first.click()
    read_table(page)
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
    expect(page).to_have_url(re.compile("/models/films/versions/2"))
    for text in ("@ champion", "Scores", "Gates", "0.8789 to 0.9556", "none: it chose the trial"):
        seen(text)
    expect(page.get_by_text(TECHNICAL)).to_have_count(0)
    page.screenshot(path=tmp_path / "version.png")
    # The registered model.
    page.get_by_role("link", name="Registered Models").click()
    expect(page).to_have_url(re.compile("#/models$"))
    page.locator("a[href='#/models/films']").click()  # no window with news covers it
    for text in ("Champion: version 2", "Version 1", "previous"):
        expect(page.get_by_text(text).first).to_be_visible()
    seen(re.compile(r"^Its score: test/accuracy 0\.9250 \(95 % interval 0\.8789 to 0\.9556\)\.$"))
    expect(page.get_by_text(TECHNICAL)).to_have_count(0)
    page.screenshot(path=tmp_path / "model.png")
    # The experiment's list of models names the registered versions.
    page.goto(re.sub("#.*", "#/experiments/1/models", page.url))
    expect(page.get_by_role("gridcell").get_by_role("link", name="films")).to_have_count(2)
    request.node.user_properties.append(("walk", f"{time.monotonic() - began:.0f} s in MLflow's pages"))
    show_newest(page, local_store)
    assert errors == []


def read_table(page: Page) -> None:
    """Read the table of the newer sweep: the best trial first, their states in sight; sort it by a click."""
    names = page.get_by_role("link", name=TRIAL)
    pruned = [f"trial-{number:03d} (pruned)" for number in (8, 7, 6, 5, 4)]
    expect(names).to_have_text(["trial-002", "trial-001 (pruned)", "trial-000", *pruned, "trial-003"])
    states = page.locator(".ag-cell[col-id='tags.`state`']")
    expect(states).to_have_text(["complete", "pruned", "complete", *["pruned"] * 5, "fail"])
    table = page.locator(".ag-body-viewport").bounding_box()
    assert table is not None
    for state in states.all():
        box = state.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= min(WIDTH, table["x"] + table["width"])
    for text in ("best_val_accuracy", "test/accuracy", "learning_rate", "rank", "0.9", "0.0003"):
        expect(page.get_by_text(text, exact=True).first).to_be_visible()
    first = page.locator(".ag-row[row-index='0']").first  # sorted rows keep their places in the document
    page.get_by_role("columnheader", name="learning_rate").first.click()
    expect(first).to_contain_text("trial-008 (pruned)")
    page.get_by_role("columnheader", name="best_val_accuracy").first.click()
    expect(first).to_contain_text("trial-002")


def show_newest(page: Page, location: Location) -> None:
    """Check that the start page shows a sweep that has run since, unless the person has a filter of their own."""
    start, names = re.sub("#.*", "", page.url), page.get_by_role("link", name=TRIAL)
    for generation, own, shown in ((3, None, 1), (4, "tags.`state` = 'pruned'", 6), (5, None, 6)):
        newest = StoredSweep(
            sweep(generation=generation, status=SweepStatus.FINISHED), trial(0, (0.6,), TrialState.COMPLETE)
        )
        Synchroniser(newest.ledger, newest.id, description(), location).run()
        page.goto(start)
        page.get_by_role("link", name="films").first.click()
        if own is not None:
            expect(names).to_have_count(1)
            page.get_by_role("combobox").first.fill(own)
            page.get_by_role("combobox").first.press("Enter")
        expect(names).to_have_count(shown)
