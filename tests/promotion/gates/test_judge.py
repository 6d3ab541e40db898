"""The gates against the version in use, with test rows stored beside it or in the folder of its sweep."""

import pickle
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from orchestrator.core.sweeps.facts import SweepFacts
from orchestrator.core.sweeps.gates import Gates
from orchestrator.core.sweeps.goal import Constraint, goal
from orchestrator.core.sweeps.sweep import SweepRecord
from orchestrator.core.trials.row_measures import Measurement, RowMeasures
from orchestrator.evaluation.measurement_file import kept_test_file, write_measurement
from orchestrator.evaluation.metrics import classification_metrics
from orchestrator.evaluation.rows.slices import write_slice_columns
from orchestrator.ledger.home import folder_of
from orchestrator.promotion.candidates import Candidate, Candidates
from orchestrator.promotion.gates.judge import GateRefusalError, PromotionRequest, judge
from orchestrator.promotion.gates.rules import GateResult, Verdict, overall
from orchestrator.promotion.gates.stored_rows import StoredRows, rows_of_version
from orchestrator.promotion.promote import Promotion, promote
from orchestrator.tracking.location import connect
from orchestrator.tracking.logged_models.test_rows import read_test_rows
from orchestrator.tracking.registered.registry import ModelReference, Registry
from tests.promotion.conftest import Tracked
from tests.tracking.records import ACCURACY, StoredSweep

ROWS = 300
REFERENCES = [row % 3 for row in range(ROWS)]


