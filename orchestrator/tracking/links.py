"""Addresses of pages in the MLflow UI."""

from urllib.parse import quote

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.names import mlflow_key
from orchestrator.core.sweep import SweepRecord
from orchestrator.tracking.description import sweep_key
from orchestrator.tracking.wording import SWEEP_TAG, TRIAL_TAG


def runs_url(base: str, experiment_id: str, metric: Metric, sweep: SweepRecord | None = None) -> str:
    """Return the address of the page with all trials, the best first, and their charts side by side.

    By default the UI opens another mode with the folded parent run only.

    Args:
        base: the server's address.
        experiment_id: the sweep's experiment.
        metric: the searched metric; runs are sorted by its best value.
        sweep: show only this sweep's trials; None: the trials of all generations, and the parent runs.
    """
    ascending = str(metric.direction is Direction.MINIMIZE).lower()
    key = quote(f"metrics.`{mlflow_key(best_name(metric))}`", safe="")
    address = (
        f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs"
        f"?workflowType=machine_learning&compareRunsMode=CHART&orderByKey={key}&orderByAsc={ascending}"
    )
    if sweep is None:
        return address
    wanted = f"tags.`{SWEEP_TAG}` = '{sweep_key(sweep)}' AND tags.`{TRIAL_TAG}` != ''"
    return f"{address}&searchFilter={quote(wanted, safe='')}"


def best_name(metric: Metric) -> str:
    """Return the summary metric of the best value of ``metric``: ``best_val_loss`` for ``val/loss``."""
    return f"best_{metric.name.replace('/', '_', 1)}"
