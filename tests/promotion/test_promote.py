"""Promotion of a trial to a registered version, and rollback."""

import dataclasses
import shutil
from functools import partial
from pathlib import Path

import pytest

from orchestrator.core.errors import TrackingError, UserError
from orchestrator.core.sweeps.facts import SweepFacts
from orchestrator.core.sweeps.gates import Gates
from orchestrator.core.trials.manifest import seal
from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.promotion.candidates import Candidate, Candidates
from orchestrator.promotion.gates.judge import ROWS_TAG, PromotionRequest, admit
from orchestrator.promotion.promote import Promotion, promote, rollback
from orchestrator.tracking.location import connect
from orchestrator.tracking.registered.lineage import GATES_TAG, gate_lines
from orchestrator.tracking.registered.registry import ModelReference, Registry
from orchestrator.tracking.runs.provenance import user
from tests.promotion.conftest import Tracked
from tests.tracking.records import ACCURACY, trial


def promoted(tracked: Tracked, candidate: Candidate, **changes: object) -> Promotion:
    request = dataclasses.replace(PromotionRequest(name="films", metric=ACCURACY), **changes)  # type: ignore[arg-type]
    return promote(tracked.trained.store.record, candidate, tracked.location, request)


def test_the_best_kept_trial_becomes_the_champion(tracked: Tracked) -> None:
    done = promoted(tracked, tracked.candidates().choose())
    assert done.card.trial == 2
    assert done.previous is None
    assert not any(result.passed is False for result in done.gates)
    champion = Registry(tracked.location).get(ModelReference.parse("films"))
    assert champion == done.version
    assert champion.aliases == ("champion",)
    assert champion.version == 1
    assert champion.tags["trial"] == "2"
    assert champion.tags["best_val_accuracy"] == "0.9"
    assert not any(key.startswith("gate/") for key in champion.tags)
    assert champion.description.startswith("Trial 2 of films#1: sentiment on ")
    assert "| best_val_accuracy | &emsp;0.9000 |" in champion.description
    assert "| baseline | &emsp;passed | &emsp;val/accuracy 0.9000, baseline 0.6000" in champion.description
    assert champion.run_id == tracked.trained.store.records[2].run_id


def test_promoting_again_makes_no_second_version(tracked: Tracked) -> None:
    candidate = tracked.candidates().choose()
    assert promoted(tracked, candidate).version.version == promoted(tracked, candidate).version.version
    assert len(Registry(tracked.location).versions("films")) == 1


def test_rollback_moves_the_alias_back(tracked: Tracked) -> None:
    first = promoted(tracked, tracked.candidates().choose(0), forced="the first one")
    second = promoted(tracked, tracked.candidates().choose(2))
    assert second.previous is not None
    assert second.previous.version == first.version.version
    left, now = rollback("films", "champion", tracked.location)
    assert (left.version, now.version) == (2, 1)
    assert Registry(tracked.location).get(ModelReference.parse("films@champion")).tags["trial"] == "0"
    client = connect(tracked.location)
    page = client.get_registered_model("films").description
    assert "**Champion: version 1**, trial 0 of films#1 over " in page
    assert "Its score: best_val_accuracy 0.8000 (no interval: it chose the trial, so it is optimistic)." in page
    left, now = rollback("films", "champion", tracked.location)
    assert (left.version, now.version) == (1, 2)
    assert "**Champion: version 2**" in client.get_registered_model("films").description
    client.update_registered_model("films", "Our films.")
    rollback("films", "champion", tracked.location)
    assert client.get_registered_model("films").description == "Our films."


def test_challenger_alone_has_a_description(tracked: Tracked) -> None:
    done = promoted(tracked, tracked.candidates().choose(2), alias="challenger")
    page = connect(tracked.location).get_registered_model("films").description
    assert "No version is the champion." in page
    assert gate_lines(done.version)
    early = {"loratory.gates": done.version.tags[GATES_TAG]}
    assert gate_lines(dataclasses.replace(done.version, tags=early)) == gate_lines(done.version)


def test_rollback_of_first_version_is_refused(tracked: Tracked) -> None:
    promoted(tracked, tracked.candidates().choose(2))
    with pytest.raises(UserError, match="films/1 is the first version with the alias champion; there is no earlier"):
        rollback("films", "champion", tracked.location)


def test_dropped_adapter_is_refused_or_retrained(tracked: Tracked, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"the adapter of trial 1 of films#1 was not kept: .* Add --retrain to train it again"
    ):
        tracked.candidates().choose(1)
    asked = []

    def retrain(trial: TrialRecord) -> Path:
        asked.append(trial.number)
        best = tracked.trained.adapters.folder(tracked.trained.store.records[0])
        assert best is not None
        return Path(shutil.copytree(best, tmp_path / "again"))

    done = promoted(tracked, tracked.candidates().choose(1, retrain), forced="its adapter is wanted")
    assert asked == [1]
    assert done.card.trial == 1
    assert done.version.tags["best_val_accuracy"] == "0.85"


