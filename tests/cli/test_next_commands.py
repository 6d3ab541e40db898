"""Commands to resume or extend a sweep."""

from dataclasses import replace
from pathlib import Path

from orchestrator.cli.next_commands import extend_command, resume_command
from orchestrator.core.sweeps.policy import Budget, Until
from orchestrator.core.system.environment import program
from orchestrator.preparation.continuation import resumption_text
from tests.report.examples import make_records

FILE = Path("sweeps/x.yaml")


def test_resume_command_keeps_each_override_once() -> None:
    command = resume_command(FILE, ["budget.trials=4", "model=my model", "budget.trials=6"], inline=True)
    assert command == f"{program()} sweep sweeps/x.yaml --set budget.trials=6 --set 'model=my model' --inline"


def test_extend_command_replaces_given_limit() -> None:
    command = extend_command(FILE, ["budget.trials=4"], Budget(trials=4), 4, 60.0, inline=False)
    assert command == f"{program()} sweep sweeps/x.yaml --set budget.trials=12"


def test_extend_command_raises_every_limit() -> None:
    command = extend_command(FILE, [], Budget(trials=9, wall_time_s=60.0, tokens=1000), 3, 61.0, inline=False)
    budget = ["budget.trials=17", "budget.wall_time=92s", "budget.tokens=2000"]
    assert command.split(" --set ")[1:] == budget


def test_one_new_trial_is_told_in_the_singular() -> None:
    records = make_records()
    assert resumption_text("x#1", records, len(records) + 1).endswith(", 1 new trial starts")
    assert resumption_text("x#1", records, len(records) + 2).endswith(", 2 new trials start")


def test_extend_command_removes_the_early_end() -> None:
    budget = Budget(trials=12, until=Until.NO_EXPECTED_GAIN)
    command = extend_command(FILE, [], budget, 9, 60.0, inline=False)
    assert command.endswith("--set budget.until=null")
    spent = replace(budget, wall_time_s=1800.0)
    assert extend_command(FILE, [], spent, 4, 2420.5, inline=False).endswith("--set budget.wall_time=61m")
