"""Live table and plain lines, driven by events."""

import io
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.cli.lines import Lines
from orchestrator.cli.live import RESERVED_LINES, LiveView
from orchestrator.cli.progress import Progress
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.control import Answer, ControlKind, ControlRequest, Limits
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.sweeps.policy import Budget
from orchestrator.core.trials.timetable import Timetable
from orchestrator.core.trials.trial import Action, Decision, TrialRecord, TrialState
from orchestrator.report.leaderboard import leaderboard
from orchestrator.training.checkpoints.heartbeat import Heartbeat
from orchestrator.training.checkpoints.trial_folder import TrialFolder
from tests.counting import counted, record_reads
from tests.report.examples import make_records

METRIC = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def progress(budget: Budget, clock: Clock, before_s: float = 0.0) -> Progress:
    return Progress(metric=METRIC, budget=budget, timetable=Timetable(points=(8000,)), before_s=before_s, clock=clock)


def running(number: int, reports: int) -> TrialRecord:
    record = make_records()[number]
    return replace(record, state=TrialState.RUNNING, reports=record.reports[:reports], ended_at=None)


def drawn(view: LiveView, width: int = 120, height: int = 40) -> str:
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(view)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_requests_change_budget_and_clock() -> None:
    clock, lines = Clock(), list[str]()
    state = progress(Budget(trials=4), clock)
    state.update(make_records()[0])
    live, plain = LiveView(state, Console(file=io.StringIO())), Lines(state, lines.append)
    pause = ControlRequest(
        id=1, kind=ControlKind.PAUSE, by="anna@lab", at=0.0, reason="lunch", answer=Answer.DONE, outcome="at rest"
    )
    plain.answered(pause)
    assert lines[0].endswith("pause (anna@lab: lunch): at rest")
    assert "paused by anna@lab: lunch" in drawn(live)
    clock.now += 3600
    live.answered(replace(pause, kind=ControlKind.RESUME, outcome="the sweep continues"))
    assert "paused" not in drawn(live)
    assert state.elapsed_s == 0.0
    live.answered(replace(pause, kind=ControlKind.EXTEND, limits=Limits(trials=6)))
    assert state.tally.startswith("1 of 6 trials")


def test_fraction_counts_partial_trials() -> None:
    clock = Clock()
    state = progress(Budget(trials=4), clock)
    assert (state.fraction, state.remaining_s) == (0.0, None)
    state.update(make_records()[0], running(1, 3))  # one whole trial, and half of another
    clock.now += 60
    assert state.fraction == pytest.approx(1.5 / 4)
    assert state.remaining_s == pytest.approx(100)


def test_remaining_time_expects_continued_trials_to_finish() -> None:
    clock = Clock()
    state = progress(Budget(trials=5), clock)
    short = replace(make_records()[0], reports=make_records()[0].reports[:1])  # 1,333 of 8,000 samples
    go_on = Decision(trial=1, nominal_samples=4000, action=Action.CONTINUE)
    state.update(short, replace(short, number=2), replace(running(1, 3), decisions={4000: go_on}), running(3, 0))
    clock.now += 60
    # Remaining: 4,000 samples of the continued trial, two new trials of mean length 1,333. Trained: 2 x 1,333 + 4,000.
    assert state.remaining_s == pytest.approx(60 * (4000 + 2 * 1333) / (2 * 1333 + 4000), rel=0.001)
    state.update(running(1, 3))  # it waits for its decision
    assert state.remaining_s == pytest.approx(60 * 2 * 1333 / (2 * 1333 + 4000), rel=0.001)


def test_closing_step_is_shown_below_table() -> None:
    view = LiveView(progress(Budget(trials=12), Clock()), Console(file=io.StringIO()))
    view.trial_started(running(1, 0))
    view.say("measuring")
    assert "measuring" not in drawn(view)
    for record in make_records():
        view.trial_ended(record)
    assert "measuring" in drawn(view)


def test_largest_spent_fraction_counts() -> None:
    clock = Clock()
    state = progress(Budget(trials=100, wall_time_s=100, tokens=1_000_000), clock, before_s=30)
    clock.now += 20
    assert (state.fraction, state.remaining_s) == (0.5, 50)
    state.update(*make_records())
    assert state.fraction == 1.0  # 1.5 million tokens


