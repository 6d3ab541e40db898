"""Measure the kept adapters after the search: once on the test split, and on general text."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

from orchestrator.core.metric import Metric
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.confirmed import confirmed
from orchestrator.core.trials.manifest import Owner
from orchestrator.core.trials.ranking import ranked_by_score
from orchestrator.core.trials.row_measures import Measurement
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.evaluation.calibration import calibrate, write_calibration
from orchestrator.evaluation.extractive_qa.row_scores import MARGIN, tuned_metrics, tuned_threshold
from orchestrator.evaluation.forgetting import GENERAL, PREFIX
from orchestrator.evaluation.gap import gaps
from orchestrator.evaluation.measurement_file import (
    KEPT,
    KEPT_GENERAL,
    KEPT_TRAIN,
    KEPT_VALIDATION,
    kept_test_file,
    write_measurement,
)
from orchestrator.evaluation.scores.winner_score import follows
from orchestrator.objective.protocol import ComparesWithBase, Objective, Splits, objective_of
from orchestrator.training.build import build_engine
from orchestrator.training.checkpoints.trial_folder import ADAPTER, TrialFolder
from orchestrator.training.context import EngineContext
from orchestrator.training.engine import Measure
from orchestrator.training.reference import base_pairs


def without_test_metrics(
    sweep_dir: Path, records: Iterable[TrialRecord], metric: Metric, k: int
) -> tuple[TrialRecord, ...]:
    """Return the leaders and the trainings after the search with an adapter on disk and without test metrics.

    At most ``k`` leaders are returned.

    A leader's adapter is missing if the sweep kept fewer adapters when the trial ended, or if a user removed it. A
    damaged adapter counts as missing.
    """
    records = tuple(records)
    fresh = [training for each in confirmed(records).values() for training in each.whole]
    fresh += [each for each in records if each.share is not None and each.ended and each.state is not TrialState.FAIL]
    return tuple(
        trial
        for trial in (*ranked_by_score(records, metric)[:k], *fresh)
        if _has_adapter(sweep_dir, trial, metric) and not any(name.startswith("test/") for name in trial.final)
    )


def without_forgetting(
    sweep_dir: Path, records: Iterable[TrialRecord], metric: Metric, k: int
) -> tuple[TrialRecord, ...]:
    """Return those of the ``k`` leaders with an adapter on disk and without a metric of forgetting."""
    return tuple(
        trial
        for trial in ranked_by_score(records, metric)[:k]
        if _has_adapter(sweep_dir, trial, metric) and not any(name.startswith(PREFIX) for name in trial.final)
    )


def measure_base(plan: EnginePlan, objective: Objective, splits: Splits) -> dict[str, float]:
    """Return the metrics of the base model on validation, test and shift sets: ``val/<metric>`` ...

    Args:
        plan: the sweep's plan; its folder holds the base model's values of the rows after the first trial.
        objective: compares trained models with the base model.
        splits: the rows.

    Raises:
        LoratoryError: the base model cannot be loaded.
    """
    settings = TrialSettings.from_params(plan.largest)
    own = objective_of(objective, settings)
    assert isinstance(own, ComparesWithBase), "the caller has checked it"
    with closing(EngineContext(plan, objective, splits)) as context:  # its rows are those of the trials
        data = context.data
        named: dict[str, float] = {}
        pairs = iter(base_pairs(plan, own, data.tokenizer, data.all_rows(settings.max_length), context.device))
        for name in data.names:
            of_split = [*islice(pairs, len(data.split(name, settings.max_length)))]
            prefix = {"validation": "val"}.get(name, f"shift/{name}" if name in data.shift_sets else name)
            if name != "train" and of_split:
                named |= {f"{prefix}/{metric}": value for metric, value in own.base_metrics(of_split).items()}
    return named


def measure_forgetting(
    plan: EnginePlan, trials: Iterable[TrialRecord], metric: Metric, measure: Measure | None
) -> Iterator[tuple[int, dict[str, float]]]:
    """Measure each trial's best checkpoint on general text in float32; yield its number and ``forgetting/...``.

    The values of each text are written to the trial's folder before the metrics are yielded.

    Args:
        plan: the sweep's plan, with a general text.
        trials: from ``without_forgetting``.
        metric: decides which checkpoint is the best.
        measure: ``measure`` of an engine of that plan; None: an engine is built.
    """
    with _measuring(plan, measure) as measured_by:
        for trial in trials:
            adapter, samples = _best_adapter(plan, trial, metric)
            found = measured_by(adapter, trial.task, GENERAL)
            file = kept_test_file(Path(plan.sweep_dir), trial.number).with_name(KEPT_GENERAL)
            write_measurement(file, samples, Owner(sweep=plan.sweep_key, task=trial.task), found)
            yield trial.number, dict(found.metrics)


@contextmanager
def _measuring(plan: EnginePlan, measure: Measure | None) -> Iterator[Measure]:
    """Yield ``measure``, or that of an engine which is built for the context."""
    if measure is not None:
        yield measure
        return
    with closing(build_engine(plan)) as engine:
        yield engine.measure


def _best_adapter(plan: EnginePlan, trial: TrialRecord, metric: Metric) -> tuple[Path, int]:
    """Return the adapter of the trial's best checkpoint, and its nominal samples."""
    best = trial.best(metric)
    assert best is not None, "the trial was chosen by its adapter"
    assert best.checkpoint is not None, "the trial was chosen by its adapter"
    return Path(plan.sweep_dir) / best.checkpoint / ADAPTER, best.nominal_samples


