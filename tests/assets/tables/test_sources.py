"""Arrow files, folders, SQLite and several files: what is read, and the message for each mistake."""

import sqlite3
from contextlib import closing
from pathlib import Path

import datasets
import pyarrow as pa
import pytest
from pyarrow import feather

from orchestrator.assets.data import read_table
from orchestrator.assets.marks import mark
from orchestrator.assets.tables import FORMATS
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import AssetError, DataError
from orchestrator.spec.values.sources import DATA_SUFFIXES
from tests.contracts.asset_contract import AssetContract

ROWS = {"text": ["good", "bad", "fine, really", "awful"], "label": ["pos", "neg", "pos", "neg"]}


def local(*paths: Path | str) -> Source:
    return Source(origin=Origin.LOCAL, name="\n".join(map(str, paths)))


def read(source: Source) -> datasets.Dataset:
    return read_table(source, required=("text", "label"), text=("text",))


def write_folder(folder: Path) -> None:
    for number, (text, label) in enumerate(zip(*ROWS.values(), strict=True)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / f"{number}.txt").write_text(f"{text}\n")


def write_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE tickets (id INTEGER, text TEXT, label TEXT)")
        rows = zip(range(4), *ROWS.values(), strict=True)
        database.executemany("INSERT INTO tickets VALUES (?, ?, ?)", rows)


def query(path: Path, text: str = "SELECT text, label FROM tickets ORDER BY id") -> Source:
    return Source(origin=Origin.SQLITE, name=f"sqlite:///{path}?query={text}")


class TestArrow(AssetContract):
    @pytest.fixture(params=["file", "stream", "feather1", "saved"])
    def source(self, request: pytest.FixtureRequest, tmp_path: Path) -> Source:
        table, path = pa.table(ROWS), tmp_path / "rows.arrow"
        if request.param == "saved":
            datasets.Dataset.from_dict(ROWS).save_to_disk(str(tmp_path / "saved"))
            return local(tmp_path / "saved")
        if request.param == "feather1":
            feather.write_feather(table, path.with_suffix(".feather"), version=1)
            return local(path.with_suffix(".feather"))
        new = pa.ipc.new_file if request.param == "file" else pa.ipc.new_stream
        with new(path, table.schema) as writer:
            writer.write_table(table)
        return local(path)

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        return local(tmp_path / "absent.arrow")


