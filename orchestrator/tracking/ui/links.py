"""Addresses of pages in the MLflow UI."""

from urllib.parse import quote

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.names import mlflow_key
from orchestrator.core.sweeps.sweep import SweepRecord
from orchestrator.tracking.runs.description import sweep_key
from orchestrator.tracking.runs.wording import best_name
from orchestrator.tracking.ui.ui_view import trials_filter

_TRAINING = "workflowType=machine_learning"
"""By default the UI opens a mode for language models in production, without runs."""


def view_url(base: str, experiment_id: str, sweep: SweepRecord) -> str:
    """Return the address of the table of a sweep's trials; its view must be in the experiment (``view_tags``).

    Args:
        base: the server's address.
        experiment_id: the sweep's experiment.
        sweep: the sweep.
    """
    return f"{_runs(base, experiment_id)}&viewStateShareKey={sweep_key(sweep)}"


def runs_url(base: str, experiment_id: str, metric: Metric, sweep: SweepRecord) -> str:
    """Return the address of the same page without a view: charts, and no columns beside the names of the runs.

    Args:
        base: the server's address.
        experiment_id: the sweep's experiment.
        metric: the searched metric; runs are sorted by its best value.
        sweep: the sweep.
    """
    ascending = str(metric.direction is Direction.MINIMIZE).lower()
    key = quote(f"metrics.`{mlflow_key(best_name(metric))}`", safe="")
    order = f"compareRunsMode=CHART&orderByKey={key}&orderByAsc={ascending}"
    return f"{_runs(base, experiment_id)}&{order}&searchFilter={quote(trials_filter(sweep), safe='')}"


def _runs(base: str, experiment_id: str) -> str:
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs?{_TRAINING}"