def _has_adapter(sweep_dir: Path, trial: TrialRecord, metric: Metric) -> bool:
    """Return whether the adapter of the trial's best checkpoint is on disk and whole."""
    best = trial.best(metric)
    return (
        best is not None
        and best.checkpoint is not None
        and TrialFolder(sweep_dir, trial.number).has_adapter(best.nominal_samples)
    )


def measure_test(
    plan: EnginePlan, trials: Iterable[TrialRecord], metric: Metric, measure: Measure | None
) -> Iterator[tuple[int, dict[str, float]]]:
    """Measure each trial's best checkpoint in float32; yield its number and ``test/<metric>``.

    The rows of the test split are written to the trial's folder before the metrics are yielded. So a ledger with the
    metrics implies the file; a trial interrupted between the two is measured again.

    A classifier is also measured on the validation split, and its calibration is written; its error is
    ``test/ece_15_l1``. So are answers to questions without an answer in some rows: ``test/tuned_f1`` uses the threshold
    tuned on the validation rows. So is every trial of the search if its score follows from rows: the correction of the
    winner's score needs them. Such a trial is also measured on the training rows of its reports, for the interval of
    its overfit gap. A function that measures test rows alone has none of these.

    If reports are in the number format of training, as in packs, ``val/<metric>``, ``train/<metric>`` and the gaps are
    measured again in float32.

    Args:
        plan: the sweep's plan.
        trials: from ``without_test_metrics``.
        metric: decides which checkpoint is the best.
        measure: ``measure`` of an engine of that plan; None: an engine is built.
    """
    splits, sweep_dir = {"test": "test"}, Path(plan.sweep_dir)
    if plan.engine.reports_in_training_format:
        splits |= {"val": "validation", "train": "train_eval"}
    with _measuring(plan, measure) as measured_by:
        for trial in trials:
            adapter, samples = _best_adapter(plan, trial, metric)
            measurements = {prefix: measured_by(adapter, trial.task, split) for prefix, split in splits.items()}
            if (validation := measurements.get("val")) is None and _needs_validation(plan, trial, metric, measurements):
                validation = measured_by(adapter, trial.task, "validation")
            train = measurements.get("train")
            searched = trial.confirms is None and trial.share is None
            if train is None and validation is not None and searched and plan.can_measure("train_eval"):
                train = measured_by(adapter, trial.task, "train_eval")
            owner = Owner(sweep=plan.sweep_key, task=trial.task)
            folder = kept_test_file(sweep_dir, trial.number).parent
            if train is not None:
                plain = replace(train, rows=replace(train.rows, logits=(), answers=()))
                write_measurement(folder / KEPT_TRAIN, samples, owner, plain)
            measurements["test"] = _stored(folder, samples, owner, measurements["test"], validation)
            measured = {prefix: measurement.metrics for prefix, measurement in measurements.items()}
            named = {f"{prefix}/{name}": value for prefix, values in measured.items() for name, value in values.items()}
            yield trial.number, named | gaps(measured.get("val", {}), measured.get("train", {}))
            if trial.share is not None:  # the caller has stored the metrics: nothing reads this adapter again
                TrialFolder(sweep_dir, trial.number).prune({})


def _needs_validation(
    plan: EnginePlan, trial: TrialRecord, metric: Metric, measured: Mapping[str, Measurement]
) -> bool:
    """Return whether validation rows decide a temperature or a threshold, or correct the trial's score."""
    if not plan.can_measure("validation"):
        return False
    test = measured["test"]
    tunes = bool(test.rows.logits) or MARGIN in test.rows.scores
    return tunes or (trial.confirms is None and follows(metric.name.partition("/")[2], test))


def _stored(folder: Path, samples: int, owner: Owner, test: Measurement, validation: Measurement | None) -> Measurement:
    """Write the rows and the calibration of a checkpoint to its trial's folder; return ``test`` with its error."""
    if validation is not None:
        write_measurement(folder / KEPT_VALIDATION, samples, owner, validation)
        threshold = tuned_threshold(validation.rows.scores)
        if threshold is not None:
            test = replace(test, metrics={**test.metrics, **tuned_metrics(test.rows.scores, threshold)})
        calibration = calibrate(validation.rows, test.rows)
        if calibration is not None:
            write_calibration(folder, samples, owner, calibration)
            error = calibration.before.error
            test = replace(test, metrics={**test.metrics, error.name: error.value})
    write_measurement(folder / KEPT, samples, owner, test)
    return test
