"""From a trial to a version in the registry, and back to the version before."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.core.errors import TrackingError, UserError
from orchestrator.core.metric import Metric
from orchestrator.core.sweep import SweepRecord
from orchestrator.promotion.candidates import Candidate
from orchestrator.promotion.gates import Finding, Gates, check
from orchestrator.tracking.adapters import AdapterCard
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.models import log_adapter
from orchestrator.tracking.registry import CHAMPION, ModelReference, Registry, Version
from orchestrator.tracking.wording import text


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
    """Where a candidate goes: the registered model's name, and the alias that will point to it (None: no alias)."""

    name: str
    metric: Metric
    alias: str | None = CHAMPION
    gates: Gates = field(default_factory=Gates)


def promote(sweep: SweepRecord, candidate: Candidate, location: Location, request: PromotionRequest) -> Promotion:
    """Register a candidate's adapter, log it first if it was not, and move the alias to it.

    Promoting the same adapter again makes no second version.

    Raises:
        UserError: the gates are strict and one is not passed, or the registry does not accept the name.
        TrackingError: the trial's run is not in MLflow yet.
    """
    baseline = sweep.facts.get("baseline")
    findings = check(
        candidate.card.metrics,
        request.metric,
        baseline if isinstance(baseline, Mapping) else None,
        request.gates,
    )
    failed = [f"  {item.gate}: {item.detail}" for item in findings if item.passed is False]
    if failed and request.gates.strict:
        raise UserError(f"trial {candidate.trial.number} does not pass the gates:\n" + "\n".join(failed))
    model_id = candidate.model_id or _log(sweep, candidate, location)
    registry = Registry(location)
    card = candidate.card
    version = registry.register(request.name, model_id, _tags(card, findings), _description(card))
    previous = None if request.alias is None else registry.set_alias(version, request.alias)
    version = registry.get(ModelReference(name=version.name, version=version.version))
    return Promotion(version=version, card=card, previous=previous, findings=findings)


def rollback(name: str, alias: str, location: Location) -> tuple[Version, Version]:
    """Move the alias back to the version that had it before; return ``(the one it leaves, the one it returns to)``.

    Raises:
        UserError: there is no such model or alias, or nothing to go back to.
    """
    return Registry(location).move_back(name, alias)


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
    tags |= {mlflow_key(name): text(value) for name, value in card.metrics.items()}
    return tags | {f"gate/{item.gate}": _word(item.passed) for item in findings}


def _description(card: AdapterCard) -> str:
    """Return in a line what the registry's page shows beside the tags, which it cuts."""
    told = (f"{name} {text(value)}" for name, value in card.metrics.items() if name.startswith(("best_val_", "test/")))
    return f"Trial {card.trial} of {card.sweep}, on {card.base}, after {card.samples:,} samples: {', '.join(told)}"


def _word(passed: bool | None) -> str:
    return "not measured" if passed is None else "passed" if passed else "not passed"