def test_remaining_time_unknown_at_start_and_end() -> None:
    state = progress(Budget(trials=len(make_records()), wall_time_s=1000), Clock())
    assert state.remaining_s is None
    state.update(*make_records())
    assert (state.fraction, state.remaining_s) == (1.0, None)
    assert progress(Budget(wall_time_s=1000), Clock()).remaining_s == 1000


def test_undecided_trial_is_shown_waiting() -> None:
    view = LiveView(progress(Budget(trials=16), Clock()), Console(file=io.StringIO()))
    trial = running(1, 2)
    at = trial.reports[-1].nominal_samples
    go_on = Decision(trial=1, nominal_samples=at, action=Action.CONTINUE)
    for decisions, message in (({at: go_on}, "running"), ({}, "waiting")):
        view.reported(replace(trial, decisions=decisions), trial.reports[-1])
        assert message in drawn(view)


def test_running_trials_precede_ranked_trials() -> None:
    state = progress(Budget(trials=12), Clock())
    state.update(*make_records()[:10], running(10, 1), running(11, 1))
    assert [trial.number for trial in state.trials][:4] == [11, 10, 7, 2]
    assert state.best is not None
    assert state.best.number == 7


def test_live_view_shows_progress() -> None:
    clock = Clock()
    view = LiveView(progress(Budget(trials=16), clock), Console(file=io.StringIO()))
    assert "reading data" in drawn(view)
    for record in make_records()[:10]:
        view.trial_ended(record)
    view.trial_started(running(10, 0))
    started = running(11, 2)
    view.reported(started, started.reports[-1])
    clock.now += 300
    text = drawn(view)
    for word in (
        "running",
        "2,667",
        "10 of 16 trials",
        "5 min 00 s",
        "left",
        "best so far: val/accuracy 0.8406, trial 7",
    ):
        assert word in text


@pytest.mark.parametrize(("width", "height"), [(80, 12), (60, 24), (200, 50)])
def test_live_view_fits_the_screen(width: int, height: int) -> None:
    view = LiveView(progress(Budget(trials=99), Clock()), Console(file=io.StringIO()))
    for copy in range(4):
        for record in make_records():
            view.trial_ended(replace(record, number=record.number + 12 * copy))
    lines = drawn(view, width, height).splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert (f"and {48 - max(3, height - RESERVED_LINES)} more" in "\n".join(lines)) == (height - RESERVED_LINES < 48)


def test_live_view_names_hidden_columns() -> None:
    view = LiveView(progress(Budget(trials=12), Clock()), Console(file=io.StringIO()))
    for record in make_records():
        view.trial_ended(record)
    assert "hidden: terminal too narrow (see the report): " in drawn(view, 80)
    assert "hidden" not in drawn(view, 140)


def test_cost_of_drawing_does_not_grow_with_trials() -> None:
    message, work = list[str](), []
    for copies in (5, 20):
        state = progress(Budget(trials=10**6), Clock())
        view, lines = LiveView(state, Console(file=io.StringIO())), Lines(state, message.append)
        for copy in range(copies):
            state.update(*(counted(replace(record, number=record.number + 12 * copy)) for record in make_records()))
        record = counted(replace(running(3, 2), number=12 * copies))
        with record_reads() as reads:
            lines.reported(record, record.reports[-1])
            lines.trial_ended(replace(record, state=TrialState.PRUNED))
            drawn(view)
        work.append(reads.count)
    assert work[0] == work[1] > 0


def test_varied_parameters_match_leaderboard() -> None:
    state = progress(Budget(trials=9), Clock())
    records = make_records()
    state.update(records[0])
    assert state.varied == tuple(records[0].params)
    conditional = replace(records[2], params={**records[2].params, "lora_plus_ratio": 4.0})
    state.update(records[1], conditional, *records[3:])
    assert state.varied == leaderboard([records[0], records[1], conditional, *records[3:]], state.metric).varied
    assert "lora_plus_ratio" in state.varied


