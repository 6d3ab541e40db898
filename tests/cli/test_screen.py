"""Library output goes to the log; stdout has only the result."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import logging, os, subprocess, sys, warnings
from pathlib import Path
from orchestrator.cli.screen import Screen

screen = Screen(as_json={as_json})
with screen.quiet(Path({log!r})):
    print("print")
    os.write(1, b"descriptor\\n")
    subprocess.run(["echo", "child"], check=True)
    warnings.warn("warning")
    logging.getLogger("library").warning("logged")
    screen.say("working [1/2]")
    screen.show("a result")
    {inside}
print("after")
screen.emit({{"loss": float("nan"), "values": (1, 2)}})
"""


def run(log: Path, *, as_json: bool, inside: str = "") -> "subprocess.CompletedProcess[str]":
    program = PROGRAM.format(as_json=as_json, log=str(log), inside=inside)
    return subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)


def test_text_output_shows_results_and_messages(tmp_path: Path) -> None:
    done = run(tmp_path / "logs" / "x.log", as_json=False)
    assert done.stdout == "working [1/2]\na result\nafter\n"
    assert done.stderr == ""
    log = (tmp_path / "logs" / "x.log").read_text()
    for word in ("print", "descriptor", "child", "UserWarning: warning", "logged"):
        assert word in log


def test_json_output_is_one_document(tmp_path: Path) -> None:
    done = run(tmp_path / "x.log", as_json=True)
    assert done.stderr == "working [1/2]\n"
    text = done.stdout.removeprefix("after\n")
    assert json.loads(text) == {"loss": None, "values": [1, 2]}


def test_terminal_is_restored_after_error(tmp_path: Path) -> None:
    done = run(tmp_path / "x.log", as_json=False, inside="raise KeyError('inside')")
    assert done.returncode == 1
    assert "KeyError: 'inside'" in done.stderr
    assert "KeyError" not in (tmp_path / "x.log").read_text()


def test_log_is_appended_and_overwritten_when_large(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    run(log, as_json=False)
    run(log, as_json=False)
    assert log.read_text().count("descriptor") == 2
    log.write_bytes(b"x" * 10_000_001)
    run(log, as_json=False)
    assert log.stat().st_size < 2000
