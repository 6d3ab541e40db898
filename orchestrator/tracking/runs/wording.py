"""The texts of runs: names, parameters, tags and Markdown descriptions. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence

from orchestrator.core.metric import Metric
from orchestrator.core.space import ParamValue, format_value
from orchestrator.core.sweeps.control import ControlRequest
from orchestrator.core.sweeps.goal import Goal
from orchestrator.core.sweeps.sweep import SweepRecord, SweepStatus, state_word
from orchestrator.core.trials.ranking import front, of_the_search, ranked_by_result
from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.tracking.runs.description import SweepDescription, sweep_key

SWEEP_TAG = "loratory.sweep"
TRIAL_TAG = "loratory.trial"
"""The tags for finding runs and models; the parent run has no ``TRIAL_TAG``."""
FRESH_TAG = "loratory.fresh_seed"
"""Instead of ``TRIAL_TAG``, the number of a training with a fresh seed: lists of trials leave it out."""

NOTE_TAG = "mlflow.note.content"
PARENT_TAG = "mlflow.parentRunId"


def best_name(metric: Metric) -> str:
    """Return the summary metric of the best value of ``metric``: ``best_val_loss`` for ``val/loss``."""
    return f"best_{metric.name.replace('/', '_', 1)}"


def trial_name(number: int) -> str:
    """Return a trial's name; names sort by number up to 999."""
    return f"trial-{number:03d}"


def texts(values: Mapping[str, ParamValue]) -> dict[str, str]:
    """Return every value as text."""
    return {name: format_value(value) for name, value in values.items()}


def trial_params(trial: TrialRecord, description: SweepDescription) -> dict[str, str]:
    """Return the searched and the fixed settings of a trial, without defaults."""
    return texts({**description.fixed, **trial.params, "seed": trial.seed})


def trial_tags(trial: TrialRecord, sweep: SweepRecord, description: SweepDescription) -> dict[str, str]:
    """Return the changing tags of a trial's run."""
    tags = {"state": state_word(trial.state, sweep.status), "sweep": sweep.reference}
    if trial.reason:
        tags["reason"] = trial.reason
    if isinstance(description.metric, Goal) and description.metric.constraints and trial.ended:
        tags["within_constraints"] = "yes" if trial.violation(description.metric) == 0 else "no"
    if trial.confirms is not None:
        tags["confirms"] = trial_name(trial.confirms)
    if trial.fold is not None:
        tags["fold"] = str(trial.fold)
    if trial.share is not None:
        tags["share_of_rows"] = f"{trial.share:g}"
    if trial.origin is not None:
        tags["origin"] = trial.origin
    return tags | {NOTE_TAG: _trial_note(trial, sweep, description)}


def sweep_tags(
    sweep: SweepRecord,
    trials: Sequence[TrialRecord],
    description: SweepDescription,
    requests: Sequence[ControlRequest] = (),
) -> dict[str, str]:
    """Return the changing tags of the parent run."""
    tags = {"state": sweep.status.value, "sweep": sweep.reference}
    leaders = ranked_by_result((trial for trial in trials if trial.ended), description.metric)[:5]
    if leaders:
        tags["best_trial"] = trial_name(leaders[0].number)
        tags["best_params"] = _assignments(leaders[0].params)
    if len(description.metric.metrics) > 1:
        tags["pareto_front"] = ", ".join(trial_name(number) for number in sorted(front(trials, description.metric)))
    states = Counter(trial.state for trial in of_the_search(trials))
    note = _sweep_note(sweep, states, leaders, description)
    if requests:
        note += "\n\nRequests:\n\n" + "\n".join(f"- {request.sentence}" for request in requests)
    return tags | {NOTE_TAG: note}


def run_status(state: TrialState, sweep: SweepStatus) -> str:
    """Return MLflow's status of a trial's run. A pruned trial is FINISHED; its ``state`` tag says pruned."""
    if state is TrialState.RUNNING:
        # Suspended by the end of the driver or a spent budget; it resumes with the sweep.
        return "RUNNING" if sweep is SweepStatus.RUNNING else "SCHEDULED"
    return "FAILED" if state is TrialState.FAIL else "FINISHED"


