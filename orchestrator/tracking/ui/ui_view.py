"""The view of a sweep's trials in MLflow's UI: columns, order, filter and the order of the charts.

Without a view, MLflow's table has no column for a metric or a parameter, and its charts begin with the first group by
name, such as ``gap``. MLflow reads a shared view from a tag of the experiment. The view's link names it.
"""

import json
from collections.abc import Mapping
from typing import Any

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.names import mlflow_key
from orchestrator.core.sweeps.sweep import SweepRecord
from orchestrator.tracking.runs.description import sweep_key
from orchestrator.tracking.runs.wording import SWEEP_TAG, TRIAL_TAG, best_name

KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Tag of an experiment: its page opens with runs, not with traces of language models."""
VIEW_TAG = "mlflow.sharedViewState."
"""Prefix of an experiment's tag with a view."""
ALL_VIEW = f"{VIEW_TAG}loratory"
"""The tag with the view of the experiment's start page: the trials of the sweep that ran last."""
_UNCHANGED: Mapping[str, Any] = {
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "datasetsFilter": [],
    "modelVersionFilter": "All Runs",
    "runsExpanded": {},
    "runsPinned": [],
    "runsHidden": [],
    "runsVisibilityMap": {},
    "runsHiddenMode": "FIRST_10_RUNS",
    "viewMaximized": False,
    "runListHidden": False,
    "useGroupedValuesInCharts": True,
    "hideEmptyCharts": True,
    "groupBy": None,
    "groupsExpanded": {},
    "autoRefreshEnabled": True,
    "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
}
"""MLflow's own values; the state in a browser's storage needs all of them."""
_TRIALS = f"tags.`{TRIAL_TAG}` != ''"
_STATE = "tags.`state`"
_NAME, _STARTED, _DURATION = "attributes.`Run Name`", "runDateAndNestInfo", "duration"
"""MLflow's own columns; it keeps the first two left."""
_WIDTHS = {_NAME: 160, _STARTED: 125, _STATE: 90}
"""Widths of columns in pixels, so that the searched metric's whole name is seen; MLflow's default is 100."""
_BEST_WIDTH, _GAP_WIDTH = 130, 140
FILTER = r"^(tags\.`loratory\.sweep` = '[0-9a-f]+' AND )?tags\.`loratory\.trial` != ''$"
"""Pattern of every filter written by this program; early versions named no sweep."""
PARAMETERS = 8
"""Most searched parameters with a column."""
GROUPS = ("val", "train", "test", "shift", "gap")
"""Chart groups in their order; further groups follow."""


def view_tags(sweep: SweepRecord, metric: Metric) -> dict[str, str]:
    """Return the tags of a sweep's experiment: its kind, and the view of the trials, also for its start page."""
    view = json.dumps(_view(sweep, metric))
    return {**KIND, ALL_VIEW: view, f"{VIEW_TAG}{sweep_key(sweep)}": view}


def names_a_sweep(view: str) -> bool:
    """Return whether a view shows the trials of one sweep; early versions wrote one of all sweeps."""
    return SWEEP_TAG in view


def trials_filter(sweep: SweepRecord) -> str:
    """Return MLflow's filter for the trials of a sweep, without the parent run and the trainings with fresh seeds."""
    return f"tags.`{SWEEP_TAG}` = '{sweep_key(sweep)}' AND {_TRIALS}"


def _view(sweep: SweepRecord, metric: Metric) -> dict[str, Any]:
    """Return the view in MLflow's form; MLflow adds the other charts."""
    name = metric.name.rpartition("/")[2]
    metrics = (best_name(metric), f"test/{name}", "overfit_gap_at_best")
    searched = [*sweep.fingerprint.get("space", {})][:PARAMETERS]
    # MLflow shows tags last, behind the right edge of most screens.
    columns = [
        _STATE,
        *(_column("metrics", mlflow_key(each)) for each in metrics),
        *(_column("params", each) for each in searched),
    ]
    return {
        **_UNCHANGED,
        "searchFilter": trials_filter(sweep),
        "orderByKey": _column("metrics", mlflow_key(best_name(metric))),
        "orderByAsc": metric.direction is Direction.MINIMIZE,
        "selectedColumns": columns,
        "columnOrder": [_NAME, _STARTED, *columns, _DURATION],
        "columnWidths": {**_WIDTHS, columns[1]: _BEST_WIDTH, columns[3]: _GAP_WIDTH},
        "isAccordionReordered": True,
        "compareRunSections": [
            {"uuid": _generated(group), "name": group, "display": True, "isReordered": True, "deleted": False}
            for group in GROUPS
        ],
        "compareRunCharts": [_line_chart(metric)],
    }


def _line_chart(metric: Metric) -> dict[str, Any]:
    """Return the chart of the searched metric over training samples, the first chart of all."""
    key = mlflow_key(metric.name)
    return {
        "uuid": _generated(key),
        "type": "LINE",
        "metricKey": key,
        "selectedMetricKeys": [key],
        "metricSectionId": _generated(metric.name.partition("/")[0]),
        "runsCountToCompare": 10,
        "isGenerated": True,
        "deleted": False,
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "lineSmoothness": 0,
        "scaleType": "linear",
        "xAxisScaleType": "linear",
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }


def _column(kind: str, name: str) -> str:
    return f"{kind}.`{name}`"


def _generated(name: str) -> str:
    """Return MLflow's own identifier of a chart or a group of charts."""
    return f"autogen-{name}"
