"""The sweep file of a table, with overrides, and its report points. Model and data of the task need not exist."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import UserError
from orchestrator.core.metric import Direction
from orchestrator.core.tasks.generation import GENERATION_METRICS
from orchestrator.core.tasks.objective_facts import ObjectiveFacts
from orchestrator.core.trials.settings import RULES, Group
from orchestrator.core.trials.timetable import Timetable
from orchestrator.evaluation.entities.entity_metrics import ENTITIES
from orchestrator.evaluation.extractive_qa.squad import EXTRACTIVE_QA
from orchestrator.evaluation.metrics import CLASSIFICATION
from orchestrator.evaluation.vector_metrics import MULTI_LABEL, REGRESSION
from orchestrator.preparation.defaults import Stored, with_rung_metric, with_trial_length
from orchestrator.replay.table import TrialTable
from orchestrator.search.stopping.points import report_points
from orchestrator.spec.load import load_text
from orchestrator.spec.sections.possible import possible_epochs
from orchestrator.spec.sweep_spec import SweepSpec

DIRECTIONS = {
    **CLASSIFICATION,
    **MULTI_LABEL,
    **REGRESSION,
    **ENTITIES,
    **EXTRACTIVE_QA,
    **GENERATION_METRICS,
    **dict.fromkeys(
        ("token_accuracy", "preference_accuracy", "margin", "logp_accuracy", "chosen_logp"), Direction.MAXIMIZE
    ),
    "perplexity": Direction.MINIMIZE,
}
"""Directions of the metrics of the shipped objectives, by name without the split."""
_SHIFT = "recorded"
"""Stands for the data of each shift set."""
_UNREAD = (
    "objective=recorded",
    "model=null",
    "data.source=null",
    "data.labels={}",
    "data.general=null",
    "generation=null",
    "training.deepspeed=null",
    "quantisation=null",
    "tracking={}",
)
"""Keys of a sweep file without an effect on a search, each with a value that names no file."""


def spec_of(table: TrialTable, overrides: Sequence[str] = (), stored: Stored | None = None) -> SweepSpec:
    """Return the sweep file of a table with overrides ``a.b=value``, and with defaults for the values left open.

    Open epochs are the recorded ones.

    Args:
        table: the recorded trials, at least one.
        overrides: applied in order.
        stored: fingerprint of the recorded sweep; None: this version's defaults apply.

    Raises:
        SpecError: an override breaks a rule.
        UserError: the trials trained a function, or the search compares trials by a metric whose direction the table
            does not hold.
    """
    if table.of_function:
        raise UserError(f"{table.name} trained a function: a replay knows the parameters of adapters only")
    facts, spec = _facts(table), _written(table, overrides)
    if spec.epochs_are_open:
        spec = replace(spec, fixed={**spec.fixed, "epochs": table.trials[0].settings.epochs})
    spec = with_rung_metric(spec, stored, facts.metrics)
    _require_known_direction(table, spec)
    metric = spec.stopping.metric
    if metric is not None and metric.name.partition("/")[2] not in facts.metrics:  # not recorded
        spec = replace(spec, stopping=replace(spec.stopping, metric=None))
    return with_trial_length(spec, stored, _rows(table))


def timetable_of(table: TrialTable, spec: SweepSpec) -> Timetable:
    """Return the report points of the trials: the recorded ones, unless overrides change ``epochs`` or ``reports``."""
    rows, points = _rows(table), table.points
    samples, reports = spec.samples(rows), spec.stopping.reports
    if samples != points[-1] or reports != _written(table).stopping.reports:
        points = report_points(samples, reports)
    return Timetable(points=points, rows_per_epoch=spec.rows_per_epoch(rows))


def _written(table: TrialTable, overrides: Sequence[str] = ()) -> SweepSpec:
    """Return the sweep file of a table with overrides, without defaults for the values left open."""
    facts = _facts(table)
    shift = ", ".join(f"{name}: {_SHIFT}" for name in _shift_sets(table))  # a goal may name their metrics
    return load_text(
        table.spec_text,
        Path(f"{table.name}.yaml"),
        (*_UNREAD, f"data.shift={{{shift}}}", *overrides),
        objective_facts=lambda _objective: facts,
        packaged=(_SHIFT,),
    )


def _shift_sets(table: TrialTable) -> list[str]:
    """Return the names of the shift sets measured in a table."""
    measured = (name.split("/") for trial in table.trials for name in trial.final)
    return sorted({parts[1] for parts in measured if parts[0] == "shift"})


def _rows(table: TrialTable) -> int:
    """Return the number of training rows."""
    spec = _written(table)
    searched = spec.space.has("epochs")
    epochs = possible_epochs(spec.space, spec.fixed)[-1] if searched else table.trials[0].settings.epochs
    return round(table.points[-1] / epochs)


def _require_known_direction(table: TrialTable, spec: SweepSpec) -> None:
    """Refuse a compared metric of an own objective: a guessed direction could stop the best trials.

    Raises:
        UserError: a metric is neither the recorded search's own nor one of the shipped objectives.
    """
    recorded = {each.name for each in table.metric.metrics}
    compared = [("search.metric", spec.metric.metrics[0])]
    compared += [
        ("search.metrics", each) for each in spec.metric.metrics[1:] if each.name.startswith(("val/", "shift/"))
    ]
    compared += [("early_stopping.metric", spec.stopping.metric)] if spec.stopping.metric is not None else []
    for key, metric in compared:
        if metric.name not in recorded and metric.name.rpartition("/")[2] not in DIRECTIONS:
            known = ", ".join([table.metric.name, *(f"val/{name}" for name in DIRECTIONS)])
            raise UserError(
                f"{key}: table {table.name} does not hold the direction of {metric.name}; set one of {known}"
            )


def _facts(table: TrialTable) -> ObjectiveFacts:
    """Return the recorded metrics with their directions. ``_require_known_direction`` refuses the use of a guess."""
    names = {name for trial in table.trials for report in trial.reports for name in report.metrics}
    metrics = {
        name.removeprefix("val/"): DIRECTIONS.get(name.removeprefix("val/"), Direction.MAXIMIZE)
        for name in sorted(names)
        if name.startswith("val/")
    }
    recorded = [each for each in table.metric.metrics if each.name.startswith("val/")]
    nothing = Source(origin=Origin.LOCAL, name=table.name)
    own = tuple(name for name, rule in RULES.items() if rule.group is Group.PREFERENCE)
    return ObjectiveFacts(
        metrics=metrics | {each.name.removeprefix("val/"): each.direction for each in recorded},
        default_metric=table.metric.name,
        default_model=nothing,
        default_source=nothing,
        loss_settings=own,  # the recorded sweep was checked with its objective
    )