def sweep_run_status(status: SweepStatus) -> str:
    """Return MLflow's status of the parent run; an interrupted sweep is SCHEDULED."""
    return {
        SweepStatus.RUNNING: "RUNNING",
        SweepStatus.INTERRUPTED: "SCHEDULED",
        SweepStatus.FINISHED: "FINISHED",
    }[status]


def run_name(trial: TrialRecord) -> str:
    """Return the name of a trial's run; that of a training with a fresh seed names the configuration's trial."""
    name = trial_name(trial.number)
    if trial.confirms is None:
        # MLflow shows it with the green tick of a finished run, in charts without any other word.
        return f"{name} (pruned)" if trial.state is TrialState.PRUNED else name
    kind = "fresh seed" if trial.fold is None else f"fold {trial.fold}"
    if trial.share is not None:
        kind = f"{100 * trial.share:g} % of the rows"
    return f"{name} ({kind} of {trial_name(trial.confirms)})"


def parent_tags(sweep: SweepRecord) -> dict[str, str]:
    """Return the tags of a new run of a sweep."""
    return {SWEEP_TAG: sweep_key(sweep)}


def child_tags(sweep: SweepRecord, trial: TrialRecord, parent: str) -> dict[str, str]:
    """Return the tags of a trial's new run under the run ``parent``."""
    number = TRIAL_TAG if trial.confirms is None else FRESH_TAG
    return {SWEEP_TAG: sweep_key(sweep), number: str(trial.number), PARENT_TAG: parent}


def _assignments(params: Mapping[str, ParamValue]) -> str:
    return ", ".join(f"{name}={value}" for name, value in texts(params).items())


def _trial_note(trial: TrialRecord, sweep: SweepRecord, description: SweepDescription) -> str:
    metric = description.metric
    lines = [f"**{trial_name(trial.number)}** of {sweep.reference}: {state_word(trial.state, sweep.status)}"]
    if trial.confirms is not None:
        lines[0] += f", the configuration of {trial_name(trial.confirms)} with a fresh seed"
    if trial.fold is not None:
        lines[0] += f" on fold {trial.fold} of the rows"
    if trial.share is not None:
        lines[0] += f" on {100 * trial.share:g} % of the rows, for the learning curve"
    if trial.origin is not None:
        lines[0] += f", a {trial.origin}"
    if trial.reason:
        lines[0] += f" ({trial.reason})"
    best = trial.best(metric)
    if best is not None:
        lines += ["", f"Best {metric.name} {trial.result(metric):.4f} at {best.nominal_samples:,} samples."]
    lines += ["", "| parameter | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in texts(trial.params).items()]
    return "\n".join(lines)


def _sweep_note(
    sweep: SweepRecord,
    states: Mapping[TrialState, int],
    leaders: Sequence[TrialRecord],
    description: SweepDescription,
) -> str:
    metric = description.metric
    counts = ", ".join(
        f"{states[state]} {state_word(state, sweep.status)}" for state in TrialState if states.get(state)
    )
    # MLflow's page folds a description after a few lines, so the result comes first.
    search = f"**{sweep.reference}** searches {metric.name} ({metric.direction.value})"
    lines = [f"{search}; {sweep.status.value}: {counts or 'no trial yet'}.", ""]
    if leaders:
        lines += [f"Best {metric.name}: {leaders[0].result(metric):.4f}, {trial_name(leaders[0].number)}.", ""]
    if description.notes:
        lines += [description.notes.strip(), ""]
    if leaders:
        lines += [f"| trial | {metric.name} | samples | configuration |", "|---|---|---|---|"]
    for trial in leaders:
        best = trial.best(metric)
        assert best is not None  # ranked_by_result omits trials without a score
        row = (trial_name(trial.number), f"{trial.result(metric):.4f}", f"{best.nominal_samples:,}")
        lines.append(f"| {' | '.join(row)} | {_assignments(trial.params)} |")
    if leaders:
        lines += ["", f"Register the winner: `python -m orchestrator promote '{sweep.reference}'`"]
    return "\n".join(lines)
