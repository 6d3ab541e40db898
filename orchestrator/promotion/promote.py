"""Promotes a trial to a version in the registry, and rolls back to an earlier version."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.core.errors import TrackingError, UserError
from orchestrator.core.metric import Metric
from orchestrator.core.names import check_alias, check_model_name, mlflow_key
from orchestrator.core.space import format_value
from orchestrator.core.sweep import SweepRecord
from orchestrator.promotion.candidates import Candidate
from orchestrator.promotion.gates import GateResult, Gates, check, compare
from orchestrator.tracking.adapters import AdapterCard
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.models import log_adapter
from orchestrator.tracking.provenance import user
from orchestrator.tracking.registry import CHAMPION, ModelReference, Registry, Version, registry_errors
from orchestrator.tracking.wording import best_name

ROWS_TAG = "loratory.validation_rows"
"""Tag of a version: the digest of the validation rows for its ``best_val_...`` metrics."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class PromotionRequest:
    """The target of a promotion and its gates.

    Attributes:
        name: the registered model.
        metric: the searched metric.
        alias: the alias of the new version; None: no alias.
        gates: the gates' bounds.
        forced: the reason for a promotion against the gates; None: the gates apply.

    Raises:
        UserError: MLflow refuses the name or alias, the reason is blank, or the gates are both strict and forced.
    """

    name: str
    metric: Metric
    alias: str | None = CHAMPION
    gates: Gates = field(default_factory=Gates)
    forced: str | None = None

    def __post_init__(self) -> None:
        check_model_name(self.name)
        if self.alias is not None:
            check_alias(self.alias)
        if self.forced is not None and not self.forced.strip():
            raise UserError("--reason: say why the trial is promoted anyway, got a blank text")
        if self.forced is not None and self.gates.strict:
            raise UserError("--strict and --force exclude each other; use one of them")


def promote(sweep: SweepRecord, candidate: Candidate, location: Location, request: PromotionRequest) -> Promotion:
    """Register a candidate's adapter and move the alias to it. The adapter is logged first if necessary.

    Promoting the same adapter again creates no second version. All gates are checked before the first write.

    Raises:
        UserError: a gate refuses the candidate, or the registry does not accept the name.
        TrackingError: the trial's run is not in MLflow yet, another process has moved the alias meanwhile, or the
            registry refuses or does not answer.
    """
    with registry_errors(location):
        registry = Registry(location)
        holder = None if request.alias is None else registry.holder(request.name, request.alias)
    results = judge(sweep, location, request, candidate)
    with registry_errors(location):
        model_id = candidate.model_id or _log(sweep, candidate, location)
        card = candidate.card
        tags = _tags(card, results) | _origin(sweep, request)
        version = registry.register(request.name, model_id, tags, _description(card))
        previous = None
        if request.alias is not None:
            previous = registry.set_alias(version, request.alias, seen=holder, reason=_reason(request, results))
        version = registry.get(ModelReference(name=version.name, version=version.version))
    return Promotion(version=version, card=card, previous=previous, gates=results)


def judge(
    sweep: SweepRecord, location: Location, request: PromotionRequest, candidate: Candidate
) -> tuple[GateResult, ...]:
    """Return the results of all gates, without writing.

    Raises:
        UserError: a gate refuses the candidate, and the request does not force the promotion.
        TrackingError: the registry refuses or does not answer.
    """
    baseline, metric, metrics = sweep.facts.baseline, request.metric, candidate.card.metrics
    value = metrics.get(best_name(metric))
    results = [*check(metrics, metric, baseline if isinstance(baseline, Mapping) else None, request.gates)]
    if candidate.leader is not None:
        rival = f"trial {candidate.leader.number} of {sweep.reference}"
        results.append(compare("best trial", metric, value, candidate.leader.result(metric), rival))
    holder = None
    if request.alias is not None:
        with registry_errors(location):
            holder = Registry(location).holder(request.name, request.alias)
    if holder is not None and _comparable(holder, sweep, request.metric):
        in_use = float(holder.tags[mlflow_key(best_name(metric))])
        # The tag has six digits. Round the value too, so that an adapter is not worse than itself.
        rounded = None if value is None else float(format_value(value))
        results.append(compare("in use", metric, rounded, in_use, f"{holder.reference} ({request.alias})"))
    refusing = [item for item in results if item.passed is False and (item.refuses or request.gates.strict)]
    if refusing and request.forced is None:
        reasons = "; ".join(f"{item.gate}: {item.detail}" for item in refusing)
        raise UserError(
            f"trial {candidate.trial.number} of {sweep.reference} does not pass the gates: {reasons}; "
            'add --force --reason "WHY" to promote it anyway'
        )
    return tuple(results)


def rollback(
    name: str, alias: str, location: Location, to: int | None = None, reason: str = ""
) -> tuple[Version, Version]:
    """Move the alias back to the earlier version, or to version ``to``; return ``(left version, restored version)``.

    Raises:
        UserError: the model or alias does not exist, or there is no earlier version.
        TrackingError: the registry refuses or does not answer.
    """
    with registry_errors(location):
        return Registry(location).move_back(name, alias, to, reason)


def _comparable(version: Version, sweep: SweepRecord, metric: Metric) -> bool:
    """Return whether the version has the same metric, measured on the same validation rows."""
    measured = mlflow_key(best_name(metric)) in version.tags
    rows = _validation_rows(sweep)
    return measured and (
        version.tags.get("sweep") == sweep.reference or (rows is not None and version.tags.get(ROWS_TAG) == rows)
    )


def _validation_rows(sweep: SweepRecord) -> str | None:
    rows = sweep.fingerprint.get("rows")
    digest = rows.get("validation") if isinstance(rows, Mapping) else None
    return digest if isinstance(digest, str) else None


def _origin(sweep: SweepRecord, request: PromotionRequest) -> dict[str, str]:
    """Return the tags for the validation rows and for a forced promotion."""
    rows = _validation_rows(sweep)
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


def _tags(card: AdapterCard, results: tuple[GateResult, ...]) -> dict[str, str]:
    tags = {"sweep": card.sweep, "trial": str(card.trial), "base": str(card.base), "objective": card.objective}
    if card.quantisation is not None:
        tags["quantisation"] = str(card.quantisation["bnb_4bit_quant_type"])
    tags |= {mlflow_key(name): format_value(value) for name, value in card.metrics.items()}
    return tags | {f"gate/{item.gate}": _word(item.passed) for item in results}


def _description(card: AdapterCard) -> str:
    """Return a line for the registry's page; the page truncates the tags."""
    metrics = (
        f"{name} {format_value(value)}"
        for name, value in card.metrics.items()
        if name.startswith(("best_val_", "test/"))
    )
    return f"Trial {card.trial} of {card.sweep}, on {card.base}, after {card.samples:,} samples: {', '.join(metrics)}"


def _word(passed: bool | None) -> str:
    return "not measured" if passed is None else "passed" if passed else "not passed"