def test_adapter_is_found_in_mlflow(tracked: Tracked, tmp_path: Path) -> None:
    elsewhere = dataclasses.replace(tracked.trained.adapters, sweep_dir=tmp_path / "cleaned")
    store = tracked.trained.store
    candidate = Candidates(store.record, tuple(store.records.values()), elsewhere, tracked.location).choose()
    assert candidate.trial.number == 2
    assert candidate.model_id is not None
    assert promoted(tracked, candidate).version.model_id == candidate.model_id


def test_damaged_adapter_is_replaced_or_refused(tracked: Tracked, tmp_path: Path) -> None:
    trained, store = tracked.trained, tracked.trained.store
    adapters = dataclasses.replace(trained.adapters, sweep_dir=tmp_path / "sweep")
    shutil.copytree(trained.adapters.sweep_dir, adapters.sweep_dir)
    best = store.records[2].best(ACCURACY)
    assert best is not None
    assert best.checkpoint is not None
    checkpoint = adapters.sweep_dir / best.checkpoint
    seal(checkpoint, best, None)
    weights = checkpoint / "adapter" / "adapter_model.safetensors"
    trials = tuple(store.records.values())
    assert Candidates(store.record, trials, adapters, tracked.location).choose().adapter == weights.parent
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    assert Candidates(store.record, trials, adapters, tracked.location).choose().model_id is not None
    unlogged = dataclasses.replace(store.record, experiment_id=None)
    with pytest.raises(UserError, match="the adapter of trial 2 of films#1 is damaged: the contents of adapter"):
        Candidates(unlogged, tuple(store.records.values()), adapters, tracked.location).choose()


