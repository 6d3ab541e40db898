"""``prepare``: from a request to a prepared sweep. The run, ``--dry-run`` and every later view use the same object."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from orchestrator.assets.models import version_of
from orchestrator.core.metric import Metric
from orchestrator.core.sweeps.facts import FactChanges
from orchestrator.core.sweeps.plan import EngineName, EnginePlan
from orchestrator.core.sweeps.policy import Resources
from orchestrator.core.sweeps.sweep import SweepRecord
from orchestrator.core.tasks.function import file_digest
from orchestrator.ledger.home import sweep_dir
from orchestrator.ledger.ledger import Ledger
from orchestrator.objective.protocol import Objective, Splits, generation_metrics
from orchestrator.objective.rows.digest import digest
from orchestrator.objective.splits import NearCopies
from orchestrator.preparation.defaults import (
    MODEL_VERSION,
    Stored,
    pinned_model,
    stored_fingerprint,
    with_extensions,
    with_rung_metric,
    with_split_rule,
    with_stored_classes,
    with_trial_length,
)
from orchestrator.preparation.description import adapters_of, describe, function_models, row_files
from orchestrator.preparation.engine_plan import plan_engine, plan_search
from orchestrator.preparation.generation import plan_generation
from orchestrator.preparation.prior import with_prior
from orchestrator.preparation.request import SweepRequest
from orchestrator.preparation.rows import max_lengths, read_rows, row_counts
from orchestrator.preparation.trial_length import TrialLength, function_length, trial_length
from orchestrator.preparation.worker_count import require_workers
from orchestrator.report.files import REPORT_DIR
from orchestrator.search.plan import SearchPlan
from orchestrator.spec.fingerprint import fingerprint
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.location import Location
from orchestrator.tracking.logged_models.adapters import SweepAdapters
from orchestrator.tracking.runs.description import SweepDescription
from orchestrator.training.checks.model_check import CheckedModel
from orchestrator.training.data.encoding import Encoder, tokens_text


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedSweep:
    """A sweep before its first trial.

    Attributes:
        name: the sweep's name.
        spec_text: the sweep file's YAML, overrides applied, passwords masked.
        request_digest: digest of the request; None if there is none.
        objective, splits: the task and its rows; None: a function.
        near_copies: rows of different splits with almost the same words.
        notes: notes for the user on the model, its adapters and the data, one sentence each.
        length: the length of a trial and its rungs, in words.
        prior: the start points of the prior and their origin, in words.
        tokens: which rows are encoded already on this machine, in words; None: a function.
        fingerprint: the part of the sweep fixed for all its runs, as plain JSON.
        engine_plan: builds the engines; its ``sweep_dir`` is empty until ``placed``.
        search_plan: space, sampler, stopping rule and budget.
        resources: trials at once, and the processors of each.
        location: the tracking store and the model registry.
        description: the sweep's description for the tracker.
        adapters: the shared properties of the sweep's adapters.
        keep_adapters: number of adapters kept on disk.
        facts: facts of the sweep for the ledger.
    """

    name: str
    spec_text: str
    request_digest: str | None
    objective: Objective | None
    splits: Splits | None
    near_copies: NearCopies
    notes: tuple[str, ...]
    length: TrialLength
    prior: str
    tokens: str | None
    fingerprint: Mapping[str, Any]
    engine_plan: EnginePlan
    search_plan: SearchPlan
    resources: Resources
    location: Location
    description: SweepDescription
    adapters: SweepAdapters
    keep_adapters: int
    facts: FactChanges

    @property
    def metric(self) -> Metric:
        """The searched metric."""
        return self.search_plan.metric

    def placed(self, sweep: SweepRecord) -> Self:
        """Return this preparation in the folder of an opened sweep, which need not exist yet."""
        folder = sweep_dir(sweep)
        plan = replace(self.engine_plan, sweep_dir=str(folder), sweep_key=sweep.key)
        return replace(
            self,
            engine_plan=plan,
            description=replace(self.description, files=folder / REPORT_DIR, row_files=row_files(folder)),
            adapters=replace(self.adapters, sweep_dir=folder),
            facts={**self.facts, "engine_plan": plan},
        )


def prepare(
    request: SweepRequest,
    ledger: Ledger | None,
    say: Callable[[str], None] = lambda _line: None,
    *,
    fresh: bool = False,
) -> PreparedSweep:
    """Read the rows, plan the sweep and check its adapters. Nothing is trained, and nothing is stored.

    Args:
        request: request of the command.
        ledger: holds the sweep to be resumed, with the values left open by the file, and the earlier sweeps for a
            prior; None: there are none.
        say: shows notes and counts of rows to the user, one sentence each.
        fresh: open a new sweep beside the stored ones of its name; the defaults apply.

    Raises:
        AssetError, DataError: the data or the model is not available, or the data breaks a rule.
        ModelError: the model is damaged, or does not fit the task, the rows or their length.
        SweepChangedError, UserError: suspended trials need other workers, or peft refuses an adapter.
    """
    require_workers(request.spec, None if fresh else ledger)
    stored = None if fresh else stored_fingerprint(ledger, request.spec.name, of_function=request.objective is None)
    if request.objective is None:
        return _prepare_function(request, stored, say)
    spec = with_stored_classes(with_split_rule(request.spec, stored), stored)
    spec = with_rung_metric(spec, stored, {**request.objective.metrics, **generation_metrics(request.objective)})
    model = pinned_model(spec.model, stored, say)
    objective, splits, checked, near_copies = read_rows(replace(spec, model=model), request.objective, say)
    spec = replace(spec, data=replace(spec.data, classes=() if request.objective.labels else objective.labels))
    spec = with_trial_length(spec, stored, len(splits.train))
    length = trial_length(request.spec, spec, row_counts(splits), resumed=stored is not None)
    spec, prior = with_prior(with_extensions(spec, None if fresh else ledger), stored, ledger, checked.weights)
    for line in (f"trial length: {length.text}", *length.notes, f"prior: {prior}"):
        say(line)
    generation = plan_generation(spec, objective, splits, checked.tokenizer, say)
    fingerprint, size = _fingerprint(spec, splits, version_of(model)), row_counts(splits)
    engine_plan = plan_engine(replace(spec, model=model), size["train"], size["validation"], generation=generation)
    engine_plan = replace(engine_plan, row_digests=fingerprint["rows"])
    return PreparedSweep(
        name=spec.name,
        spec_text=spec.text,
        request_digest=request.digest,
        objective=objective,
        splits=splits,
        near_copies=near_copies,
        notes=(*checked.notes, *length.notes, *_adapter_notes(engine_plan, objective, checked, say)),
        length=length,
        prior=prior,
        tokens=_tokens(spec, Encoder(objective, checked.tokenizer), splits, fingerprint["rows"], say),
        fingerprint=fingerprint,
        engine_plan=engine_plan,
        search_plan=plan_search(spec, engine_plan.timetable),
        resources=spec.resources,
        location=request.location,
        description=describe(spec, splits.by_name(), fingerprint["rows"]),
        adapters=adapters_of(engine_plan, objective, spec.metric, splits.summary),
        keep_adapters=spec.tracking.keep_adapters,
        facts=_facts(spec, splits, engine_plan) | ({} if stored else _opening(spec, prior)),
    )


def _prepare_function(request: SweepRequest, stored: Stored | None, say: Callable[[str], None]) -> PreparedSweep:
    """Plan the sweep of a function: it reads its rows and its model itself, so neither is checked here."""
    function = request.spec.function
    assert function is not None, "a request without objective has a function"
    spec = with_rung_metric(request.spec, stored, function.metrics)
    spec = with_trial_length(spec, stored, function.samples)
    length = function_length(request.spec, spec, resumed=stored is not None)
    say(f"trial length: {length.text}")
    engine_plan = plan_engine(spec, function.samples)
    facts = {**fingerprint(spec), "objective_file": function.digest}
    return PreparedSweep(
        name=spec.name,
        spec_text=spec.text,
        request_digest=request.digest,
        objective=None,
        splits=None,
        near_copies=NearCopies(),
        notes=length.notes,
        length=length,
        prior="none",
        tokens=None,
        fingerprint=facts,
        engine_plan=engine_plan,
        search_plan=plan_search(spec, engine_plan.timetable),
        resources=spec.resources,
        location=request.location,
        description=describe(spec, {}, {}),
        adapters=function_models(engine_plan, function, spec.metric),
        keep_adapters=spec.tracking.keep_adapters,
        facts={
            "metric": spec.metric,
            "engine_plan": engine_plan,
            "prefer": spec.prefer,
            "request_digest": None,
            **({} if stored else _opening(spec, "none")),
        },
    )


def _adapter_notes(
    plan: EnginePlan, objective: Objective, checked: CheckedModel, say: Callable[[str], None]
) -> tuple[str, ...]:
    """Check the adapters of a solo sweep, say and return the notes on them; none in a packed sweep.

    A packed engine checks the adapters itself, because it loads the libraries anyway.

    Raises:
        UserError: peft refuses an adapter.
    """
    if plan.engine is not EngineName.SOLO:
        return ()
    from orchestrator.training.checks.adapter_check import check_adapters

    notes = check_adapters(plan, objective, checked.structure)
    for note in notes:
        say(note)
    return notes


def _tokens(
    spec: SweepSpec, encoder: Encoder, splits: Splits, digests: Mapping[str, str], say: Callable[[str], None]
) -> str:
    """Say and return which rows are encoded already."""
    text = tokens_text(encoder, splits.by_name(), digests, max_lengths(spec))
    say(f"tokens: {text}")
    return text


def _fingerprint(spec: SweepSpec, splits: Splits, version: str | None) -> dict[str, Any]:
    """Return the fingerprint: the file's part, the model's version, digests of the rows and of an objective's file."""
    facts = {**fingerprint(spec), "rows": {name: digest(rows) for name, rows in splits.by_name().items()}}
    if version is not None:
        facts[MODEL_VERSION] = version
    if spec.objective.endswith(".py"):
        facts["objective_file"] = file_digest(spec.objective)
    return facts


def _facts(spec: SweepSpec, splits: Splits, plan: EnginePlan) -> FactChanges:
    """Return the facts of a sweep before its first trial, or before it is resumed."""
    return {
        "metric": spec.metric,
        "rows": row_counts(splits),
        "data_summary": splits.summary,
        "engine_plan": plan,
        "prefer": spec.prefer,
        "request_digest": None,  # until the sweep is finished and everything is written
    }


def _opening(spec: SweepSpec, prior: str) -> FactChanges:
    """Return the facts that a resumed sweep keeps: start points added to its file are not its first trials."""
    return {
        "start_points": len(spec.start_points) + len(spec.prior_points),
        "prior": prior if spec.prior_points else None,
    }
