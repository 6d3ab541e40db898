"""Commands in the process of a test: without the seconds that a new process needs for its imports."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import run


def call(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    """Run a command as a new process does, and return its exit code and output."""
    with pytest.MonkeyPatch.context() as patch, CliRunner().isolation(input=stdin) as (out, err, _):
        patch.setattr(sys, "argv", ["loratory", *arguments])
        code = run()
        sys.stdout.flush()
        sys.stderr.flush()
        return subprocess.CompletedProcess(arguments, code, out.getvalue().decode(), err.getvalue().decode())