def test_each_event_writes_one_line() -> None:
    message: list[str] = []
    view = Lines(progress(Budget(trials=2), Clock()), message.append)
    record = make_records()[0]
    view.trial_started(replace(running(0, 0)))
    view.reported(running(0, 1), record.reports[0])
    view.decided(running(0, 1), Decision(trial=0, nominal_samples=1333, action=Action.CONTINUE))
    view.trial_ended(replace(record, reason="its budget is trained"))
    assert [line.split(" ", 1)[1].split(":")[0] for line in message] == [
        "trial 0 started",
        "trial 0 at 1,333 samples",
        "trial 0 ended complete",
    ]
    assert "rank=32" in message[0]
    assert "its budget is trained; best val/accuracy 0.8213, the best so far [1/2]" in message[2]


def test_tally_names_trainings_after_the_search() -> None:
    state = progress(Budget(trials=1), Clock())
    first = make_records()[0]
    fresh = [replace(first, number=number, confirms=0) for number in (1, 2)]
    on_curve = [replace(first, number=number, confirms=0, share=0.25) for number in (3, 4, 5)]
    state.update(first, *fresh, *on_curve[:2], replace(on_curve[2], state=TrialState.RUNNING, ended_at=None))
    assert state.tally.startswith("1 of 1 trials · 2 of 2 fresh seeds · 2 of 3 trainings for the learning curve · ")


def test_spent_time_suspends_trials_and_shows_the_closing_step() -> None:
    clock = Clock()
    state = progress(Budget(trials=4, wall_time_s=60.0), clock)
    view = LiveView(state, Console(file=io.StringIO()))
    view.trial_started(running(1, 3))
    view.say("measuring")
    assert "measuring" not in drawn(view)
    clock.now += 61
    shown = drawn(view)
    assert state.tally.endswith(" · time spent, unfinished trials suspended")
    assert all(words in shown for words in ("suspended", "measuring"))


def test_resumed_trial_shows_its_samples() -> None:
    message: list[str] = []
    Lines(progress(Budget(trials=2), Clock()), message.append).trial_started(running(0, 2))
    assert "resumed at 2,667 samples" in message[0]


def test_closed_output_does_not_stop_sweep() -> None:
    def closed(line: str) -> None:
        raise BrokenPipeError(line)

    view = Lines(progress(Budget(trials=2), Clock()), closed)
    view.trial_started(running(0, 0))
    view.trial_ended(make_records()[0])


def test_progress_counts_samples_since_the_newest_report(tmp_path: Path) -> None:
    clock = Clock()
    state = Progress(metric=METRIC, budget=Budget(trials=2), clock=clock)
    state.update(running(0, 0), running(1, 0))
    clock.now += 60
    assert (state.fraction, state.remaining_s) == (
        0.0,
        None,
    )  # the length of a trial is unknown before the data is read
    state.prepared(plan_of(tmp_path, (4000, 8000)))
    Heartbeat(TrialFolder(tmp_path, 0)).beat(2000)
    assert state.fraction == pytest.approx(2000 / 16_000)
    assert state.remaining_s == pytest.approx(60 * 14_000 / 2000)
    assert state.samples(running(0, 3)) == 4000  # the report is newer than the heartbeat


def test_lines_show_progress_between_rare_events(tmp_path: Path) -> None:
    message: list[str] = []
    messages = threading.Event()

    def write(line: str) -> None:
        message.append(line)
        if "of 2 trials" in line:
            messages.set()

    view = Lines(progress(Budget(trials=2), Clock()), write, silence_s=0.01)
    with view.shown():
        view.trial_started(running(0, 0))
        view.prepared(plan_of(tmp_path, (8000,)))
        Heartbeat(TrialFolder(tmp_path, 0)).beat(4000)
        assert messages.wait(10)
    assert any(" 25 % · 0 of 2 trials" in line for line in message)


def plan_of(folder: Path, points: tuple[int, ...]) -> EnginePlan:
    source = Source(origin=Origin.LOCAL, name="x")
    return EnginePlan(
        objective="sentiment",
        model=source,
        data=DataPlan(source=source),
        report_points=points,
        sweep_dir=str(folder),
        metric=METRIC.name,
    )
