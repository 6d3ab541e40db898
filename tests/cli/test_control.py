"""Requests from a second terminal, without a driver."""

import json

import pytest

from orchestrator.core.errors import LoratoryError
from orchestrator.core.sweeps.control import Answer, ControlKind, ControlRequest
from orchestrator.core.sweeps.sweep import SweepStatus
from orchestrator.ledger.ledger import Ledger
from tests.cli.conftest import Invoke

pytestmark = pytest.mark.usefixtures("finished_sweep")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trial", "stop", "sentiment", "3"), "sentiment#1: trial 3 has ended already"),
        (("trial", "stop", "sentiment", "99"), "there is no trial 99; trials: 0 to 11"),
        (("trial", "stop", "nothing", "0"), "there is no sweep nothing"),
        (("trial", "clone", "sentiment", "99", "--set", "rank=8"), "the sweep has no trial 99"),
        (("trial", "clone", "sentiment", "0", "--set", "rank"), "--set rank needs the form a.b=value"),
        (("trial", "clone", "sentiment", "0", "--set", "rank=[1, 2]"), "rank: one value is needed, got"),
        (("trial", "clone", "sentiment", "0", "--set", "rang=8"), "--set rang: not a parameter of search.space"),
        (("pause", "sentiment"), "sentiment#1: no process runs it, so there is nothing to pause"),
        (("resume", "sentiment"), "sentiment#1 is not paused"),
        (("extend", "sentiment"), "nothing to add: give --trials N, --time 20m or --tokens N"),
        (("extend", "sentiment", "--time", "20"), "--time: a time such as 90s, 20m or 1h30m is needed, got 20"),
    ],
)
def test_request_without_effect_is_refused(invoke: Invoke, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(LoratoryError) as error:
        invoke(*arguments)
    assert message in str(error.value)
    assert Ledger.open().requests.all(1) == ()


def test_extension_waits_for_next_driver(invoke: Invoke) -> None:
    shown = invoke("extend", "sentiment", "--trials", "8", "--time", "30m", "--reason", "still rising").stdout
    assert "extend by 8 trials, 30 min: stored; no process runs the sweep, and the next `sweep FILE` answers" in shown
    (stored,) = Ledger.open().requests.all(1)
    assert (stored.kind, stored.answer, stored.reason) == (ControlKind.EXTEND, None, "still rising")
    (document,) = json.loads(invoke("status", "sentiment", "--json").stdout)["requests"]
    assert (document["text"], document["by"], document["answer"]) == ("extend by 8 trials, 30 min", stored.by, None)
    text = " ".join(invoke("status", "sentiment").stdout.split())
    assert f"extend by 8 trials, 30 min ({stored.by}: still rising): not answered yet" in text


def test_status_marks_paused_sweep(invoke: Invoke) -> None:
    ledger = Ledger.open()
    pause = ControlRequest(
        id=1, kind=ControlKind.PAUSE, by="anna@lab", at=1.0, answer=Answer.DONE, outcome="at rest", answered_at=2.0
    )
    ledger.requests.add(1, pause)
    ledger.requests.answer(1, pause)
    for status in (SweepStatus.INTERRUPTED, SweepStatus.FINISHED):
        ledger.sweeps.update(1, status=status)
        assert f"{status}, paused" in " ".join(invoke("status").stdout.split())
        assert json.loads(invoke("status", "--json").stdout)[0]["paused"] is True
        assert json.loads(invoke("status", "sentiment", "--json").stdout)["paused"] is True
        assert "paused by anna@lab" in " ".join(invoke("status", "sentiment").stdout.split())
    assert "resume: stored" in invoke("resume", "sentiment").stdout
