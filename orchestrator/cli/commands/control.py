"""``trial stop``, ``trial clone``, ``pause``, ``resume``, ``extend``: act on a sweep from another terminal."""

import getpass
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import Json, SweepName
from orchestrator.cli.screen import Screen
from orchestrator.core.errors import UserError
from orchestrator.core.sweeps.control import Answer, ControlKind, ControlRequest, Limits, paused_by, stop_reasons
from orchestrator.stores import find_sweep

if TYPE_CHECKING:
    from typer.core import TyperCommand

    from orchestrator.core.space import ParamValue
    from orchestrator.core.sweeps.sweep import SweepRecord
    from orchestrator.ledger.ledger import Ledger

WAIT_S = 30.0
"""Seconds that a command waits for the driver's answer. A driver in a long step answers later."""
_POLL_S = 0.2

Number = Annotated[int, typer.Argument(min=0, metavar="N", help="Trial number.")]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Why; stored and shown with the request.")]
Changes = Annotated[
    list[str], typer.Option("--set", metavar="A=B", help="New value of a parameter of the search. May be repeated.")
]


def make_trial(command: "type[TyperCommand]") -> typer.Typer:
    """Return the group ``trial``; ``command`` is the class of its commands."""
    app = typer.Typer(name="trial", help="Stop or clone a trial of a sweep.", no_args_is_help=True)
    app.command("stop", cls=command)(stop)
    app.command("clone", cls=command)(clone)
    return app


def stop(name: SweepName, number: Number, reason: Reason = None, as_json: Json = False) -> None:
    """Stop a trial at its next report. Its reports count, and the sweep continues with other trials."""
    from orchestrator.search.control import stop_problem

    screen, (ledger, sweep) = Screen(as_json=as_json), find_sweep(name)
    records = {record.number: record for record in ledger.trials.all(sweep.id)}
    problem = stop_problem(records, number, stop_reasons(ledger.requests.all(sweep.id)))
    if problem is not None:
        raise UserError(f"{sweep.reference}: {problem}")
    _send(screen, ledger, sweep, replace(_request(ControlKind.STOP, reason), trial=number))


def clone(name: SweepName, number: Number, changes: Changes, reason: Reason = None, as_json: Json = False) -> None:
    """Train a new trial with the values of a trial and some changes. The clone is one of the trials of the budget."""
    from orchestrator.search.cloning import clone_params
    from orchestrator.spec.fingerprint import stored_space

    screen, (ledger, sweep) = Screen(as_json=as_json), find_sweep(name)
    original = ledger.trials.get(sweep.id, number)
    params = clone_params(stored_space(sweep.fingerprint), original.params, _values(changes))
    same = [record for record in ledger.trials.all(sweep.id) if record.params == params]
    if same:
        raise UserError(f"{sweep.reference}: trial {same[0].number} has this configuration already")
    _send(screen, ledger, sweep, replace(_request(ControlKind.CLONE, reason), trial=number, params=params))


def pause(name: SweepName, reason: Reason = None, as_json: Json = False) -> None:
    """Pause a sweep: running trials end at their next report, and the engine is closed. The driver waits."""
    screen, (ledger, sweep) = Screen(as_json=as_json), find_sweep(name)
    if ledger.drivers.live(sweep.id) is None:
        raise UserError(f"{sweep.reference}: no process runs it, so there is nothing to pause")
    _send(screen, ledger, sweep, _request(ControlKind.PAUSE, reason))


def resume(name: SweepName, reason: Reason = None, as_json: Json = False) -> None:
    """Continue a paused sweep. An interrupted sweep continues with `sweep FILE`."""
    screen, (ledger, sweep) = Screen(as_json=as_json), find_sweep(name)
    requests = ledger.requests.all(sweep.id)
    waiting = any(one.answer is None and one.kind is ControlKind.PAUSE for one in requests)
    if paused_by(requests) is None and not waiting:
        raise UserError(f"{sweep.reference} is not paused; `sweep FILE` resumes an interrupted sweep")
    _send(screen, ledger, sweep, _request(ControlKind.RESUME, reason))


def extend(
    name: SweepName,
    trials: Annotated[int | None, typer.Option(min=1, metavar="N", help="Further trials.")] = None,
    time: Annotated[str | None, typer.Option(metavar="20m", help="Further wall time, such as 90s, 20m or 2h.")] = None,
    tokens: Annotated[int | None, typer.Option(min=1, metavar="N", help="Further training tokens.")] = None,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Add to the budget of a sweep, running or finished. A finished one continues with `sweep FILE`."""
    if trials is None and time is None and tokens is None:
        raise UserError("nothing to add: give --trials N, --time 20m or --tokens N")
    wall_time_s = None if time is None else _seconds(time)
    screen, (ledger, sweep) = Screen(as_json=as_json), find_sweep(name)
    more = Limits(trials=trials, wall_time_s=wall_time_s, tokens=tokens)
    _send(screen, ledger, sweep, replace(_request(ControlKind.EXTEND, reason), more=more))


def _seconds(text: str) -> float:
    from pydantic_core import PydanticCustomError

    from orchestrator.spec.sections.fields import seconds_of

    try:
        return seconds_of(text)
    except PydanticCustomError as error:
        raise UserError(f"--time: {error}, got {text}") from None


def _values(changes: Sequence[str]) -> "dict[str, ParamValue]":
    """Return the values of ``name=value`` texts, each read as YAML.

    Raises:
        SpecError: a text has another form, or is not YAML.
    """
    from orchestrator.spec.document.overrides import parse_overrides
    from orchestrator.spec.document.problems import Place, Problems, yaml_text
    from orchestrator.spec.document.yaml_text import read_yaml

    problems = Problems(places={})
    values: dict[str, ParamValue] = {}
    for override in parse_overrides(changes, problems):

        def at(_line: int, _column: int, place: Place = override.place) -> Place:
            return place

        value = read_yaml(override.text, problems, override.path, at)
        if isinstance(value, list | dict):
            problems.add_at(override.place, override.path, f"one value is needed, got {yaml_text(value)}")
        elif value is None or isinstance(value, str | int | float):
            values[".".join(map(str, override.path))] = value
    problems.raise_if_any()
    return values


def _request(kind: ControlKind, reason: str | None) -> ControlRequest:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        user = "unknown"
    return ControlRequest(id=0, kind=kind, by=f"{user}@{socket.gethostname()}", at=time.time(), reason=reason)


def _send(screen: Screen, ledger: "Ledger", sweep: "SweepRecord", request: ControlRequest) -> None:
    """Store a request, wait for the driver's answer, and show it.

    Raises:
        UserError: the driver refuses.
    """
    stored = ledger.requests.add(sweep.id, request)
    until = time.monotonic() + WAIT_S
    while stored.answer is None and ledger.drivers.live(sweep.id) is not None and time.monotonic() < until:
        time.sleep(_POLL_S)
        stored = ledger.requests.get(stored.id)
    if stored.answer is Answer.REFUSED:
        raise UserError(f"{sweep.reference}: {stored.text}: {stored.outcome}")
    if stored.answer is not None:
        effect = stored.outcome
    elif ledger.drivers.live(sweep.id) is None:
        effect = "stored; no process runs the sweep, and the next `sweep FILE` answers"
    else:
        effect = "stored; the sweep is busy and answers later, see `status`"
    screen.say(f"{sweep.reference}: {stored.text}: {effect}")
    screen.emit(stored.to_json())
