"""The sweep file of a table, with overrides, and its report points. Model and data of the task need not exist."""

from collections.abc import Sequence
from pathlib import Path

from orchestrator.core.data import Origin, Source
from orchestrator.core.metric import Direction
from orchestrator.core.objective_facts import ObjectiveFacts
from orchestrator.core.timetable import Timetable, samples_of
from orchestrator.replay.table import TrialTable
from orchestrator.search.stopping.points import report_points
from orchestrator.spec.load import load_text
from orchestrator.spec.sweep_spec import SweepSpec

_UNREAD = (
    "objective=recorded",
    "model=null",
    "data.source=null",
    "data.labels={}",
    "data.shift={}",
    "training.deepspeed=null",
    "quantisation=null",
    "tracking={}",
)
"""Keys of a sweep file without an effect on a search, each with a value that names no file."""


def spec_of(table: TrialTable, overrides: Sequence[str] = ()) -> SweepSpec:
    """Return the sweep file of a table with overrides ``a.b=value``.

    Raises:
        SpecError: an override breaks a rule.
    """
    facts = _facts(table)
    return load_text(
        table.spec_text,
        Path(f"{table.name}.yaml"),
        (*_UNREAD, *overrides),
        objective_facts=lambda _objective: facts,
        packaged=(),
    )


def timetable_of(table: TrialTable, spec: SweepSpec) -> Timetable:
    """Return the report points of the trials: the recorded ones, unless overrides change ``epochs`` or ``reports``."""
    recorded = spec_of(table)
    rows = round(table.points[-1] / recorded.epochs)
    points = table.points
    if (spec.epochs, spec.stopping.reports) != (recorded.epochs, recorded.stopping.reports):
        points = report_points(samples_of(spec.epochs, rows), spec.stopping.reports)
    return Timetable(points=points, rows_per_epoch=spec.rows_per_epoch(rows))


def _facts(table: TrialTable) -> ObjectiveFacts:
    """Return the recorded metrics with their directions: losses and perplexities fall, the searched one as recorded."""
    names = {name for trial in table.trials for report in trial.reports for name in report.metrics}
    metrics = {
        name.removeprefix("val/"): Direction.MINIMIZE if name.endswith(("loss", "perplexity")) else Direction.MAXIMIZE
        for name in sorted(names | {"val/loss"})
        if name.startswith("val/")
    }
    nothing = Source(origin=Origin.LOCAL, name=table.name)
    return ObjectiveFacts(
        metrics={**metrics, table.metric.name.removeprefix("val/"): table.metric.direction},
        default_metric=table.metric.name,
        default_model=nothing,
        default_source=nothing,
    )
