"""Encodes rows once per machine: all trials, processes and later sweeps read the same memory-mapped files.

The name of an entry is a digest of the rows, the tokenizer, the objective (its state, its code and the modules that it
imports), ``max_length`` and the versions of all installed packages. The rows are encoded and written in parts, so that
memory does not grow with their number.
"""

import functools
import hashlib
import inspect
import json
import logging
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.assets import token_store
from orchestrator.assets.code_digest import code_of, installed_packages, own_code
from orchestrator.core.trials.manifest import sync
from orchestrator.objective.protocol import Example, Objective
from orchestrator.objective.rows.digest import digest, has_slices
from orchestrator.objective.rows.encoded_rows import EncodedRows, EncodedTable
from orchestrator.objective.rows.selection import parts_of

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa
    from transformers import PreTrainedTokenizerBase

PART = 1000
"""Rows encoded and written at a time."""
_ABOUT = "rows.json"
_LORATORY = __name__.partition(".")[0]
logger = logging.getLogger(__name__)


class Encoder:
    """Encodes the rows of one objective with one tokenizer."""

    def __init__(self, objective: Objective, tokenizer: "PreTrainedTokenizerBase") -> None:
        """Take the objective and the tokenizer in their initial state."""
        self._objective = objective
        self._tokenizer = tokenizer
        self._basis = _basis(objective, tokenizer) if token_store.limit_bytes() else None

    def encode(self, rows: "datasets.Dataset", max_length: int, rows_digest: str | None = None) -> Sequence[Example]:
        """Return the examples of rows, from the stored entry if there is one.

        Examples that Arrow cannot hold unchanged are a list in memory. See ``key`` for the arguments.
        """
        if self._basis is None or len(rows) == 0:
            return self._objective.encode(rows, self._tokenizer, max_length)
        key = self.key(rows, max_length, rows_digest)
        stored = self._mapped(key)
        if stored is None:
            try:
                token_store.entry(key, functools.partial(self._write, rows, max_length))
            except _NotStorableError as error:
                logger.info("encoded rows stay in memory: %s", error)
                return self._objective.encode(rows, self._tokenizer, max_length)
            except OSError as error:  # a full or read-only disk must not end a trial
                logger.warning("encoded rows stay in memory, they cannot be stored: %s", error)
                return self._objective.encode(rows, self._tokenizer, max_length)
            stored = self._mapped(key)
        if stored is None:  # another process removed the entry
            return self._objective.encode(rows, self._tokenizer, max_length)
        return stored

    def key(self, rows: "datasets.Dataset", max_length: int, rows_digest: str | None = None) -> str:
        """Return the name of the entry of some rows.

        Args:
            rows: the rows.
            max_length: limit of a row in tokens.
            rows_digest: the digest of the rows, if it is known.
        """
        slices = digest(rows, slices=True) if has_slices(rows) else ""  # a user's ``encode`` may read them
        content = f"{self._basis}\0{max_length}\0{rows_digest or digest(rows)}\0{slices}\0{rows.features}"
        return hashlib.sha256(content.encode()).hexdigest()[:32]

    def is_stored(self, rows: "datasets.Dataset", max_length: int, rows_digest: str | None = None) -> bool | None:
        """Return whether the examples of some rows are stored; None if they are never stored."""
        return None if self._basis is None else token_store.find(self.key(rows, max_length, rows_digest)) is not None

    def _mapped(self, key: str) -> EncodedRows | None:
        """Return the examples of an entry; None if it is absent. A damaged entry is removed."""
        import pyarrow as pa

        folder = token_store.find(key)
        if folder is None:
            return None
        try:
            about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
            table = EncodedTable(folder / name for name in about["files"])
            if len(table) != about["examples"]:
                raise ValueError(f"{len(table)} of {about['examples']} examples")
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            logger.warning("damaged encoded rows are made again: %s: %s", folder, error)
            token_store.remove(folder)
            return None
        token_store.mark_used(folder)
        return EncodedRows.of(table)

    def _write(self, rows: "datasets.Dataset", max_length: int, scratch: Path) -> Path:
        """Encode rows part by part into a folder, and return it.

        Raises:
            _NotStorableError: Arrow cannot hold the examples unchanged.
        """
        import pyarrow as pa

        folder = scratch / "entry"
        folder.mkdir()
        files: list[str] = []
        writer: pa.RecordBatchFileWriter | None = None
        schema, examples = None, 0
        try:
            for part in self._parts(rows, max_length):
                if schema != part.schema:  # a part without some key, or with larger numbers
                    if writer is not None:
                        writer.close()
                    files.append(f"{len(files):04}.arrow")
                    schema, writer = part.schema, pa.ipc.new_file(str(folder / files[-1]), part.schema)
                assert writer is not None
                writer.write_batch(part)
                examples += part.num_rows
        finally:
            if writer is not None:
                writer.close()
        about = {"examples": examples, "files": files, "max_length": max_length, "objective": self._objective.name}
        (folder / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
        for name in (*files, _ABOUT, "."):
            sync(folder / name)
        return folder

    def _parts(self, rows: "datasets.Dataset", max_length: int) -> "Iterator[pa.RecordBatch]":
        for part in parts_of(rows, PART):
            examples = self._objective.encode(part, self._tokenizer, max_length)
            if examples:
                yield _batch_of(examples)


class _NotStorableError(Exception):
    """Arrow cannot hold some examples unchanged."""


def tokens_text(
    encoder: Encoder, splits: "Mapping[str, datasets.Dataset]", digests: Mapping[str, str], max_lengths: Sequence[int]
) -> str:
    """Return in words which splits of a sweep are encoded already.

    Args:
        encoder: encoder of the sweep.
        splits: rows by split.
        digests: digest of the rows by split.
        max_lengths: the possible limits of a row in tokens.
    """
    texts = []
    for length in sorted(max_lengths):
        found = {name: encoder.is_stored(rows, length, digests.get(name)) for name, rows in splits.items() if len(rows)}
        if None in found.values():
            return "encoded in every process: LORATORY_TOKENS_GB is 0, or the objective or tokenizer cannot be compared"
        stored = [name for name, is_stored in found.items() if is_stored]
        missing = [name for name in found if name not in stored]
        parts = [f"reused ({', '.join(stored)})"] if stored else []
        parts += [f"encoded once on this machine, when needed ({', '.join(missing)})"] if missing else []
        texts.append((f"max_length {length}: " if len(max_lengths) > 1 else "") + "; ".join(parts))
    return " · ".join(texts)


def _batch_of(examples: Sequence[Example]) -> "pa.RecordBatch":
    """Return examples as Arrow, lists of integers in the smallest of three sizes.

    Raises:
        _NotStorableError: the examples, read back, differ.
    """
    import pyarrow as pa

    names = dict.fromkeys(name for example in examples for name in example)
    try:
        columns = {name: _smallest(pa.array([example.get(name) for example in examples])) for name in names}
    except (pa.ArrowException, OverflowError) as error:
        raise _NotStorableError(str(error)) from error
    batch = pa.RecordBatch.from_pydict(columns)
    for example, row in zip(examples, batch.to_pylist(), strict=True):
        back = {name: value for name, value in row.items() if value is not None}
        if repr(sorted(back.items())) != repr(sorted(example.items())):  # 1 == 1.0, and a tuple is no list
            raise _NotStorableError(f"an example has other values in Arrow: {', '.join(names)}")
    return batch


def _smallest(column: "pa.Array") -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_list(column.type) and column.type.value_type == pa.int64()):
        return column
    bounds = pc.min_max(column.flatten())
    low, high = bounds["min"].as_py() or 0, bounds["max"].as_py() or 0
    for kind, most in ((pa.int8(), 2**7), (pa.int32(), 2**31)):
        if -most <= low and high < most:
            return column.cast(pa.list_(kind))
    return column


