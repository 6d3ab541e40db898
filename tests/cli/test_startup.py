"""Imports of the fast commands. Benchmarks measure their duration."""

import json
import os
import subprocess
import sys

import pytest

from tests.cli.conftest import ROOT

HEAVY = {
    "torch",
    "ray",
    "mlflow",
    "transformers",
    "datasets",
    "pandas",
    "sklearn",
    "matplotlib",
    "plotly",
    "optuna",
    "peft",
    "numpy",
}
PROBE = """
import json, sys
sys.argv = ["loratory", *json.loads(sys.argv[1])]
from orchestrator.core.system.environment import set_environment_defaults
set_environment_defaults()
from orchestrator.cli.app import run
code = run()
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


def probe(*arguments: str) -> tuple[int, set[str], str]:
    """Return exit code, imported modules and stdout of a command."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(arguments)],
        cwd=ROOT,
        env=os.environ,
        check=True,
        capture_output=True,
        text=True,
    )
    code, modules = json.loads(done.stderr.splitlines()[-1])
    return code, set(modules), done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("sweep", "--help"),
        ("promote", "--help"),
        ("doctor", "--help"),
        ("validate", "sweeps/sentiment.yaml"),
        ("schema",),
        ("status",),
    ],
    ids=" ".join,
)
def test_light_commands_import_no_heavy_library(arguments: tuple[str, ...]) -> None:
    code, modules, _ = probe(*arguments)
    assert code == 0
    assert modules & HEAVY == set()


@pytest.mark.usefixtures("finished_sweep")
@pytest.mark.parametrize("arguments", [("status",), ("status", "sentiment"), ("status", "--json")], ids=" ".join)
def test_status_imports_no_heavy_library(arguments: tuple[str, ...]) -> None:
    code, modules, out = probe(*arguments)
    assert code == 0
    assert modules & HEAVY == set()
    assert "0.84" in out


def test_telemetry_is_off_by_default() -> None:
    code = (
        "import os; from orchestrator.core.system import environment; "
        "environment.set_environment_defaults(); print(os.environ['DO_NOT_TRACK'])"
    )
    kept = {name: value for name, value in os.environ.items() if name != "DO_NOT_TRACK"}
    message = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=env, check=True, capture_output=True, text=True
        ).stdout.strip()
        for env in (kept, {**kept, "DO_NOT_TRACK": "0"})
    ]
    assert message == ["1", "0"]