def measured(wrong: Sequence[int]) -> Measurement:
    """Return the measurement of an adapter that errs on these rows."""
    predictions = [(label + (row in wrong)) % 3 for row, label in enumerate(REFERENCES)]
    losses = tuple(2.0 if row in wrong else 0.1 for row in range(ROWS))
    rows = RowMeasures(losses=losses, units=(1.0,) * ROWS, predictions=tuple(predictions), references=tuple(REFERENCES))
    metrics = classification_metrics([*zip(predictions, REFERENCES, strict=True)], 3)
    return Measurement(metrics={"loss": sum(losses) / ROWS, **metrics}, rows=rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """The tracked sweep with test rows of trials 0 and 2; trial 2 is the best on validation."""

    tracked: Tracked
    folder: Path

    def candidate(self, number: int, wrong: Sequence[int], digest: str = "test-rows") -> tuple[SweepRecord, Candidate]:
        """Return the sweep and the candidate of one trial alone."""
        trained = self.tracked.trained
        record, measurement = trained.store.records[number], measured(wrong)
        final = {**record.final, **{f"test/{name}": value for name, value in measurement.metrics.items()}}
        record = replace(record, final=final)
        best = record.best(ACCURACY)
        assert best is not None
        write_measurement(kept_test_file(self.folder, number), best.nominal_samples, None, measurement)
        sweep = replace(
            trained.store.record,
            fingerprint={"rows": {"validation": "0123", "test": digest}},
            facts=SweepFacts(baseline={"val/accuracy": 0.5}),
        )
        adapters = replace(trained.adapters, sweep_dir=self.folder)
        return sweep, Candidates(sweep, (record,), adapters, self.tracked.location).choose(number)

    def promote(self, number: int, wrong: Sequence[int], **gates: float | None) -> Promotion:
        sweep, candidate = self.candidate(number, wrong)
        return promote(sweep, candidate, self.tracked.location, request(**gates))

    def judge(self, number: int, wrong: Sequence[int], digest: str = "test-rows") -> Mapping[str, GateResult]:
        sweep, candidate = self.candidate(number, wrong, digest)
        return {item.gate: item for item in judge(sweep, self.tracked.location, request(), candidate)}


def request(**gates: float | None) -> PromotionRequest:
    return PromotionRequest(name="films", metric=ACCURACY, gates=Gates(**gates))  # type: ignore[arg-type]


@pytest.fixture
def sweep(tracked: Tracked, tmp_path: Path) -> Measured:
    folder = tmp_path / "sweep"
    shutil.copytree(tracked.trained.adapters.sweep_dir, folder)
    return Measured(tracked=tracked, folder=folder)


def test_rows_are_stored_with_version(sweep: Measured) -> None:
    version = sweep.promote(2, range(60)).version
    client = connect(sweep.tracked.location)
    text = read_test_rows(client, version.model_id, sweep.tracked.location.tracking_uri)
    assert text is not None
    assert StoredRows.from_text(text) == StoredRows(digest="test-rows", measurement=measured(range(60)))


def test_paired_test_decides_on_stored_rows(sweep: Measured) -> None:
    sweep.promote(0, range(60))
    shutil.rmtree(sweep.folder / "trials" / "0000")  # the rows beside the version remain
    better = sweep.judge(2, range(20))
    assert better["champion"].verdict is Verdict.PROMOTE
    assert better["champion"].value == pytest.approx(40 / 300)
    assert "in use" not in better
    worse = sweep.judge(2, range(110))  # although its validation value is higher
    assert worse["champion"].verdict is Verdict.REFUSE
    undecided = sweep.judge(2, range(5, 60))
    assert (undecided["champion"].verdict, undecided["champion"].refuses) == (Verdict.ABSTAIN, True)


def test_undecided_candidate_is_not_promoted(sweep: Measured) -> None:
    sweep.promote(0, range(60))
    with pytest.raises(GateRefusalError, match="champion: test accuracy, gain over films/1") as caught:
        sweep.promote(2, range(5, 60))
    assert overall(caught.value.results) is Verdict.ABSTAIN
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  (errors cross process borders)
    assert (str(again), again.results) == (str(caught.value), caught.value.results)
    assert len(Registry(sweep.tracked.location).versions("films")) == 1
    assert sweep.promote(2, range(5, 60), champion_gain=None).version.version == 2


def test_slices_of_labels_are_compared(sweep: Measured) -> None:
    sweep.promote(0, range(60))
    result = sweep.judge(2, [*range(0, 90, 3)])["slices"]  # errs on the first label alone
    assert (result.verdict, result.rows_needed) == (Verdict.ABSTAIN, 600)
    assert "warning, small slices: label bad (100 rows, -0.1000)" in result.detail
    assert result.detail.endswith("undecided: about 600 test rows would give a slice of 200 rows")


def test_constraints_of_the_search_are_gates(sweep: Measured) -> None:
    """Other gates let the candidate pass; it is the best of its sweep, although it is outside a constraint."""
    record, candidate = sweep.candidate(2, range(60))
    limits = [
        Constraint(name="val/accuracy", min=0.1),
        Constraint(name="test/accuracy", min=0.9),  # 0.8 was measured
        Constraint(name="shift/none/accuracy", min=0.1),
    ]
    metric = goal(ACCURACY, constraints=limits)
    asked = replace(request(), metric=metric)
    results = {item.gate: item for item in judge(record, sweep.tracked.location, asked, candidate)}
    found = {name: results[f"constraint {name}"] for name in ("val/accuracy", "test/accuracy", "shift/none/accuracy")}
    assert [each.verdict for each in found.values()] == [Verdict.PROMOTE, Verdict.REFUSE, Verdict.ABSTAIN]
    assert [each.refuses for each in found.values()] == [False, True, True]
    with pytest.raises(GateRefusalError, match=r"constraint test/accuracy: test/accuracy 0\.8000, at least 0\.9"):
        promote(record, candidate, sweep.tracked.location, asked)
    forced = promote(record, candidate, sweep.tracked.location, replace(asked, forced="a test"))
    assert forced.version.version == 1


@pytest.mark.parametrize("champion_measured", [True, False])
def test_incomparable_rows_fall_back_to_validation(sweep: Measured, *, champion_measured: bool) -> None:
    if champion_measured:
        sweep.promote(2, range(60))
        results = sweep.judge(0, range(20), "other-rows")
        assert results["champion"].detail == "films/1 (champion) was measured on other test rows"
    else:
        trained = sweep.tracked.trained
        record, candidate = trained.store.record, sweep.tracked.candidates().choose()
        record = replace(record, fingerprint={"rows": {"validation": "0123"}})
        promote(record, candidate, sweep.tracked.location, request())
        results = sweep.judge(0, range(20))
        assert "are not stored" in results["champion"].detail
    assert (results["champion"].verdict, results["champion"].refuses) == (Verdict.ABSTAIN, False)
    assert results["in use"].verdict is Verdict.REFUSE


def test_slices_of_length_and_columns_are_compared(sweep: Measured) -> None:
    write_slice_columns(sweep.folder, {"source": ["forum" if row < 210 else None for row in range(ROWS)]})
    sweep.promote(0, range(60))
    result = sweep.judge(2, range(75))["slices"]
    assert (result.verdict, result.refuses) == (Verdict.REFUSE, True)
    assert "4 slices, 1 of at least 200 rows; worst: source forum (210 rows)" in result.detail


def test_rows_are_found_in_sweep_folder(sweep: Measured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    record, candidate = sweep.candidate(2, range(60))
    unstored = replace(candidate, test_rows=None)
    version = promote(record, unstored, sweep.tracked.location, request()).version
    assert rows_of_version(version, sweep.tracked.location, None) is None
    metric = {"name": ACCURACY.name, "direction": ACCURACY.direction.value}
    ledger = StoredSweep(replace(record, fingerprint={**record.fingerprint, "metric": metric}), candidate.trial).ledger
    assert rows_of_version(version, sweep.tracked.location, ledger) is None  # the folder is gone
    monkeypatch.setenv("LORATORY_HOME", str(tmp_path))
    shutil.copytree(sweep.folder, folder_of("films", 1))
    found = rows_of_version(version, sweep.tracked.location, ledger)
    assert found == StoredRows(digest="test-rows", measurement=measured(range(60)))


def test_unmeasured_candidate_abstains(sweep: Measured) -> None:
    sweep.promote(0, range(60))
    candidate = sweep.tracked.candidates().choose()
    record = replace(sweep.tracked.trained.store.record, fingerprint={"rows": {"validation": "0123"}})
    results = {item.gate: item for item in judge(record, sweep.tracked.location, request(), candidate)}
    assert results["champion"].detail.startswith("the candidate's test rows are not stored")
    assert results["in use"].passed


def test_same_adapter_is_not_tested_against_itself(sweep: Measured) -> None:
    first = sweep.promote(2, range(60))
    again = sweep.promote(2, range(60))
    assert again.version.version == first.version.version
    assert {item.gate for item in again.gates} & {"champion", "in use"} == {"in use"}


def test_size_is_counted_on_disk(sweep: Measured) -> None:
    _, candidate = sweep.candidate(2, range(60))
    assert candidate.size_bytes == (candidate.adapter / "adapter_model.safetensors").stat().st_size
    with pytest.raises(GateRefusalError, match="size: "):
        sweep.promote(2, range(60), size_bytes=1_000)


def test_latency_is_measured_on_this_machine(sweep: Measured) -> None:
    with pytest.raises(GateRefusalError, match=r"latency: .* ms for one row of \d+ tokens, at most 1e-05; .* cores"):
        sweep.promote(2, range(60), latency_ms=1e-5)
    gates = sweep.promote(2, range(60), latency_ms=1e6, latency_ratio=1e3).gates
    found = {item.gate: item for item in gates if item.gate.startswith("latency")}
    assert [*found] == ["latency", "latency ratio"]
    for item in found.values():
        assert item.passed
        assert item.interval is not None
        assert 0 < item.interval.low <= item.interval.value <= item.interval.high
    assert found["latency"].detail.endswith(" times the base model's time")


def test_latency_of_a_function_is_not_measured(sweep: Measured) -> None:
    record, candidate = sweep.candidate(2, range(60))
    candidate = replace(candidate, card=replace(candidate.card, head="function"))
    results = judge(record, sweep.tracked.location, request(latency_ms=5), candidate)
    (found,) = [item for item in results if item.gate == "latency"]
    assert (found.passed, found.detail) == (None, "only the function's own code can answer a row")


def test_judging_writes_nothing(sweep: Measured) -> None:
    location = sweep.tracked.location
    sweep.promote(0, range(60))
    before = Registry(location).get(ModelReference.parse("films"))
    models = {model.model_id for model in connect(location).search_logged_models(["1"])}
    sweep.judge(2, range(20))
    assert Registry(location).get(ModelReference.parse("films")) == before
    assert {model.model_id for model in connect(location).search_logged_models(["1"])} == models
