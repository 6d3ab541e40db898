"""Encoded rows on the disk: the same examples, one encoding per machine, nothing half written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import datasets
import pytest
from transformers import ByT5Tokenizer, PreTrainedTokenizerBase

from orchestrator.assets import token_store
from orchestrator.assets.code_digest import code_of, installed_packages
from orchestrator.assets.tables.large import read_large
from orchestrator.assets.tables.values import TaskColumns
from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import UserError
from orchestrator.objective.loading import load_objective
from orchestrator.objective.protocol import Example
from orchestrator.objective.rows.encoded_rows import (
    KEPT,
    EncodedRows,
    add_values,
    class_ids_of,
    joined,
    lengths_of,
    sizes_of,
    values_of,
)
from orchestrator.objective.windows import of_rows, rows_of
from orchestrator.training.data.encoding import PART, Encoder, tokens_text
from tests.fakes.tiny_models import tiny_bert
from tests.fakes.tiny_objective import TinyClassification


class Windowed(TinyClassification):
    """Two examples for each long row, and values of many kinds."""

    calls = 0

    def encode(self, rows: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[Example]:
        type(self).calls += 1
        found = []
        for row, example in enumerate(super().encode(rows, tokenizer, max_length)):
            extra: dict[str, Any] = {
                "spans": [[row, row + 70_000]],
                "name": f"row {row}",
                "share": row / 3,
                "yes": True,
            }
            found.append({**example, **extra, "answers": [{"text": "a", "start": row}]})
            if row % 3 == 0:
                found.append({**example, "window": 1, "words": [None, 0, 1]})
        return found


class Tuples(TinyClassification):
    """Arrow makes lists of tuples."""

    def encode(self, rows: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[Example]:
        return [{**row, "pair": (1, 2)} for row in super().encode(rows, tokenizer, max_length)]


class Slow(TinyClassification):
    """Says when it encodes a part of the rows."""

    def encode(self, rows: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[Example]:
        sys.stdout.write("encoding\n")
        sys.stdout.flush()
        time.sleep(0.2)
        return super().encode(rows, tokenizer, max_length)


@pytest.fixture
def tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PreTrainedTokenizerBase:
    """A tokenizer, and an empty folder of encoded rows."""
    monkeypatch.setenv(token_store.FOLDER, str(tmp_path / "tokens"))
    return load_tokenizer(Source(origin=Origin.LOCAL, name=str(tiny_bert(tmp_path / "bert"))))


def rows_with(count: int) -> datasets.Dataset:
    texts = [f"good film {'the ' * (row % 7)}{row}" for row in range(count)]
    return datasets.Dataset.from_dict({"text": texts, "label": [row % 2 for row in range(count)]})


def test_stored_examples_are_the_encoded_ones(tokenizer: PreTrainedTokenizerBase) -> None:
    rows, objective = rows_with(2500), Windowed()
    parts = [rows.select(range(start, min(start + PART, 2500))) for start in range(0, 2500, PART)]
    plain = [example for part in parts for example in objective.encode(part, tokenizer, 16)]
    stored = Encoder(objective, tokenizer).encode(rows, 16)
    assert isinstance(stored, EncodedRows)
    assert len(stored) == len(plain) > KEPT / 2
    assert [repr(sorted(row.items())) for row in stored] == [repr(sorted(row.items())) for row in plain]
    assert stored[3:7] == plain[3:7]
    assert stored[-1] == plain[-1]
    with pytest.raises(IndexError):
        stored[len(plain)]
    assert rows_of(stored) == rows_of(plain)
    assert of_rows(stored, [7, 0, 3]) == of_rows(plain, [7, 0, 3])
    both = stored.joined(stored.select([5]))
    assert both.select([2, len(plain), 1]) == [plain[2], plain[5], plain[1]]
    assert joined([stored, [], stored.select([5])]) == both
    for read in (lengths_of, sizes_of, class_ids_of, lambda some: values_of(some, "window")):
        assert read(both) == read([*plain, plain[5]])
    add_values(both, "reference", [[float(row)] for row in range(len(both))])
    assert stored[7] == {**plain[7], "reference": [7.0]}
    assert [row["reference"] for row in stored.select([5, 0])] == [[float(len(plain))], [0.0]]


def test_pairs_of_answers_are_stored(tokenizer: PreTrainedTokenizerBase) -> None:
    texts = {name: [f"{name} {row}" for row in range(9)] for name in ("text", "chosen", "rejected")}
    rows, objective = datasets.Dataset.from_dict(texts), load_objective("preference")
    tokenizer.eos_token = tokenizer.sep_token
    stored = Encoder(objective, tokenizer).encode(rows, 32)
    assert isinstance(stored, EncodedRows)
    assert stored == objective.encode(rows, tokenizer, 32)
    assert class_ids_of(stored) == [None] * 9


def test_second_encoder_reads_the_stored_rows(tokenizer: PreTrainedTokenizerBase) -> None:
    rows, before = rows_with(50), Windowed.calls
    splits, encoder = {"train": rows, "test": rows_with(0)}, Encoder(Windowed(), tokenizer)
    assert tokens_text(encoder, splits, {}, [16]) == "encoded once on this machine, when needed (train)"
    first = encoder.encode(rows, 16)
    tokenizer(["another call"], truncation=True, max_length=5, padding=True)  # changes the state of the tokenizer
    again = Encoder(Windowed(), tokenizer)
    assert again.encode(rows_with(50), 16) == first
    assert Windowed.calls == before + 1
    assert tokens_text(again, splits, {}, [16]) == "reused (train)"
    text = "max_length 8: encoded once on this machine, when needed (train) · max_length 16: reused (train)"
    assert tokens_text(again, splits, {}, [16, 8]) == text


def test_other_content_has_another_key(tokenizer: PreTrainedTokenizerBase) -> None:
    rows = rows_with(20)
    named = TinyClassification()
    named.labels = ("no", "yes")
    keys = [
        Encoder(TinyClassification(), tokenizer).key(rows, 16),
        Encoder(TinyClassification(), tokenizer).key(rows, 17),
        Encoder(TinyClassification(), tokenizer).key(rows_with(21), 16),
        Encoder(Windowed(), tokenizer).key(rows, 16),
        Encoder(named, tokenizer).key(rows, 16),
    ]
    tokenizer.add_tokens(["film"])
    keys.append(Encoder(TinyClassification(), tokenizer).key(rows, 16))
    assert len({*keys}) == len(keys)


def test_added_tokens_and_sides_of_a_python_tokenizer_count() -> None:
    keys, tokenizer = [], ByT5Tokenizer()
    for change in (lambda: None, lambda: tokenizer.add_tokens(["film"]), lambda: setattr(tokenizer, "offset", 4)):
        change()
        keys.append(Encoder(TinyClassification(), tokenizer).key(rows_with(2), 16))
    assert len({*keys}) == 3


def test_names_of_classes_and_slices_count(tokenizer: PreTrainedTokenizerBase) -> None:
    encoder, rows = Encoder(TinyClassification(), tokenizer), rows_with(4)
    named = [rows.cast_column("label", datasets.ClassLabel(names=names)) for names in (["no", "yes"], ["yes", "no"])]
    sliced = [rows.add_column("slice/source", [source] * 4) for source in ("a", "b")]
    assert len({encoder.key(one, 16) for one in (rows, *named, *sliced)}) == 5


_OBJECTIVE = """
from pathlib import Path
from own_helpers.cleaning import cleaned
from tests.fakes.tiny_objective import TinyClassification

