"""The charts of the report page, made with Plotly. Each function returns a chart, or None without data for it."""

from collections.abc import Callable

from orchestrator.report.charts.chart import Chart
from orchestrator.report.charts.classes import class_bars, confusion
from orchestrator.report.charts.curves import learning_curves, loss_curves
from orchestrator.report.charts.parameters import importances, parallel_coordinates
from orchestrator.report.charts.quality import gap_and_score, pareto_front, splits
from orchestrator.report.charts.rows import calibration, slices
from orchestrator.report.charts.search import best_so_far, survival
from orchestrator.report.charts.targets import targets
from orchestrator.report.charts.training_rows import training_rows
from orchestrator.report.summary import Summary

CHARTS: dict[str, Callable[[Summary], Chart | None]] = {
    "best_so_far": best_so_far,
    "learning_curves": learning_curves,
    "loss_curves": loss_curves,
    "parallel_coordinates": parallel_coordinates,
    "importances": importances,
    "survival": survival,
    "gap_and_score": gap_and_score,
    "pareto_front": pareto_front,
    "splits": splits,
    "training_rows": training_rows,
    "class_scores": class_bars,
    "confusion": confusion,
    "targets": targets,
    "slices": slices,
    "calibration": calibration,
}
"""All charts by name, in the order of the page."""
