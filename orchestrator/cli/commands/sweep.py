"""``sweep``: run or resume a sweep."""

import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.next_commands import extend_command, resume_command
from orchestrator.cli.options import Json, Overrides, registry_options
from orchestrator.cli.screen import Screen
from orchestrator.cli.smoke import smoke_overrides
from orchestrator.core.errors import SuspendedError, UserError
from orchestrator.core.system.environment import program
from orchestrator.core.system.secrets import redact
from orchestrator.core.trials.ranking import of_the_search
from orchestrator.stores import existing_ledger, fetch_assets, logs_folder, read_spec

if TYPE_CHECKING:
    from orchestrator.cli.lines import Lines
    from orchestrator.cli.live import LiveView
    from orchestrator.spec.sweep_spec import SweepSpec
    from orchestrator.sweep import SweepResult


def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Sweep file.")],
    override: Overrides = None,
    trials: Annotated[int | None, typer.Option(min=1, metavar="N", help="Set the budget's number of trials.")] = None,
    time: Annotated[
        str | None, typer.Option(metavar="20m", help="Set the budget's wall time, such as 90s, 20m or 2h.")
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Try the file: two trials on 32 rows, as a sweep of its own.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and exit. No trial starts.")] = False,
    inline: Annotated[
        bool, typer.Option("--inline", help="Run in this process, without Ray. Solo trials run one at a time.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start a new generation of the sweep.")] = False,
    live: Annotated[
        bool | None,
        typer.Option("--live/--no-live", help="Show a live table, or plain lines. Default: a table on a terminal."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a sweep. The same command resumes an interrupted sweep and leaves a finished one unchanged."""
    overrides = [*(override or ())]
    overrides += [f"budget.trials={trials}"] if trials is not None else []
    overrides += [f"budget.wall_time={_with_unit(time)}"] if time is not None else []
    spec = read_spec(file, overrides)
    if smoke:
        overrides += smoke_overrides(spec)
        spec = read_spec(file, overrides)
    screen = Screen(as_json=as_json)
    for warning in spec.warnings:
        screen.say(f"warning: {warning}")
    log = logs_folder() / f"sweep-{spec.name}.log"
    if dry_run:
        _dry_run(screen, spec, log, fresh=fresh)
        return
    view = _view(screen, spec, fresh=fresh, live=live)
    command = resume_command(file, overrides, inline=inline)
    try:
        result = _run(screen, spec, view, log, inline=inline, fresh=fresh)
    except SuspendedError as error:
        raise SuspendedError(
            f"{error}\nthe sweep is suspended and all reports are kept; resume with: {command}"
        ) from error
    if result.finished:
        spent = (spec.budget, len(of_the_search(result.records)), result.sweep.elapsed_s)
        command = extend_command(file, overrides, *spent, inline=inline)
    _show_result(screen, spec, result, command)
    if not result.finished:
        raise typer.Exit(130)


def _with_unit(time: str) -> str:
    """Return ``time`` unchanged. A number without a unit is ambiguous and raises ``UserError``."""
    number = time.strip()
    try:
        float(number)
    except ValueError:
        return time
    raise UserError(f"--time: a unit is needed, got {number}; use {number}m for minutes or {number}s for seconds")


def _dry_run(screen: Screen, spec: "SweepSpec", log: Path, *, fresh: bool) -> None:
    from orchestrator.cli.plan_view import max_duration_s, plan_text
    from orchestrator.preparation.continuation import finished_sweep, next_action
    from orchestrator.preparation.prepared import prepare
    from orchestrator.preparation.preview import preview
    from orchestrator.preparation.request import request_of
    from orchestrator.report.pace import earlier_pace

    with screen.quiet(log):
        fetch_assets(spec, screen.say)
        ledger, request = existing_ledger(), request_of(spec)
        if not fresh and ledger is not None and (finished := finished_sweep(ledger, request)):
            action = f"does nothing: {finished.reference} is finished ({finished.facts.end_reason})"
            screen.say(f"This command {action}. A larger budget extends it; --fresh starts a new generation.")
            screen.emit({"name": spec.name, "action": action})
            return
        prepared = prepare(request, ledger, fresh=fresh)
        action = next_action(ledger, prepared, fresh=fresh)
        screen.say(f"This command {action}.")
        plan = preview(prepared)
        pace = None if ledger is None else earlier_pace(ledger, spec)
        screen.show(plan_text(plan, pace))
        document = {"action": action, **asdict(plan), "longest_s": max_duration_s(plan, pace)}
        screen.emit(document)


def _view(screen: Screen, spec: "SweepSpec", *, fresh: bool, live: bool | None) -> "LiveView | Lines":
    """Return the view of the sweep: a live table on a terminal, else lines. Earlier trials are loaded into it."""
    from orchestrator.cli.lines import Lines
    from orchestrator.cli.live import LiveView
    from orchestrator.cli.progress import Progress

    progress = Progress(metric=spec.metric, budget=spec.budget)
    ledger = None if fresh else existing_ledger()
    if ledger is not None:
        try:
            stored = ledger.sweeps.find(spec.name)
        except UserError:
            pass  # the first sweep of this name
        else:
            progress.before_s = stored.elapsed_s
            for request in ledger.requests.all(stored.id):
                progress.answered(request)
            plan = stored.facts.engine_plan
            progress.timetable = None if plan is None else plan.timetable
            progress.update(*(record for record in ledger.trials.all(stored.id) if record.ended))
        ledger.close()
    use_table = screen.human.is_terminal if live is None else live
    return LiveView(progress, screen.human) if use_table else Lines(progress, screen.say)


def _run(
    screen: Screen, spec: "SweepSpec", view: "LiveView | Lines", log: Path, *, inline: bool, fresh: bool
) -> "SweepResult":
    from orchestrator.cli.interrupt import stop_on_signal

    stop = threading.Event()
    resume_hint = "the same command without --fresh" if fresh else "the same command"
    with screen.quiet(log), view.shown(), stop_on_signal(stop, view.say, view.release, resume_hint):
        view.say(f"{spec.name}: preparing (library output: {log})")
        fetch_assets(spec, view.say)
        import psutil

        from orchestrator.sweep import SweepOptions, run_sweep

        return run_sweep(
            spec,
            SweepOptions(inline=inline, fresh=fresh, began_at=psutil.Process().create_time()),
            (view,),
            stop,
            view.say,
        )


def _show_result(screen: Screen, spec: "SweepSpec", result: "SweepResult", command: str) -> None:
    from orchestrator.report.summary import as_json, next_commands, summarise
    from orchestrator.report.text import SHOWN, commands_text, summary_text

    summary = summarise(result.sweep, result.records, requests=result.requests)
    screen.show(summary_text(summary, SHOWN))
    status = f"{result.sweep.reference} is finished: {result.reason}" if result.finished else "stopped"
    screen.say(f"\n{status}")
    best = summary.leaderboard.best
    commands = next_commands(
        spec.name,
        None if best is None else best.number,
        pair_column=summary.pair_column,
        program=program(),
        place=registry_options(result.location),
        below_baseline=summary.leaderboard.below_baseline,
        of_function=spec.function is not None,
    )
    commands = (*commands, ("extend the search", command)) if result.finished else (("resume", command), *commands)
    screen.say(f"report {result.report}")
    screen.say(
        f"MLflow {redact(result.location.tracking_uri)}"
        + ("" if result.synced else "  (incomplete; the same command writes the rest)")
    )
    screen.show("")
    screen.show(commands_text(commands, screen.out.width), soft_wrap=True)
    screen.emit(_document(result, as_json(summary)))


def _document(result: "SweepResult", summary: dict[str, Any]) -> dict[str, Any]:
    return {
        **summary,
        "finished": result.finished,
        "reason": result.reason,
        "tracking_uri": redact(result.location.tracking_uri),
        "synced": result.synced,
        "report": result.report,
    }