class TestFolder(AssetContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        write_folder(tmp_path / "reviews")
        return local(tmp_path / "reviews")

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        return local(tmp_path / "absent")


class TestSqlite(AssetContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        write_database(tmp_path / "tickets.db")
        return query(tmp_path / "tickets.db")

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        return query(tmp_path / "absent.db", "SELECT 1")

    def test_a_missing_source_says_so(self, missing: Source) -> None:
        with pytest.raises(AssetError, match=r"the database .*absent\.db does not exist"):
            read_table(missing)


class TestSeveral(AssetContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        (tmp_path / "a.csv").write_text("text,label,note\ngood,pos,1\nbad,neg,2\n")
        (tmp_path / "b.csv").write_text("label,text,note\npos,fine,x\nneg,awful,\n")
        return local(tmp_path / "*.csv")

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        return local(tmp_path / "absent*.csv")

    def test_a_missing_source_says_so(self, missing: Source) -> None:
        with pytest.raises(AssetError, match=r"no data file matches .*absent\*\.csv"):
            read_table(missing)

    def test_files_keep_their_order_and_columns(self, source: Source, tmp_path: Path) -> None:
        rows = read(source)
        assert rows["text"][:] == ["good", "bad", "fine", "awful"]
        assert rows["note"][:] == ["1", "2", "x", None]
        (tmp_path / "c.jsonl").write_text('{"text": "new", "label": "pos"}\n')
        listed = read(local(tmp_path / "c.jsonl", tmp_path / "*.csv", tmp_path / "a.csv"))
        assert listed["text"][:] == ["new", "good", "bad", "fine", "awful"]
        assert listed["note"][:] == [None, "1", "2", "x", None]

    def test_needed_columns_must_agree(self, source: Source, tmp_path: Path) -> None:
        (tmp_path / "c.csv").write_text("text\nnew\n")
        with pytest.raises(DataError, match=r"column label of .*a\.csv is missing in .*c\.csv \(columns: text\)"):
            read(source)
        (tmp_path / "c.csv").write_text("text,label\nnew,1\n")
        with pytest.raises(DataError, match=r"column label has other types .*a\.csv \(string\) than in .*c\.csv \(int"):
            read(source)

    def test_another_file_changes_the_mark(self, source: Source, tmp_path: Path) -> None:
        before = mark(source)
        assert before == mark(source)
        (tmp_path / "c.csv").write_text("text,label\nnew,pos\n")
        assert mark(source) != before


def test_every_format_may_be_named_in_a_sweep_file() -> None:
    assert (*FORMATS,) == DATA_SUFFIXES


def test_texts_without_labels_are_rows(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.txt").write_text(f"text {name}\n")
    (tmp_path / ".hidden.txt").write_text("not read")
    rows = read_table(local(tmp_path), required=("text",), text=("text",))
    assert rows[:] == {"text": ["text a", "text b"], "file": ["a.txt", "b.txt"]}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"has no \.txt files; it is empty"),
        ({"a.csv": b"text"}, r"has no \.txt files; it has a\.csv.*FOLDER/\*\.csv"),
        ({"pos/a.txt": b"a", "b.txt": b"b"}, r"text files beside folders of text files: b\.txt, pos/a\.txt"),
        ({"x/pos/a.txt": b"a"}, r"a\.txt is too deep"),
        ({"pos/a.txt": b"a", "neg/a.csv": b"a"}, r"neg has no \.txt files; every folder in .* is a label"),
        ({"pos/a.txt": b"caf\xe9"}, r"pos/a\.txt, line 1: byte 0xe9 is not UTF-8"),
        ({"dataset_dict.json": b"{}", "train/state.json": b"{}"}, r"holds several splits: train\. Name the folder of"),
        ({"state.json": b"{", "dataset_info.json": b"{}"}, r"cannot be read as a saved data set"),
    ],
)
def test_unreadable_folders_are_explained(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_table(local(tmp_path))


def test_saved_data_sets_need_rows(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": []}).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(DataError, match=r"saved is a saved data set without rows; save one with rows"):
        read_table(local(tmp_path / "saved"))


def test_incomplete_arrow_files_are_refused(tmp_path: Path) -> None:
    table, path = pa.table({"text": ["a" * 1000] * 100}), tmp_path / "a.arrow"
    for new in (pa.ipc.new_file, pa.ipc.new_stream):
        with new(path, table.schema) as writer:
            writer.write_table(table)
        whole = path.read_bytes()
        for size in (40, len(whole) // 2, len(whole) - 8):
            path.write_bytes(whole[:size])
            with pytest.raises(DataError, match=r"a\.arrow (cannot be read as Arrow|is not)"):
                read_table(local(path))
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"is empty \(0 bytes\)"):
        read_table(local(path))
    path.write_text("text,label\n")
    with pytest.raises(DataError, match=r"a\.arrow is not an Arrow file"):
        read_table(local(path))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("SELECT text FROM ticket", r"query 'SELECT text FROM ticket' failed: no such table.*\(tables: tickets\)"),
        ("SELEKT 1", "failed: near"),
        ("SELECT text FROM tickets WHERE id > 9", "returns no rows, only the columns text"),
        ("SELECT text, label AS text FROM tickets", "returns the column 'text' twice"),
        ("DELETE FROM tickets", "failed: not authorized; a query may only read"),
        ("SELECT 1; DELETE FROM tickets", "failed: You can only execute one statement"),
        ("SELECT id AS text, label FROM tickets", r"column text of .* has integers \(row 1: 0\); text is needed"),
    ],
)
def test_wrong_queries_are_explained(tmp_path: Path, written: str, message: str) -> None:
    write_database(tmp_path / "tickets.db")
    with pytest.raises(DataError, match=message):
        read(query(tmp_path / "tickets.db", written))
    assert len(read(query(tmp_path / "tickets.db"))) == 4


def test_damaged_databases_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tickets.db"
    write_database(path)
    whole = path.read_bytes()
    for content, message in ((b"", r"is empty \(0 bytes\)"), (b"text,label\n", "is not an SQLite"), (whole[:4096], "")):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"tickets.db.*{message}"):
            read(query(path))


def test_query_may_only_read(tmp_path: Path) -> None:
    write_database(tmp_path / "rows.db")
    other = tmp_path / "other.db"
    with pytest.raises(DataError, match="not authorized"):
        read(query(tmp_path / "rows.db", f"ATTACH '{other}' AS other"))
    assert not other.exists()
    counted = query(tmp_path / "rows.db", "WITH t AS (SELECT * FROM tickets) SELECT upper(text) AS text, label FROM t")
    assert read(counted)["text"][0] == "GOOD"


def test_column_without_use_may_hold_anything(tmp_path: Path) -> None:
    write_database(tmp_path / "rows.db")
    both = "SELECT text, label, CASE id WHEN 0 THEN x'ff' ELSE id END AS picture FROM tickets ORDER BY id"
    rows = read(query(tmp_path / "rows.db", both))
    assert rows["text"][:] == ROWS["text"]