class Mine(TinyClassification):
    def encode(self, rows, tokenizer, max_length):
        from own_later import later
        return super().encode(rows, tokenizer, max_length)

WORDS = (Path(__file__).parent / "data" / "words.txt", "words.txt")
OBJECTIVE = Mine()
"""


@pytest.mark.parametrize("changed", ["lib/own_helpers/cleaning.py", "lib/own_more.py", "lib/own_later.py", "words.txt"])
def test_imported_modules_and_named_files_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    files = {
        "objective.py": _OBJECTIVE,
        "broken.py": "print 'an old script'",
        "words.txt": "good",
        "lib/own_helpers/__init__.py": "",
        "lib/own_helpers/cleaning.py": "import json, datasets\nfrom .. import missing\nimport own_more",
        "lib/own_more.py": "",
        "lib/own_later.py": "later = 1",
        "lib/unused.py": "",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    first = code_of(frozenset({tmp_path / "objective.py"}))
    (tmp_path / "lib/unused.py").write_text("another = 1")
    code_of.cache_clear()
    assert code_of(frozenset({tmp_path / "objective.py"})) == first
    (tmp_path / changed).write_text("another = 1")
    code_of.cache_clear()
    assert code_of(frozenset({tmp_path / "objective.py"})) != first


def test_installed_packages_outside_of_the_environment_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a folder of ``pip install --target`` on PYTHONPATH; a project with an egg-info is the user's own."""
    place, objective = tmp_path / "packages", frozenset({tmp_path / "objective.py"})
    contents = {
        tmp_path / "objective.py": "import heavy.part\nimport light\nimport mine\n",
        place / "heavy" / "__init__.py": "",
        place / "heavy" / "part.py": "value = 1",
        place / "light.py": "value = 1",
        place / "mine.py": "value = 1",
        place / "heavy-1.0.dist-info" / "METADATA": "Metadata-Version: 2.1\nName: heavy\nVersion: 1.0\n",
        place / "heavy-1.0.dist-info" / "RECORD": "heavy/__init__.py,,\nheavy/part.py,,\nlight.py,,\n",
        place / "mine.egg-info" / "PKG-INFO": "Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n",
        place / "mine.egg-info" / "SOURCES.txt": "mine.py\n",
    }
    for file, content in contents.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    monkeypatch.syspath_prepend(str(place))
    first = code_of(objective)
    for installed in ("heavy/__init__.py", "heavy/part.py", "light.py"):
        (place / installed).write_text("value = 2")
    code_of.cache_clear()
    assert code_of(objective) == first
    (place / "mine.py").write_text("value = 2")
    code_of.cache_clear()
    assert code_of(objective) != first
    assert "heavy-1.0.dist-info" in installed_packages.__wrapped__()


