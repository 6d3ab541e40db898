"""Exit codes and messages. Tracebacks go to the log only."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli.failures import guarded
from orchestrator.core.errors import AssetError, SpecError, TrackingError, UserError
from tests.cli.conftest import ROOT, Run


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("rank: a value >= 1 is needed, got 0"), 2, "rank: a value >= 1 is needed, got 0\n"),
        (SpecError("a.yaml:1:1 one\na.yaml:2:1 [two]"), 2, "a.yaml:1:1 one\na.yaml:2:1 [two]\n"),
        (AssetError("minilm is not here"), 1, "error: minilm is not here\n"),
        (TrackingError("no answer"), 1, "error: no answer\n"),
        (
            OSError(errno.EROFS, os.strerror(errno.EROFS), "/here"),
            1,
            (
                "error: /here cannot be written: Read-only file system. "
                "Make it writable, or set LORATORY_HOME to another folder\n"
            ),
        ),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/here"),
            1,
            ("error: /here cannot be written: No space left on device. Free some space there, or raise the limit\n"),
        ),
    ],
)
def test_loratory_errors_are_one_message(
    error: Exception, code: int, message: str, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    def fail() -> None:
        raise error

    assert guarded(fail) == code
    assert capsys.readouterr().err == message
    assert not (home / "logs").exists()


def test_unexpected_error_logs_traceback(
    capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("the disk is on fire")

    assert guarded(fail) == 1
    message, place = capsys.readouterr().err.splitlines()
    assert message == "unexpected error: RuntimeError: the disk is on fire"
    assert place == f"traceback: {home / 'logs' / 'errors.log'}"
    assert "in fail" in (home / "logs" / "errors.log").read_text()
    monkeypatch.setenv("LORATORY_DEBUG", "1")
    with pytest.raises(RuntimeError):
        guarded(fail)


@pytest.mark.parametrize(("code", "expected"), [(None, 0), (0, 0), (3, 3), ("text", 1)])
def test_exit_code_of_command_is_kept(code: int | str | None, expected: int) -> None:
    def leave() -> None:
        raise SystemExit(code)

    assert guarded(leave) == expected


def test_each_spec_error_has_its_own_line(command: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: bad\nobjective: sentiment\nsamplr: tpe\nsearch: {space: {rank: {low: 9, high: 4}}}\n")
    for verb in ("validate", "sweep"):
        done = command(verb, str(bad), check=2)
        lines = done.stderr.splitlines()
        assert len(lines) >= 2
        assert all(line.startswith(f"{bad}:") for line in lines)
        assert done.stdout == ""
        assert "Traceback" not in done.stderr


def test_closed_pipe_prints_no_error() -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "schema"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.close()
    assert child.wait(20) != 0
    assert child.stderr is not None
    assert child.stderr.read() == b""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("status", "nowhere"), "sweep nowhere not found"),
        (("report", "nowhere"), "sweep nowhere not found"),
        (("export", "nowhere", "x"), "sweep nowhere not found"),
        (("clean", "nowhere"), "sweep nowhere not found"),
        (("ui", "nowhere"), "sweep nowhere not found"),
        (("validate", "nowhere.yaml"), "nowhere.yaml: no such file"),
    ],
)
def test_missing_ledger_is_reported_and_not_created(
    called: Run, home: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = called(*arguments, check=2)
    assert message in done.stderr
    assert not (home / "ledger.db").exists()


def test_overlong_path_is_reported(called: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATORY_HOME", "/tmp/" + "x" * 300)  # noqa: S108  (never created)
    for arguments in (("status",), ("predict", "/tmp/" + "y" * 300, "a text")):  # noqa: S108
        done = called(*arguments, check=2)
        assert "...: path too long (limits: 255 bytes per name, 4,096 in total)" in done.stderr
        assert len(done.stderr) < 200


def test_messages_contain_no_password(called: Run, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("LORATORY_DB", "nonsense://ann:pw-1@host/db")
    done = called("status", check=1)
    assert done.stderr.startswith("error: LORATORY_DB is not a database URL")
    monkeypatch.delenv("LORATORY_DB")
    address = "https://ann:pw-1/x@host"  # an unescaped slash, invalid in a password
    done = called("rollback", "nosuch", "--tracking-uri", address, check=1)
    assert "https://ann:***@host" in done.stderr
    assert "pw-1" not in done.stderr
    assert not [file for file in home.rglob("*.log") if "pw-1" in file.read_text()]
