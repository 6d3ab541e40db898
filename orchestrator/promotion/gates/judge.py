"""Judges a candidate by all gates, without writing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from orchestrator.core.errors import RefusedError, UserError
from orchestrator.core.metric import Metric
from orchestrator.core.names import check_alias, check_model_name, mlflow_key
from orchestrator.core.space import format_value
from orchestrator.core.sweeps.gates import Gates
from orchestrator.core.sweeps.goal import Goal
from orchestrator.core.sweeps.sweep import SweepRecord
from orchestrator.core.tasks.problem import Problem
from orchestrator.core.trials.row_measures import Measurement
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.evaluation.scores.seed_noise import seed_sd
from orchestrator.ledger.ledger import Ledger
from orchestrator.objective.protocol import Splits
from orchestrator.promotion.candidates import Candidate
from orchestrator.promotion.gates.latency import latency_gates
from orchestrator.promotion.gates.leak import leak_gates
from orchestrator.promotion.gates.paired import champion_gate, slice_gate
from orchestrator.promotion.gates.rules import (
    GateResult,
    as_strict,
    check,
    check_constraints,
    check_metrics,
    check_size,
    compare,
    stop_if_unmeasured,
)
from orchestrator.promotion.gates.stored_rows import StoredRows, is_same_adapter, rows_digest, rows_of_version
from orchestrator.tracking.location import Location
from orchestrator.tracking.registered.lineage import card_of
from orchestrator.tracking.registered.registry import CHAMPION, Registry, Version, registry_errors
from orchestrator.tracking.runs.wording import best_name

ROWS_TAG = "mlflow.loratory.validation_rows"
"""Tag of a version: the digest of the validation rows for its ``best_val_...`` metrics."""
EARLY_ROWS_TAG = "loratory.validation_rows"
"""The same tag, written by versions before 0.3."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PromotionRequest:
    """The target of a promotion and its gates.

    Attributes:
        name: the registered model.
        metric: the searched metric.
        alias: the alias of the new version; None: no alias.
        gates: the bounds of the gates.
        forced: the reason for a promotion against the gates; None: the gates apply.
        ledger: the ledger with the sweeps of earlier versions; None: there is none.
        read_splits: reads the rows of the candidate's sweep again; None: they are not available.

    Raises:
        UserError: MLflow refuses the name or alias, the reason is blank, or the gates are both strict and forced.
    """

    name: str
    metric: Metric
    alias: str | None = CHAMPION
    gates: Gates = field(default_factory=Gates)
    forced: str | None = None
    ledger: Ledger | None = None
    read_splits: Callable[[], Splits] | None = None

    def __post_init__(self) -> None:
        check_model_name(self.name)
        if self.alias is not None:
            check_alias(self.alias)
        if self.forced is not None and not self.forced.strip():
            raise UserError("--reason: say why the trial is promoted anyway, got a blank text")
        if self.forced is not None and self.gates.strict:
            raise UserError("--strict and --force exclude each other; use one of them")


class GateRefusalError(RefusedError):
    """Gates stop the promotion of ``candidate``; ``results`` are the results of all gates."""

    def __init__(self, message: str, candidate: Candidate, results: tuple[GateResult, ...]) -> None:
        super().__init__(message, candidate, results)
        self.candidate = candidate
        self.results = results

    def __str__(self) -> str:
        return str(self.args[0])


def judge(
    sweep: SweepRecord, location: Location, request: PromotionRequest, candidate: Candidate
) -> tuple[GateResult, ...]:
    """Return the results of all gates, without writing.

    Raises:
        TrackingError: the registry refuses or does not answer.
    """
    gates, metric, metrics = request.gates, request.metric, candidate.card.metrics
    baseline = sweep.facts.baseline
    counts = candidate.card.label_counts.get("validation", {}).values()
    chance = max(counts) / sum(counts) if sum(counts) else None
    values = baseline if isinstance(baseline, Mapping) else None
    limits = candidate.card.intervals
    results = [*check(metrics, metric, values, gates, chance, Problem(candidate.card.problem), limits)]
    stored = {**candidate.trial.at_best(metric), **metrics}
    results += check_metrics(stored, metric, gates.metrics, limits)
    if isinstance(metric, Goal):
        results += check_constraints(stored, metric, limits)
    if gates.size_bytes is not None:
        results.append(check_size(candidate.size_bytes, gates.size_bytes))
    results += latency_gates(candidate, gates)
    rows = None if candidate.test_rows is None else candidate.test_rows.measurement.rows
    results += leak_gates(sweep, request.read_splits, gates, rows)
    if candidate.leader is not None:
        results.append(_best_trial(candidate, candidate.leader, sweep, metric))
    if request.alias is not None:
        with registry_errors(location):
            holder = Registry(location).holder(request.name, request.alias)
            if holder is not None:
                results += _against(holder, sweep, location, request, candidate)
    results = [*stop_if_unmeasured(results, gates)]
    return as_strict(results) if gates.strict else tuple(results)


