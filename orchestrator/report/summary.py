"""The content of a report. Terminal, page and JSON are views of it."""

import math
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from orchestrator.core.data import DataSummary, class_names
from orchestrator.core.sweeps.control import ControlRequest
from orchestrator.core.sweeps.plan import EngineName
from orchestrator.core.sweeps.sweep import SweepRecord
from orchestrator.core.system.environment import PROGRAM
from orchestrator.core.trials.ranking import of_the_search, start_trials
from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.evaluation.scores.learning_curve import LearningCurve, learning_curve
from orchestrator.evaluation.scores.winner_score import CorrectedScore, corrected_winner
from orchestrator.ledger.home import sweep_dir
from orchestrator.report.confirmation import ConfirmedScore, confirmation_scores
from orchestrator.report.goal_lines import goal_lines
from orchestrator.report.kept_adapters import comparison_json, kept_adapters
from orchestrator.report.leaderboard import Leaderboard, leaderboard, metric_of
from orchestrator.report.learning_curve import learning_curve_json
from orchestrator.report.quality import Quality, quality
from orchestrator.report.search_gain import SearchGain, search_gain
from orchestrator.report.time_use import TimeUse, time_use
from orchestrator.report.unfinished import unfinished_answers
from orchestrator.search.memory_limits import MemoryLimits


@dataclass(frozen=True, kw_only=True, slots=True)
class Importances:
    """Importance of each parameter in [0, 1].

    Attributes:
        values: importance by parameter; empty if it is unknown.
        note: the rung, or the reason for missing values.
        trials: number of trials compared; None: unknown.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    note: str | None = None
    trials: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """Results of one sweep.

    Attributes:
        search_gain: the best proposal beside the best start point; None if it is unknown.
        winner_score: the winner's validation score, corrected for its choice; None if it is unknown, or if fresh seeds
            say more.
        confirmation: the configurations trained again with fresh seeds, the best first.
        learning_curve: the winner's configuration on shares of its training rows; None without such trainings.
        out_of_memory: the trials that ran out of memory, with their sizes, as a sentence; None without such a trial.
        data: number of rows by split.
        data_summary: counts of rows used, omitted and truncated.
        states: number of the search's trials by state.
        tokens: training tokens of all trials, without padding.
        quality: slices and calibration of the kept adapters, and suspected label errors.
        requests: the requests of users, such as to stop a trial, with their answers.
        notes: one sentence for each part missing after a failure, such as ``no baseline: …``, and for answers that the
            time limit ended.
    """

    sweep: SweepRecord
    records: tuple[TrialRecord, ...]
    leaderboard: Leaderboard
    search_gain: SearchGain | None
    winner_score: CorrectedScore | None
    confirmation: tuple[ConfirmedScore, ...]
    out_of_memory: str | None
    importances: Importances
    time: TimeUse | None
    data: Mapping[str, int]
    states: Mapping[TrialState, int]
    tokens: int
    data_summary: DataSummary = field(default_factory=DataSummary)
    quality: Quality = field(default_factory=Quality)
    requests: tuple[ControlRequest, ...] = ()
    notes: tuple[str, ...] = ()
    learning_curve: LearningCurve | None = None

    @property
    def pair_column(self) -> str | None:
        """The column of a row's second text, for text pairs and for the contexts of questions; else None."""
        plan = self.sweep.facts.engine_plan
        if plan is None:
            return None
        columns = plan.data.columns
        return columns.get("context", "context") if plan.objective == "extractive_qa" else columns.get("text_pair")

    @property
    def quality_lines(self) -> list[tuple[str, str]]:
        """Pairs of a name and a sentence on the quality of the winner and of the rows."""
        best = self.leaderboard.best
        lines = self.quality.lines(None if best is None else best.number)
        return [*goal_lines(self.records, self.leaderboard.metric), *lines]


def summarise(
    sweep: SweepRecord,
    records: Sequence[TrialRecord],
    importances: Importances | None = None,
    *,
    requests: Sequence[ControlRequest] = (),
) -> Summary:
    """Return the summary of a sweep, running or not. The test rows of the kept adapters are read from its folder."""
    metric = metric_of(sweep)
    training_rows = sweep.facts.rows.get("train")
    kept = kept_adapters(sweep_dir(sweep), records, metric, training_rows, sweep.facts.prefer)
    measured = quality(sweep_dir(sweep), records, metric, class_names(sweep.facts.data_summary))
    limit = measured.label_limits.get(metric.name)
    board = leaderboard(records, metric, sweep.facts.baseline, sweep.status, kept, limit)
    plan = sweep.facts.engine_plan
    folds = None if plan is None else plan.data.folds
    confirmation = confirmation_scores(sweep_dir(sweep), records, metric, training_rows, folds)
    return Summary(
        sweep=sweep,
        records=tuple(records),
        leaderboard=board,
        search_gain=search_gain(board, start_trials(records, sweep.facts.start_points)),
        winner_score=None if confirmation else corrected_winner(sweep_dir(sweep), records, metric, training_rows),
        confirmation=confirmation,
        out_of_memory=MemoryLimits(records).sentence,
        importances=importances or Importances(),
        time=_time_use(sweep, records),
        data=sweep.facts.rows,
        states=Counter(record.state for record in of_the_search(records)),
        notes=(*sweep.facts.notes.values(), *unfinished_answers(records, sweep.facts.baseline)),
        tokens=sum(round(record.reports[-1].metrics.get("progress/tokens", 0)) for record in records if record.reports),
        data_summary=sweep.facts.data_summary,
        quality=measured,
        learning_curve=learning_curve(sweep_dir(sweep), records, metric, training_rows or 0),
        requests=tuple(requests),
    )