def _basis(objective: Objective, tokenizer: "PreTrainedTokenizerBase") -> str | None:
    """Return a digest of everything but the rows and their length.

    None: the objective cannot be pickled or has no file, or the tokenizer has no files.
    """
    from datasets.fingerprint import Hasher

    try:
        parts = (Hasher.hash(objective), _code(objective), _tokenizer_digest(tokenizer), installed_packages())
    except Exception as error:  # noqa: BLE001  (pickling runs the objective's own code, which may raise anything)
        logger.info("encoded rows stay in memory: the objective or the tokenizer cannot be compared: %s", error)
        return None
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _code(objective: Objective) -> str:
    """Return a digest of the code of an objective.

    It covers Loratory, the files of the objective, its bases and its functions, and what these files import and name.

    Raises:
        OSError, TypeError: a class has no file.
    """
    kinds = [one for one in type(objective).__mro__ if _is_own(one.__module__)]
    files = {inspect.getfile(kind) for kind in kinds}
    for value in getattr(objective, "__dict__", {}).values():
        name = getattr(value, "__module__", None)
        if isinstance(name, str) and _is_own(name):
            files.add(getattr(sys.modules.get(name), "__file__", None) or inspect.getfile(value))
    return f"{own_code()} {code_of(frozenset(map(Path, files)))}"


def _is_own(module: str) -> bool:
    return module.partition(".")[0] not in {*sys.stdlib_module_names, _LORATORY}


def _tokenizer_digest(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return a digest of a tokenizer's vocabulary, rules, special tokens and chat template."""
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    found = hashlib.sha256(type(tokenizer).__qualname__.encode())
    if backend is not None:
        rules = json.loads(backend.to_str())
        for state in ("truncation", "padding"):  # of the latest call
            rules.pop(state, None)
        found.update(json.dumps(rules).encode())
    else:
        with tempfile.TemporaryDirectory() as folder:
            for name in sorted(tokenizer.save_vocabulary(folder)):
                found.update(Path(name).read_bytes())
    plain = (bool, int, float, str, list, tuple, type(None))
    about = {
        "special": {name: repr(token) for name, token in tokenizer.special_tokens_map.items()},
        "added": {place: repr(token) for place, token in tokenizer.added_tokens_decoder.items()},
        "template": tokenizer.chat_template,
        "settings": {name: value for name, value in tokenizer.init_kwargs.items() if name not in _PLACES},
        "attributes": {
            name: value for name, value in vars(tokenizer).items() if isinstance(value, plain) and name not in _PLACES
        },
    }
    found.update(json.dumps(about, sort_keys=True, default=str).encode())
    return found.hexdigest()


_PLACES = frozenset(
    {"name_or_path", "vocab_file", "tokenizer_file", "tokenizer_object", "vocab", "merges", "files_loaded"}
    | {"init_inputs", "added_tokens_decoder"}
)
"""Settings of a tokenizer with its place, or with values that are in its rules."""
