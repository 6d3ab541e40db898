"""Charts of the search: its best value over training samples, and the trials left at each report."""

from collections.abc import Sequence

from orchestrator.core.sweeps.sweep import state_word
from orchestrator.core.trials.ranking import of_the_search, start_trials
from orchestrator.core.trials.trial import TrialState
from orchestrator.report import words
from orchestrator.report.charts.chart import CYCLE, MUTED, STATE_COLOURS, Chart, figure, plain, state_points
from orchestrator.report.search_progress import Progress, Stage, TrialBest, progress, stages
from orchestrator.report.summary import Summary

_MOST_STAGES = 24
"""Most report points in the chart; with more, points reached by a single trial are left out."""


def best_so_far(summary: Summary) -> Chart | None:
    """Draw the best value so far over the training samples of all trials, and the best value of each trial."""
    from plotly import graph_objects as go

    metric = summary.leaderboard.metric
    course = progress(of_the_search(summary.records), metric)
    if not course.trials:
        return None
    name = words.short(metric.name)
    steps = [*course.improvements]
    line = go.Scatter(
        x=[*(step.spent for step in steps), course.spent],
        y=[*(step.value for step in steps), steps[-1].value],
        mode="lines",
        line={"shape": "hv", "color": CYCLE[0], "width": 2},
        name="best so far",
        hoverinfo="skip",
    )
    traces = [line, *_trial_points(summary, course)]
    first = start_trials(summary.records, summary.sweep.facts.start_points)
    start = [one for one in course.trials if one.trial in first]
    if start:
        ring = {"symbol": "diamond-open", "size": 15, "color": CYCLE[3], "line": {"width": 2}}
        place = {"x": [one.spent for one in start], "y": [one.value for one in start]}
        traces.append(go.Scatter(**place, mode="markers", marker=ring, name="start point", hoverinfo="skip"))
    baseline = (summary.leaderboard.baseline or {}).get(metric.name)
    if baseline is not None:
        dashed = {"dash": "dash", "color": MUTED, "width": 1.5}
        ends = {"x": [0, course.spent], "y": [baseline, baseline], "mode": "lines"}
        traces.append(go.Scatter(**ends, line=dashed, name="baseline", hoverinfo="skip"))
    axes = {
        "xaxis": {"title": "training samples of all trials", "rangemode": "tozero"},
        "yaxis": {"title": plain(name)},
    }
    drawn = figure(traces, height=380, **axes)
    return Chart(title="Best value so far", message=_progress_message(summary, course, start), figure=drawn, wide=True)


def _trial_points(summary: Summary, course: Progress) -> list[object]:
    """Return one trace of points for each state."""
    by_number = {record.number: record for record in summary.records}
    first = start_trials(summary.records, summary.sweep.facts.start_points)
    traces: list[object] = []
    for state in TrialState:
        here = [one for one in course.trials if by_number[one.trial].state is state]
        if not here:
            continue
        word = state_word(state, summary.sweep.status)
        points = [
            (
                one.spent,
                one.value,
                plain(
                    f"trial {one.trial}{', start point' if one.trial in first else ''}, "
                    f"{word}: {words.number(one.value)} after {one.spent:,} samples of all trials"
                ),
            )
            for one in here
        ]
        traces.append(state_points(state, word, points))
    return traces


def _progress_message(summary: Summary, course: Progress, start: Sequence[TrialBest]) -> str:
    metric, last = summary.leaderboard.metric, course.improvements[-1]
    message = (
        f"The best {words.short(metric.name)} of the search, {words.number(last.value)}, is of trial {last.trial}, "
        f"reached after {words.percent(last.spent / course.spent)} of {course.spent:,} training samples."
    )
    if not start:
        return message
    first = min(start, key=lambda one: metric.sort_key(one.value))
    if any(one.trial == last.trial for one in start):
        return f"{message} It is a start point: no proposal was better."
    return f"{message} The best start point, trial {first.trial}, reached {words.number(first.value)}."


def survival(summary: Summary) -> Chart | None:
    """Draw the number of trials at each report point: those with later reports, and those ended there by state."""
    from plotly import graph_objects as go

    found = stages(of_the_search(summary.records))
    if len(found) > _MOST_STAGES:
        found = tuple(stage for stage in found if stage.reached > 1)[:_MOST_STAGES]
    if not found:
        return None
    points = [f"{stage.samples:,}" for stage in found]
    groups = [("continued", CYCLE[0], [stage.passed for stage in found])]
    for state in TrialState:
        counts = [stage.ended.get(state, 0) for stage in found]
        if any(counts):
            groups.append((state_word(state, summary.sweep.status), STATE_COLOURS[state], counts))
    bars = [
        go.Bar(
            x=points,
            y=counts,
            name=name,
            marker={"color": colour},
            text=[
                plain(f"{count} of {stage.reached} trials at {point} samples: {name}")
                for count, stage, point in zip(counts, found, points, strict=True)
            ],
            textposition="none",
            hovertemplate="%{text}<extra></extra>",
        )
        for name, colour, counts in groups
    ]
    axes = {"xaxis": {"title": "training samples of a trial", "type": "category"}, "yaxis": {"title": "trials"}}
    drawn = figure(bars, height=320, barmode="stack", bargap=0.35, **axes)
    return Chart(title="Trials at each report", message=_survival_message(found), figure=drawn)


def _survival_message(found: Sequence[Stage]) -> str:
    first, last = found[0], found[-1]
    pruned = {stage.samples: stage.ended.get(TrialState.PRUNED, 0) for stage in found}
    message = f"{first.reached} trials reported at {first.samples:,} samples, {last.reached} at {last.samples:,}."
    if not any(pruned.values()):
        return f"{message} No trial was stopped early."
    most, total = max(pruned, key=lambda samples: pruned[samples]), sum(pruned.values())
    stopped = "1 was" if total == 1 else f"{total} were"
    where = f"at {most:,}" if pruned[most] == total else f"most of them ({pruned[most]}) at {most:,}"
    return f"{message} {stopped} stopped early, {where}."
