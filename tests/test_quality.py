"""The quality of rows and kept adapters, from a sweep to its folder, report and exported adapter."""

import json
import threading
from pathlib import Path

import pytest

from orchestrator.evaluation.calibration import kept_calibration
from orchestrator.evaluation.measurement_file import kept_measurement, kept_validation
from orchestrator.evaluation.rows.suspected_labels import FILE as SUSPECTED_LABELS
from orchestrator.ledger.home import sweep_dir
from orchestrator.ledger.ledger import Ledger
from orchestrator.objective.splits.near_copies import FILE as NEAR_COPIES
from orchestrator.preparation.prepared import prepare
from orchestrator.preparation.request import request_of
from orchestrator.report.html import render_page
from orchestrator.report.stored_summary import stored_summary
from orchestrator.report.summary import as_json
from orchestrator.report.text import summary_text
from orchestrator.stores import read_spec
from orchestrator.sweep import SweepOptions, run_sweep
from orchestrator.tracking.location import connect
from tests.fakes.tiny_sweep import tiny_sweep
from tests.report.test_views import shown

pytestmark = pytest.mark.usefixtures("own_stores")

LONG = "the acting and the music of this film are so good that everyone who sees it wants to see it again, number"


def with_channels(file: Path) -> None:
    """Add a column to the rows, and several near-duplicates of a long text."""
    head, *rows = (file.parent / "rows.csv").read_text().splitlines()
    rows += [f'"{LONG} {row}",{("negative", "positive")[row % 2]}' for row in range(40)]
    named = [f"{row},{('mail', 'chat')[at % 2]}" for at, row in enumerate(rows)]
    (file.parent / "rows.csv").write_text("\n".join([f"{head},Channel", *named]) + "\n")


@pytest.mark.parametrize("engine", ["packed", "solo"])
def test_sweep_measures_its_rows(engine: str, tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path)
    with_channels(file)
    overrides = ["data.columns={channel: Channel}", f"resources.engine={engine}", "resources.parallel_trials=1"]
    spec = read_spec(file, overrides)
    said: list[str] = []
    result = run_sweep(spec, SweepOptions(inline=True), (), threading.Event(), said.append)
    folder, metric = sweep_dir(result.sweep), spec.metric
    assert (folder / NEAR_COPIES).is_file()
    stored = {file.path for file in connect(result.location).list_artifacts(str(result.sweep.run_id))}
    assert {NEAR_COPIES, SUSPECTED_LABELS} < stored
    warning = next(line for line in said if line.startswith("warning: rows with a near-duplicate"))
    assert warning.removeprefix("warning: ") in result.sweep.facts.data_summary.warnings

    (kept,) = [record for record in result.records if "test/ece_15_l1" in record.final]
    test, validation = kept_measurement(folder, kept, metric), kept_validation(folder, kept, metric)
    calibration = kept_calibration(folder, kept, metric)
    assert test is not None
    assert validation is not None
    assert calibration is not None
    assert (len(test.rows.logits), len(validation.rows.logits)) == (32, 32)
    assert kept.final["test/ece_15_l1"] == calibration.before.error.value

    summary = stored_summary(Ledger.open(), result.sweep)
    assert not summary.notes
    document = as_json(summary)["quality"]
    json.dumps(document)
    columns = {each["column"] for each in document["slices"][str(kept.number)]}
    assert columns == {"length", "label", "channel"}
    worst = document["worst_slice"][str(kept.number)]
    assert worst["small"] is True
    assert document["calibration"][str(kept.number)]["temperature"]["value"] == calibration.temperature.value
    assert set(document["suspected_labels"]) == {"validation", "test"}
    text = " ".join(shown(summary_text(summary), 400).split())
    page = render_page(summary, {})
    for name in ("worst slice", "calibration"):
        line = dict(summary.quality_lines)[name]
        assert f"{name} {line}" in text
        assert f"{name.capitalize()}: " in page

    prepared = prepare(request_of(spec), Ledger.open()).placed(result.sweep)
    assert prepared.adapters.card(result.sweep, kept).temperature == calibration.temperature.value
    without = prepare(request_of(read_spec(file, overrides[1:])), None)
    assert without.fingerprint["rows"] == prepared.fingerprint["rows"]  # slices do not change the sweep's rows
