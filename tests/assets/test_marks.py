"""Marks of files change with each write, and only then."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.assets.marks import mark
from orchestrator.core.data import Origin, Source


def local(path: Path) -> Source:
    return Source(origin=Origin.LOCAL, name=str(path))


def test_written_file_gets_another_mark(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("text,label\na,1\n")
    before, times = mark(local(file)), file.stat()
    assert before is not None
    assert mark(local(file)) == before
    file.write_text("text,label\nb,1\n")  # equal size, and its time is reset
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert mark(local(file)) != before


def test_folder_mark_covers_all_files(tmp_path: Path) -> None:
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "deep" / "weights").write_bytes(b"1")
    before = mark(local(tmp_path / "model"))
    (tmp_path / "model" / "config.json").write_text("{}")
    assert mark(local(tmp_path / "model")) != before
    (tmp_path / "model" / "config.json").unlink()
    (tmp_path / "model" / "deep" / "weights").write_bytes(b"22")
    assert mark(local(tmp_path / "model")) != before


def test_missing_source_has_no_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATORY_CACHE", str(tmp_path))
    assert mark(local(tmp_path / "absent.csv")) is None
    assert mark(Source(origin=Origin.PACKAGED, name="vader-movie")) is None


def test_only_hub_commits_have_marks() -> None:
    assert mark(Source(origin=Origin.HUB, name="org/rows")) is None
    assert mark(Source(origin=Origin.HUB, name="org/rows", revision="main")) is None
    assert mark(Source(origin=Origin.HUB, name="org/rows", revision="0123456789abcdef" * 2 + "01234567")) is not None


def test_rows_in_the_log_of_a_database_change_its_mark(tmp_path: Path) -> None:
    path = tmp_path / "rows.db"
    source = Source(origin=Origin.SQLITE, name=f"sqlite:///{path}?query=SELECT text FROM rows")  # noqa: S608
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE rows (text)")
        before = mark(source)
        connection.execute("INSERT INTO rows VALUES ('new')")
        connection.commit()
        assert mark(source) != before