@pytest.mark.parametrize(
    ("number", "message"),
    [(9, r"films#1 has no trial 9; it has 4, from 0"), (3, r"trial 3 of films#1 has no score")],
)
def test_unpromotable_trials_are_named(tracked: Tracked, number: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        tracked.candidates().choose(number)


def test_strict_gates_refuse_and_others_warn(tracked: Tracked) -> None:
    candidate = tracked.candidates().choose()
    with pytest.raises(
        UserError, match=r"trial 2 of films#1 does not pass the gates: overfitting: overfit gap 0.1000, at most 0.05"
    ):
        promoted(tracked, candidate, gates=Gates(gap=0.05, strict=True))
    done = promoted(tracked, candidate, gates=Gates(gap=0.05))
    failed = [(result.gate, result.detail) for result in done.gates if result.passed is False]
    assert failed == [("overfitting", "overfit gap 0.1000, at most 0.05 (no interval: its rows are not stored)")]


def registered(tracked: Tracked) -> list[str]:
    client = connect(tracked.location)
    return sorted(version.name for version in client.search_model_versions(""))


def test_trial_worse_than_the_best_is_refused(tracked: Tracked) -> None:
    expected = (
        r"trial 0 of films#1 does not pass the gates: best trial: val/accuracy 0.8000, trial 2 of films#1 has 0.9000; "
        r'add --force --reason "WHY" to promote it anyway'
    )
    with pytest.raises(UserError, match=expected):
        promoted(tracked, tracked.candidates().choose(0))
    assert registered(tracked) == []


def test_best_kept_trial_is_not_refused_for_others(tracked: Tracked) -> None:
    store = tracked.trained.store
    better = dataclasses.replace(store.records[1], final={"val/accuracy": 0.95})  # its adapter was not kept
    records = (store.records[0], better, store.records[2], store.records[3])
    candidates = Candidates(store.record, records, tracked.trained.adapters, tracked.location)
    assert promoted(tracked, candidates.choose()).card.trial == 2
    assert promoted(tracked, candidates.choose(2)).card.trial == 2


def test_fresh_trainings_decide_best_trial(tracked: Tracked) -> None:
    store = tracked.trained.store
    fresh = [
        dataclasses.replace(trial(number, (value,), TrialState.COMPLETE), confirms=confirms)
        for number, value, confirms in ((4, 0.78, 0), (5, 0.77, 2))
    ]
    trials = (store.records[0], store.records[2], *fresh)
    candidates = Candidates(store.record, trials, tracked.trained.adapters, tracked.location)
    assert candidates.choose().trial.number == 0
    with pytest.raises(
        UserError, match=r"best trial: val/accuracy 0.7700, trial 0 of films#1 has 0.7800 \(means of fr"
    ):
        promoted(tracked, candidates.choose(2))  # the search's value was higher by chance
    assert promoted(tracked, candidates.choose()).card.trial == 0


def test_trial_below_the_baseline_is_refused(tracked: Tracked) -> None:
    sweep = dataclasses.replace(tracked.trained.store.record, facts=SweepFacts(baseline={"val/accuracy": 0.95}))
    request = PromotionRequest(name="films", metric=ACCURACY)
    with pytest.raises(UserError, match=r"baseline: val/accuracy 0.9000, baseline 0.9500, a gain > 0 is needed"):
        promote(sweep, tracked.candidates().choose(), tracked.location, request)
    assert registered(tracked) == []


def test_trial_equal_to_baseline_fails_gate(tracked: Tracked) -> None:
    sweep = dataclasses.replace(tracked.trained.store.record, facts=SweepFacts(baseline={"val/accuracy": 0.9}))
    request = PromotionRequest(name="films", metric=ACCURACY)
    done = promote(sweep, tracked.candidates().choose(), tracked.location, request)
    assert {result.gate: result.passed for result in done.gates}["baseline"] is False


def test_forced_version_records_person_and_reason(tracked: Tracked) -> None:
    done = promoted(tracked, tracked.candidates().choose(0), forced=" shorter answers ")
    tags = Registry(tracked.location).get(ModelReference.parse("films")).tags
    assert tags["loratory.forced_reason"] == "shorter answers"
    assert tags["loratory.forced_by"] == user()
    assert done.version.aliases == ("champion",)


def test_trial_worse_than_version_in_use_is_refused(tracked: Tracked) -> None:
    store = tracked.trained.store
    rows = {"rows": {"validation": "0123"}}
    promote(
        dataclasses.replace(store.record, name="earlier", fingerprint=rows),
        tracked.candidates().choose(),
        tracked.location,
        PromotionRequest(name="films", metric=ACCURACY),
    )
    later = dataclasses.replace(store.record, name="later", fingerprint=rows)
    alone = (store.records[0],)
    request = PromotionRequest(name="films", metric=ACCURACY)
    candidate = Candidates(store.record, alone, tracked.trained.adapters, tracked.location).choose()
    client = connect(tracked.location)
    worse = r"in use: val/accuracy 0.8000, films/1 \(champion\) has 0.9000"
    with pytest.raises(UserError, match=worse):
        promote(later, candidate, tracked.location, request)
    client.delete_model_version_tag("films", "1", "best_val_accuracy")  # of another metric: its value is in the card
    client.delete_registered_model_tag("films", f"{ROWS_TAG}.1")
    client.set_model_version_tag("films", "1", "loratory.validation_rows", "0123")  # of an early version
    with pytest.raises(UserError, match=worse):
        promote(later, candidate, tracked.location, request)
    other = dataclasses.replace(later, fingerprint={"rows": {"validation": "4567"}})
    assert promote(other, candidate, tracked.location, request).version.version == 2  # other rows: not comparable


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alias": "latest"}, "--alias: MLflow keeps 'latest'"),
        ({"alias": "v1"}, "--alias: MLflow keeps 'latest' and 'v' with a number"),
        ({"alias": "my alias"}, "--alias: letters, digits"),
        ({"alias": "previous"}, "--alias: 'previous' is the alias of the champion before"),
        ({"name": "team/films"}, "a registered model cannot be called 'team/films'"),
        ({"forced": "  "}, "--reason: say why"),
    ],
)
def test_requests_with_unusable_names_are_refused(changes: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PromotionRequest(**{"name": "films", "metric": ACCURACY, **changes})  # type: ignore[arg-type]


def test_refused_alias_leaves_nothing_registered(tracked: Tracked) -> None:
    with pytest.raises(UserError, match="--alias: "):
        promoted(tracked, tracked.candidates().choose(), alias="latest")
    assert registered(tracked) == []


def test_refused_trial_is_not_trained_again(tracked: Tracked) -> None:
    def retrain(trial: TrialRecord) -> Path:
        raise AssertionError(f"trial {trial.number} is trained")

    request = PromotionRequest(name="films", metric=ACCURACY)
    gates = partial(admit, tracked.trained.store.record, tracked.location, request)
    with pytest.raises(UserError, match="trial 1 of films#1 does not pass the gates"):
        tracked.candidates().choose(1, retrain, gates)


def test_untracked_sweep_is_refused(tracked: Tracked) -> None:
    candidate = tracked.candidates().choose()
    unsynced = dataclasses.replace(tracked.trained.store.record, experiment_id=None)
    request = PromotionRequest(name="films", metric=ACCURACY)
    with pytest.raises(TrackingError, match="trial 2 of films#1 is not in MLflow yet"):
        promote(unsynced, candidate, tracked.location, request)