def test_folder_that_cannot_be_made_keeps_rows_in_memory(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(token_store.FOLDER, str(tmp_path / "file" / "tokens"))
    found = Encoder(TinyClassification(), tokenizer).encode(rows_with(5), 16)
    assert found == TinyClassification().encode(rows_with(5), tokenizer, 16)
    table = tmp_path / "rows.csv"
    table.write_text("text,label\na,0\n")
    assert read_large(table, TaskColumns(text=frozenset({"text"}))) is None


def test_examples_arrow_changes_stay_in_memory(tokenizer: PreTrainedTokenizerBase) -> None:
    found = Encoder(Tuples(), tokenizer).encode(rows_with(5), 16)
    assert isinstance(found, list)
    assert found[0]["pair"] == (1, 2)
    assert token_store.entries() == []


_TEXTS = ["a good film", "the bad film is here"]
_ANSWERS = [{"text": ["good"], "answer_start": [2]}, {"text": [], "answer_start": []}]
_MESSAGES = [{"role": "user", "content": "good"}, {"role": "assistant", "content": "film"}]
_TEMPLATE = "{% for one in messages %}{{ one['role'] + ' ' + one['content'] + '[SEP]' }}{% endfor %}"


@pytest.mark.parametrize(
    ("name", "columns", "bound"),
    [
        ("classification", {"text_pair": _TEXTS, "label": [0, 1]}, {"classes": ("no", "yes")}),
        ("multi_label", {"label": [[0.0, 1.0], [1.0, 1.0]]}, {"classes": ("no", "yes")}),
        ("regression", {"label": [[0.5], [1.0]]}, {"classes": ("score",)}),
        ("generation", {"target": _TEXTS}, {}),
        ("generation_seq2seq", {"target": _TEXTS}, {}),
        ("entities", {"entities": ['[[2, 6, "A"]]', "[]"]}, {"classes": ("O", "B-A", "I-A")}),
        ("extractive_qa", {"text_pair": ["a good film " * 20] * 2, "answers": _ANSWERS}, {}),
        ("chat", {"messages": [_MESSAGES] * 2}, {"chat_template": _TEMPLATE}),
    ],
)
def test_examples_of_shipped_objectives_are_stored(
    tokenizer: PreTrainedTokenizerBase, name: str, columns: dict[str, Any], bound: dict[str, Any]
) -> None:
    objective, rows = load_objective(name, **bound), datasets.Dataset.from_dict({"text": _TEXTS, **columns})
    stored = Encoder(objective, tokenizer).encode(rows, 40)
    assert isinstance(stored, EncodedRows)
    assert [*stored] == objective.encode(rows, tokenizer, 40)


def test_objective_without_file_stays_in_memory(tokenizer: PreTrainedTokenizerBase) -> None:
    members: dict[str, Any] = {}
    exec("class Typed(Base): pass", {"Base": TinyClassification, "__name__": "nowhere"}, members)  # noqa: S102  (as in a terminal)
    assert isinstance(Encoder(members["Typed"](), tokenizer).encode(rows_with(5), 16), list)
    assert token_store.entries() == []


def test_limit_of_zero_stores_nothing(tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(token_store.LIMIT, "0")
    encoder = Encoder(TinyClassification(), tokenizer)
    assert isinstance(encoder.encode(rows_with(5), 16), list)
    assert "LORATORY_TOKENS_GB is 0" in tokens_text(encoder, {"train": rows_with(5)}, {}, [16])
    assert token_store.entries() == []
    monkeypatch.setenv(token_store.LIMIT, "many")
    with pytest.raises(UserError, match="LORATORY_TOKENS_GB: a number of gigabytes from 0 is needed, got 'many'"):
        Encoder(TinyClassification(), tokenizer)


def test_damaged_entry_is_made_again(tokenizer: PreTrainedTokenizerBase) -> None:
    first = [*Encoder(TinyClassification(), tokenizer).encode(rows_with(30), 16)]
    [entry] = token_store.entries()
    file = entry.folder / "0000.arrow"
    file.write_bytes(file.read_bytes()[:-200])
    assert Encoder(TinyClassification(), tokenizer).encode(rows_with(30), 16) == first
    assert file.stat().st_size > entry.num_bytes / 2


def test_least_recently_used_rows_are_evicted(tokenizer: PreTrainedTokenizerBase) -> None:
    encoder = Encoder(TinyClassification(), tokenizer)
    for count in (10, 20, 30):
        encoder.encode(rows_with(count), 16)
    by_age = [token_store.store_folder() / encoder.key(rows_with(count), 16) for count in (20, 10, 30)]
    for age, folder in zip((300, 200, 100), by_age, strict=True):
        os.utime(folder, (time.time() - age,) * 2)
    reading = encoder.encode(rows_with(20), 16)  # used again: now the newest
    assert token_store.evict(10**9) == []
    sizes = {entry.folder: entry.num_bytes for entry in token_store.entries()}
    removed = token_store.evict(sizes[by_age[0]] + sizes[by_age[2]])
    assert [entry.folder for entry in removed] == [by_age[1]]
    token_store.evict(0, new_s=0.0)
    assert token_store.entries() == []
    assert [*reading] == TinyClassification().encode(rows_with(20), tokenizer, 16)  # mapped files stay readable


_SLOW = """
import sys
from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import Origin, Source
from orchestrator.training.data.encoding import Encoder
from tests.training.data.test_encoding import Slow, rows_with

tokenizer = load_tokenizer(Source(origin=Origin.LOCAL, name=sys.argv[1]))
Encoder(Slow(), tokenizer).encode(rows_with(4500), 16)
"""


def test_killed_encoding_leaves_no_entry(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _SLOW, str(tmp_path / "bert")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(3)] == ["encoding\n"] * 3
        os.kill(process.pid, signal.SIGKILL)
    assert token_store.entries() == []
    assert [*token_store.store_folder().glob(".*.part-*")]
    found = Encoder(Slow(), tokenizer).encode(rows_with(4500), 16)
    assert found[4400:] == TinyClassification().encode(rows_with(4500).select(range(4400, 4500)), tokenizer, 16)
    assert [*token_store.store_folder().glob(".*.part-*")] == []
    assert len(token_store.entries()) == 1
