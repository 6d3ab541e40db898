"""Write the reports of a pack's trials; trials with the same rows are measured together."""

import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from orchestrator.core.trials.trial import TrialTask
from orchestrator.evaluation.gap import gaps
from orchestrator.evaluation.generation.answers import score
from orchestrator.evaluation.shift import shift_metrics
from orchestrator.objective.protocol import generation_metrics
from orchestrator.training.context import EngineContext
from orchestrator.training.packed.execution.slot_trial import SlotTrial
from orchestrator.training.packed.execution.stepper import Stepper
from orchestrator.training.process.memory import peak_mb

MeasureGeneral: TypeAlias = Callable[[Path, TrialTask], Mapping[str, float]]
"""Returns the metrics of forgetting of a folder with an adapter."""


def write_reports(
    trials: Iterable[SlotTrial], stepper: Stepper, context: EngineContext, measure_general: MeasureGeneral
) -> None:
    """Measure the trials at a report point, and commit their reports."""
    due = {trial: points for trial in trials if trial.batches == 0 and (points := _points_without_report(trial))}
    with_same_rows: dict[Hashable, list[SlotTrial]] = {}
    for trial in due:
        with_same_rows.setdefault(trial.task.rows_key, []).append(trial)
    for group in with_same_rows.values():
        measured = _measured(group, stepper, context.device)
        answers = _answered({trial: due[trial] for trial in group}, stepper, context)
        early = _early({trial: due[trial] for trial in group}, stepper, context, measure_general)
        for trial, metrics in zip(group, measured, strict=True):
            written = answers.get(trial, {})
            more, seconds = early[trial]
            spent = metrics["time/eval_s"] + written.get("time/generation_s", 0.0) + seconds
            trial.commit(due[trial], {**metrics, **written, **more, "time/eval_s": spent})


def _early(
    due: Mapping[SlotTrial, list[int]], stepper: Stepper, context: EngineContext, measure_general: MeasureGeneral
) -> dict[SlotTrial, tuple[dict[str, float], float]]:
    """Return the metrics of shift sets and of forgetting that early stopping needs, with their seconds, by trial.

    All trials have the same rows. Forgetting is measured in float32 by a plain model with the trial's adapter alone, as
    at the end of a trial.
    """
    found: dict[SlotTrial, tuple[dict[str, float], float]] = {trial: ({}, 0.0) for trial in due}
    trials = [trial for trial, points in due.items() if context.shift_due(points)]
    began = time.perf_counter()
    if trials:
        context.add_references(trials[0].task.settings)  # trials of another length have replaced the rows
    by_set = {
        name: stepper.measure(trials, context.data.measured(name, trials[0].task))
        for name in (context.shift_due(due[trials[0]]) if trials else ())
    }
    seconds_each = (time.perf_counter() - began) / max(1, len(trials))
    for place, trial in enumerate(trials):
        by_name = {name: measured[place].metrics for name, measured in by_set.items()}
        found[trial] = shift_metrics(by_name, seconds_each), seconds_each
    for trial, points in due.items():
        if context.general_due(points):
            began = time.perf_counter()
            metrics, seconds = found[trial]
            metrics |= measure_general(trial.written_adapter(), trial.task)
            found[trial] = metrics, seconds + time.perf_counter() - began
    return found


def _answered(
    due: Mapping[SlotTrial, list[int]], stepper: Stepper, context: EngineContext
) -> dict[SlotTrial, dict[str, float]]:
    """Return the metrics of answers, by trial that writes some at one of its points; all have the same rows."""
    plan = context.generation
    trials = [trial for trial, points in due.items() if context.answers_due(trial.task, points)]
    if plan is None or not trials:
        return {}
    began, names = time.perf_counter(), generation_metrics(context.objective)
    rows = context.data.answer_rows("validation", trials[0].task, plan.rows)
    written = stepper.write(trials, rows.prompts, plan.max_new_tokens, plan.time_limit_s)
    scored = [score(answers, rows.references, names).metrics for answers in written]
    seconds_each = (time.perf_counter() - began) / len(trials)
    return {
        trial: {**{f"val/{name}": value for name, value in metrics.items()}, "time/generation_s": seconds_each}
        for trial, metrics in zip(trials, scored, strict=True)
    }


def _points_without_report(trial: SlotTrial) -> list[int]:
    """Return the report points after the current update without a report on disk."""
    due = trial.update_plan.due.items()
    return [point for point, update in due if update == trial.update and not trial.folder.report(point)]


def _measured(trials: list[SlotTrial], stepper: Stepper, device: str) -> list[dict[str, float]]:
    began = time.perf_counter()
    validation = stepper.measure(trials, trials[0].update_plan.splits["val"])
    train = stepper.measure(trials, trials[0].update_plan.splits["train"])
    seconds_each = (time.perf_counter() - began) / len(trials)
    return [
        {
            **{f"val/{name}": value for name, value in val.metrics.items()},
            **{f"train/{name}": value for name, value in fit.metrics.items()},
            **gaps(val.metrics, fit.metrics),
            **trial.progress(),
            "memory/peak_mb": peak_mb(device),
            "time/eval_s": seconds_each,
        }
        for trial, val, fit in zip(trials, validation, train, strict=True)
    ]