def admit(
    sweep: SweepRecord, location: Location, request: PromotionRequest, candidate: Candidate
) -> tuple[GateResult, ...]:
    """Return the results of all gates, without writing.

    Raises:
        GateRefusalError: a gate stops the promotion, and the request does not force it.
        TrackingError: the registry refuses or does not answer.
    """
    results = judge(sweep, location, request, candidate)
    stopping = [item for item in results if item.refuses]
    if stopping and request.forced is None:
        reasons = "; ".join(f"{item.gate}: {item.detail}" for item in stopping)
        raise GateRefusalError(
            f"trial {candidate.trial.number} of {sweep.reference} does not pass the gates: {reasons}; "
            'add --force --reason "WHY" to promote it anyway',
            candidate,
            results,
        )
    return results


def _best_trial(candidate: Candidate, leader: TrialRecord, sweep: SweepRecord, metric: Metric) -> GateResult:
    """Return the result against the best trial, by the means of fresh trainings if both trials have some."""
    rival = f"trial {leader.number} of {sweep.reference}"
    if candidate.fresh_means is None:
        return compare(
            "best trial", metric, candidate.card.metrics.get(best_name(metric)), leader.result(metric), rival
        )
    result = compare("best trial", metric, *candidate.fresh_means, rival)
    return replace(result, detail=f"{result.detail} (means of fresh trainings)")


def _against(
    holder: Version, sweep: SweepRecord, location: Location, request: PromotionRequest, candidate: Candidate
) -> list[GateResult]:
    """Return the results against the version in use: on the same test rows, else by validation values."""
    gates, metric, rival = request.gates, request.metric, f"{holder.reference} ({request.alias})"
    results: list[GateResult] = []
    tested = None
    if not is_same_adapter(holder, sweep, candidate.trial, location):
        champion = rows_of_version(holder, location, request.ledger)
        pair = _same_rows(candidate.test_rows, champion, rival)
        if gates.champion_gain is not None:
            if not isinstance(pair, str):
                own_rows = candidate.trial.training_rows(sweep.facts.rows.get("train"))
                name = metric.name.rpartition("/")[2]
                seeds = seed_sd(name, pair[0].rows, own_rows, candidate.fresh_rows)
                tested = champion_gate(metric, *pair, rival, gates, seeds)
            reason = pair if isinstance(pair, str) else f"the test rows do not give {metric.name}"
            rule = f"better than {rival} on the same test rows"
            results.append(tested or GateResult(gate="champion", passed=None, detail=reason, rule=rule))
        if gates.slice_drop is not None and not isinstance(pair, str) and pair[0].rows.references:
            results.append(slice_gate(pair[0].rows, pair[1].rows, candidate.slices, rival, gates))
    in_use = _in_use(holder, location, metric) if tested is None and _same_validation(holder, sweep) else None
    if in_use is not None:
        value = candidate.card.metrics.get(best_name(metric))
        # It has six digits. Round the value too, so that an adapter is not worse than itself.
        rounded = None if value is None else float(format_value(value))
        results.append(compare("in use", metric, rounded, in_use, rival))
    return results


def _same_rows(
    ours: StoredRows | None, champion: StoredRows | None, rival: str
) -> tuple[Measurement, Measurement] | str:
    """Return the measurements of candidate and champion on the same test rows, or in words why there are none."""
    if ours is None:
        return "the candidate's test rows are not stored: its adapter was not measured after the search"
    if champion is None:
        return f"the test rows of {rival} are not stored, and the folder of its sweep is gone or incomplete"
    if ours.digest != champion.digest or ours.measurement.rows.references != champion.measurement.rows.references:
        return f"{rival} was measured on other test rows"
    return ours.measurement, champion.measurement


def _same_validation(version: Version, sweep: SweepRecord) -> bool:
    """Return whether the version was measured on the sweep's validation rows."""
    rows = rows_digest(sweep, "validation")
    stored = version.tags.get(ROWS_TAG, version.tags.get(EARLY_ROWS_TAG))
    return version.tags.get("sweep") == sweep.reference or (rows is not None and stored == rows)


def _in_use(version: Version, location: Location, metric: Metric) -> float | None:
    """Return the version's validation value in six digits: from its tag, else from its card; None: not measured."""
    tag = version.tags.get(mlflow_key(best_name(metric)))
    if tag is not None:
        return float(tag)
    with registry_errors(location):
        card = card_of(location, version)
    value = None if card is None else card.metrics.get(best_name(metric))
    return None if value is None else float(format_value(value))
