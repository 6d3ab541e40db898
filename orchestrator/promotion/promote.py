"""Promotes a trial to a version in the registry, and rolls back to an earlier version."""

from dataclasses import dataclass

from orchestrator.core.errors import TrackingError
from orchestrator.core.methods.quantisation import format_of
from orchestrator.core.metric import Metric
from orchestrator.core.names import mlflow_key
from orchestrator.core.space import format_value
from orchestrator.core.sweeps.sweep import SweepRecord
from orchestrator.promotion.candidates import Candidate
from orchestrator.promotion.gates.judge import ROWS_TAG, PromotionRequest, admit
from orchestrator.promotion.gates.rules import GateResult
from orchestrator.promotion.gates.stored_rows import rows_digest
from orchestrator.tracking.cards.model_card import GateLine, version_description
from orchestrator.tracking.cards.registered_model import spaced
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.logged_models.adapters import AdapterCard
from orchestrator.tracking.logged_models.models import log_adapter
from orchestrator.tracking.logged_models.test_rows import log_test_rows
from orchestrator.tracking.registered.lineage import gates_tag
from orchestrator.tracking.registered.model_page import METRIC_TAG, describe_model
from orchestrator.tracking.registered.registry import ModelReference, Registry, Version, registry_errors
from orchestrator.tracking.runs.provenance import user
from orchestrator.tracking.runs.wording import best_name

FORCED_BY_TAG = "loratory.forced_by"
FORCED_REASON_TAG = "loratory.forced_reason"
"""Tags of a version promoted with ``--force``: the person's login name, and the reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Promotion:
    """The result of a promotion.

    Attributes:
        version: the registered version.
        card: the adapter's description.
        previous: the version with the alias before; None if there was no other.
        gates: the results of the gates.
    """

    version: Version
    card: AdapterCard
    previous: Version | None
    gates: tuple[GateResult, ...]


def promote(sweep: SweepRecord, candidate: Candidate, location: Location, request: PromotionRequest) -> Promotion:
    """Register a candidate's adapter and move the alias to it. The adapter is logged first if necessary.

    Promoting the same adapter again creates no second version. All gates are checked before the first write.

    Raises:
        GateRefusalError: a gate stops the promotion.
        UserError: the registry does not accept the name.
        TrackingError: the trial's run is not in MLflow yet, another process has moved the alias meanwhile, or the
            registry refuses or does not answer.
    """
    with registry_errors(location):
        registry = Registry(location)
        holder = None if request.alias is None else registry.holder(request.name, request.alias)
    results = admit(sweep, location, request, candidate)
    with registry_errors(location):
        model_id = candidate.model_id or _log(sweep, candidate, location)
        if candidate.test_rows is not None:
            log_test_rows(connect(location), model_id, candidate.test_rows.to_text())
        card = candidate.card
        gates = _gate_lines(results)
        tags = _tags(card, request.metric) | _origin(sweep, request) | gates_tag(gates)
        text = spaced(version_description(card, gates, f"{request.name}/VERSION"))
        version = registry.register(request.name, model_id, tags, text)
        previous = None
        if request.alias is not None:
            previous = registry.set_alias(version, request.alias, seen=holder, reason=_reason(request, results))
        describe_model(location, request.name)
        version = registry.get(ModelReference(name=version.name, version=version.version))
    return Promotion(version=version, card=card, previous=previous, gates=results)


def rollback(
    name: str, alias: str, location: Location, to: int | None = None, reason: str = ""
) -> tuple[Version, Version]:
    """Move the alias back to the earlier version, or to version ``to``; return ``(left version, restored version)``.

    Raises:
        UserError: the model or alias does not exist, or there is no earlier version.
        TrackingError: the registry refuses or does not answer.
    """
    with registry_errors(location):
        moved = Registry(location).move_back(name, alias, to, reason)
        describe_model(location, name)
    return moved


def _origin(sweep: SweepRecord, request: PromotionRequest) -> dict[str, str]:
    """Return the tags for the validation rows and for a forced promotion."""
    rows = rows_digest(sweep, "validation")
    tags = {} if rows is None else {ROWS_TAG: rows}
    if request.forced is not None:
        tags |= {FORCED_BY_TAG: user(), FORCED_REASON_TAG: request.forced.strip()}
    return tags


def _reason(request: PromotionRequest, results: tuple[GateResult, ...]) -> str:
    """Return why the version gets the alias, for the history."""
    if request.forced is not None:
        return f"forced: {request.forced.strip()}"
    failed = [item.gate for item in results if item.passed is False]
    passed = sum(item.passed is True for item in results)
    return f"passed {passed} gates" + (f"; failed without refusal: {', '.join(failed)}" if failed else "")


def _log(sweep: SweepRecord, candidate: Candidate, location: Location) -> str:
    run_id = candidate.trial.run_id
    if sweep.experiment_id is None or run_id is None:
        raise TrackingError(
            f"trial {candidate.trial.number} of {sweep.reference} is not in MLflow yet; "
            "run the same sweep command again to write it"
        )
    return log_adapter(connect(location), candidate.adapter, candidate.card, run_id, sweep.experiment_id)


def _tags(card: AdapterCard, metric: Metric) -> dict[str, str]:
    """Return the tags that a person reads or searches; the card holds everything."""
    tags = {"sweep": card.sweep, "trial": str(card.trial), "base": str(card.base), "objective": card.objective}
    if card.quantisation is not None:
        tags["quantisation"] = format_of(card.quantisation).value
    tags[METRIC_TAG] = metric.name
    main = (name for each in metric.metrics for name in (best_name(each), f"test/{each.name.rpartition('/')[2]}"))
    return tags | {mlflow_key(name): format_value(card.metrics[name]) for name in main if name in card.metrics}


def _gate_lines(results: tuple[GateResult, ...]) -> tuple[GateLine, ...]:
    return tuple(GateLine(gate=item.gate, verdict=_word(item), detail=item.detail) for item in results)


def _word(result: GateResult) -> str:
    if result.passed is None:
        return "not measured" if result.value is None else "abstained"
    return "passed" if result.passed else "not passed"
