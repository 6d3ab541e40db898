"""From a trial to a version in the registry, and back to the version before."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.core.errors import TrackingError, UserError
from orchestrator.core.metric import Metric
from orchestrator.core.names import check_alias, check_model_name, mlflow_key
from orchestrator.core.space import format_value
from orchestrator.core.sweep import SweepRecord
from orchestrator.promotion.candidates import Candidate
from orchestrator.promotion.gates import Finding, Gates, check, compare
from orchestrator.tracking.adapters import AdapterCard
from orchestrator.tracking.links import best_name
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.models import log_adapter
from orchestrator.tracking.provenance import user
from orchestrator.tracking.registry import CHAMPION, ModelReference, Registry, Version, registry_errors

ROWS_TAG = "loratory.validation_rows"
"""On a version: the digest of the rows that its ``best_val_...`` were measured on."""
FORCED_BY_TAG = "loratory.forced_by"
FORCED_REASON_TAG = "loratory.forced_reason"
"""On a version that was promoted with ``--force``: the login name of who did it, and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Promotion:
    """What a promotion did.

    Attributes:
        version: the registered version.
        previous: the version that had the alias before, if another had.
        findings: the gates' findings.
    """

    version: Version
    card: AdapterCard
    previous: Version | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PromotionRequest:
    """Where a candidate goes, and what it must fulfil; its names are checked when it is made.

    Attributes:
        name: the registered model.
        metric: the searched metric.
        alias: will point to the new version; None: no alias.
        gates: the gates' bounds.
        forced: why the candidate is promoted whatever the gates find; None: it is not.

    Raises:
        UserError: MLflow refuses the name or the alias, the reason is blank, or gates are both strict and forced.
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
            raise UserError("--strict refuses what --force promotes; give one of them")


def promote(sweep: SweepRecord, candidate: Candidate, location: Location, request: PromotionRequest) -> Promotion:
    """Register a candidate's adapter, log it first if it was not, and move the alias to it.

    Promoting the same adapter again makes no second version. Nothing is written before all gates are looked at.

    Raises:
        UserError: a gate refuses the candidate, or the registry does not accept the name.
        TrackingError: the trial's run is not in MLflow yet, or the registry refuses or does not answer.
    """
    findings = judge(sweep, location, request, candidate)
    with registry_errors(location):
        registry = Registry(location)
        model_id = candidate.model_id or _log(sweep, candidate, location)
        card = candidate.card
        tags = _tags(card, findings) | _origin(sweep, request)
        version = registry.register(request.name, model_id, tags, _description(card))
        previous = None if request.alias is None else registry.set_alias(version, request.alias)
        version = registry.get(ModelReference(name=version.name, version=version.version))
    return Promotion(version=version, card=card, previous=previous, findings=findings)


def judge(
    sweep: SweepRecord, location: Location, request: PromotionRequest, candidate: Candidate
) -> tuple[Finding, ...]:
    """Return the gates' findings; nothing is written.

    Raises:
        UserError: a finding refuses the candidate, and the request does not force it.
        TrackingError: the registry refuses or does not answer.
    """
    baseline, metric, metrics = sweep.facts.baseline, request.metric, candidate.card.metrics
    value = metrics.get(best_name(metric))
    findings = [*check(metrics, metric, baseline if isinstance(baseline, Mapping) else None, request.gates)]
    if candidate.leader is not None:
        whose = f"trial {candidate.leader.number} of {sweep.reference}"
        findings.append(compare("best trial", metric, value, candidate.leader.result(metric), whose))
    holder = None
    if request.alias is not None:
        with registry_errors(location):
            holder = Registry(location).holder(request.name, request.alias)
    if holder is not None and _comparable(holder, sweep, request.metric):
        held = float(holder.tags[mlflow_key(best_name(metric))])
        # The tag has six digits; the same adapter is not worse than itself.
        shown = None if value is None else float(format_value(value))
        findings.append(compare("in use", metric, shown, held, f"{holder.reference} ({request.alias})"))
    refusing = [item for item in findings if item.passed is False and (item.refuses or request.gates.strict)]
    if refusing and request.forced is None:
        told = "; ".join(f"{item.gate}: {item.detail}" for item in refusing)
        raise UserError(
            f"trial {candidate.trial.number} of {sweep.reference} does not pass the gates: {told}; "
            'add --force --reason "WHY" to promote it anyway'
        )
    return tuple(findings)


def rollback(name: str, alias: str, location: Location) -> tuple[Version, Version]:
    """Move the alias back to the version that had it before; return ``(the one it leaves, the one it returns to)``.

    Raises:
        UserError: there is no such model or alias, or nothing to go back to.
        TrackingError: the registry refuses or does not answer.
    """
    with registry_errors(location):
        return Registry(location).move_back(name, alias)


def _comparable(version: Version, sweep: SweepRecord, metric: Metric) -> bool:
    """Return whether the version was measured by the same metric on the same validation rows."""
    measured = mlflow_key(best_name(metric)) in version.tags
    rows = _validation_rows(sweep)
    return measured and (
        version.tags.get("sweep") == sweep.reference or (rows is not None and version.tags.get(ROWS_TAG) == rows)
    )


def _validation_rows(sweep: SweepRecord) -> str | None:
    rows = sweep.fingerprint.get("rows")
    found = rows.get("validation") if isinstance(rows, Mapping) else None
    return found if isinstance(found, str) else None


def _origin(sweep: SweepRecord, request: PromotionRequest) -> dict[str, str]:
    """Return the tags that say on which rows the version was measured, and who forced it and why."""
    rows = _validation_rows(sweep)
    tags = {} if rows is None else {ROWS_TAG: rows}
    if request.forced is not None:
        tags |= {FORCED_BY_TAG: user(), FORCED_REASON_TAG: request.forced.strip()}
    return tags


def _log(sweep: SweepRecord, candidate: Candidate, location: Location) -> str:
    run_id = candidate.trial.run_id
    if sweep.experiment_id is None or run_id is None:
        raise TrackingError(
            f"trial {candidate.trial.number} of {sweep.reference} is not in MLflow yet; "
            "the same sweep command writes what is missing"
        )
    return log_adapter(connect(location), candidate.adapter, candidate.card, run_id, sweep.experiment_id)


def _tags(card: AdapterCard, findings: tuple[Finding, ...]) -> dict[str, str]:
    tags = {"sweep": card.sweep, "trial": str(card.trial), "base": str(card.base), "objective": card.objective}
    if card.quantisation is not None:
        tags["quantisation"] = str(card.quantisation["bnb_4bit_quant_type"])
    tags |= {mlflow_key(name): format_value(value) for name, value in card.metrics.items()}
    return tags | {f"gate/{item.gate}": _word(item.passed) for item in findings}


def _description(card: AdapterCard) -> str:
    """Return in a line what the registry's page shows beside the tags, which it cuts."""
    told = (
        f"{name} {format_value(value)}"
        for name, value in card.metrics.items()
        if name.startswith(("best_val_", "test/"))
    )
    return f"Trial {card.trial} of {card.sweep}, on {card.base}, after {card.samples:,} samples: {', '.join(told)}"


def _word(passed: bool | None) -> str:
    return "not measured" if passed is None else "passed" if passed else "not passed"