def elapsed_of(sweep: SweepRecord) -> float:
    """Return the wall time of all drivers of a sweep in seconds, including the first driver's start-up."""
    return sweep.elapsed_s + sweep.facts.startup_s


def _time_use(sweep: SweepRecord, records: Sequence[TrialRecord]) -> TimeUse | None:
    plan = sweep.facts.engine_plan
    together = plan is not None and plan.engine is EngineName.PACKED
    return time_use(records, elapsed_of(sweep), sweep.facts.closings, together=together)


def predict_inputs(pair_column: str | None) -> str:
    """Return the example inputs of a ``predict`` command.

    Args:
        pair_column: column of a row's second text; None: rows have one text.
    """
    return '"some text"' if pair_column is None else f"--file ROWS.csv --pair-column {shlex.quote(pair_column)}"


def next_commands(
    name: str,
    best: int | None,
    *,
    pair_column: str | None = None,
    program: str = PROGRAM,
    place: str = "",
    below_baseline: bool = False,
    of_function: bool = False,
) -> tuple[tuple[str, str], ...]:
    """Return pairs of a purpose and a command for the next steps.

    Args:
        name: the sweep's name or reference.
        best: the winner's number; None without a winner.
        pair_column: see ``predict_inputs``.
        program: the command which starts this program.
        place: options of ``predict`` for the registry's location, with a leading space.
        below_baseline: whether the winner needs ``promote --force``.
        of_function: whether a function trained it, so that ``predict`` cannot load it.
    """
    quoted = f"'{name}'" if "#" in name else name
    model = name.partition("#")[0]
    browse = (
        ("explain the results", f"{program} explain {quoted}"),
        ("browse in MLflow", f"{program} ui {quoted} --open"),
    )
    if best is None:
        return browse
    forced = ' --force --reason "WHY"' if below_baseline else ""
    purpose = "register the winner" + (", although the baseline is better" if below_baseline else "")
    register = (purpose, f"{program} promote {quoted}{forced}")
    if of_function:
        return (*browse, register, ("export the checkpoint", f"{program} export {quoted} ./{model}-model"))
    return (
        *browse,
        register,
        ("predict with it", f"{program} predict {model} {predict_inputs(pair_column)}{place}"),
        ("export as PEFT folder", f"{program} export {quoted} ./{model}-adapter"),
    )


def as_json(summary: Summary) -> dict[str, Any]:
    """Return the summary as plain JSON values."""
    sweep, board = summary.sweep, summary.leaderboard
    plain = {
        "sweep": sweep.reference,
        "status": sweep.status.value,
        "metric": {"name": board.metric.name, "direction": board.metric.direction.value},
        "best": None if board.best is None else board.best.number,
        "leaderboard": [asdict(row) for row in board.rows],
        "varied": board.varied,
        "baseline": board.baseline,
        "test_comparison": comparison_json(board.comparison, board.best_compared),
        "quality": summary.quality.to_json(),
        "search_gain": None if summary.search_gain is None else summary.search_gain.sentence,
        "winner_score": None if summary.winner_score is None else asdict(summary.winner_score),
        "confirmation": [{**asdict(score), "sentence": score.sentence} for score in summary.confirmation],
        "confirmation_reason": sweep.facts.confirmation,
        "learning_curve": None if summary.learning_curve is None else learning_curve_json(summary.learning_curve),
        "out_of_memory": summary.out_of_memory,
        "prior": sweep.facts.prior,
        "importances": {"values": summary.importances.values, "note": summary.importances.note},
        "time": None if summary.time is None else asdict(summary.time),
        "data": summary.data,
        "data_summary": asdict(summary.data_summary),
        "trials": {state.value: number for state, number in summary.states.items()},
        "tokens": summary.tokens,
        "requests": [request.to_json() for request in summary.requests],
        "notes": summary.notes,
    }
    return dict(jsonable(plain))


def jsonable(value: Any) -> Any:  # noqa: ANN401  (any plain value)
    """Return ``value`` as JSON values: tuples become lists, NaN and infinities become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value
