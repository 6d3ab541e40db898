"""Read a table of rows from any origin into memory, under the column names that the objective uses."""

import difflib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.assets.cache import quiet_hugging_face
from orchestrator.assets.catalogue import Kind
from orchestrator.assets.fetch import fetch, packaged
from orchestrator.assets.hub import unreachable
from orchestrator.assets.readers import READERS
from orchestrator.assets.tables import Wanted, checked_text, read_as_before, read_file
from orchestrator.core.data import SPLIT_RULE, Origin, Source
from orchestrator.core.errors import DataError, UserError

if TYPE_CHECKING:
    import datasets


_SPLIT_RULE: ContextVar[int] = ContextVar("split rule", default=SPLIT_RULE)


@contextmanager
def reading_for(split_rule: int) -> Iterator[None]:
    """Let ``read_table`` read files as sweeps under this split rule do, also where a task's own ``read`` calls it."""
    token = _SPLIT_RULE.set(split_rule)
    try:
        yield
    finally:
        _SPLIT_RULE.reset(token)


def read_table(
    source: Source,
    columns: Mapping[str, str] | None = None,
    required: Collection[str] = (),
    text: Collection[str] = (),
) -> "datasets.Dataset":
    """Return all rows of a source, in memory.

    Args:
        source: a packaged data set, a hub data set (split ``train`` unless it names one) or a local file.
        columns: our column names to the source's own; the others keep their names, and a column of the source that
            would collide with one of ours is left out.
        required: columns, by our names, that must be there; a column named in ``columns`` is required too.
        text: columns, by our names, that must hold text; those of a CSV file stay as they are written.

    Raises:
        AssetError: the source is missing or cannot be reached.
        DataError: a required column is missing or holds something else than text, or the file is no table.
    """
    quiet_hugging_face()
    columns = dict(columns or {})
    names = {name: columns.get(name, name) for name in (*required, *columns, *text)}
    texts = [names[name] for name in text]
    if source.origin is Origin.LOCAL:
        rows = _local(source, Wanted(text=frozenset(texts), needed=frozenset(names.values())))
    else:
        rows = _READ[source.origin](source)
    for name in dict.fromkeys((*required, *columns)):
        _require(rows.column_names, name, names[name], source)
    rows = checked_text(rows, [name for name in texts if name in rows.column_names], source)
    taken = {theirs: ours for ours, theirs in columns.items()}
    colliding = [name for name in rows.column_names if name in columns and name not in taken]
    rows = rows.remove_columns(colliding)
    # Two steps, because two columns may swap their names.
    rows = rows.rename_columns({theirs: f"\x00{ours}" for theirs, ours in taken.items()})
    renamed: datasets.Dataset = rows.rename_columns({f"\x00{ours}": ours for ours in taken.values()})
    return renamed


def _require(there: Collection[str], ours: str, theirs: str, source: Source) -> None:
    if theirs in there:
        return
    near = difflib.get_close_matches(theirs, there, n=1, cutoff=0.5)
    wanted = repr(theirs) if ours == theirs else f"{theirs!r} (for {ours})"
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    remedy = f"Set data.columns: {{{ours}: COLUMN}} to one of them"
    raise DataError(f"{source} has no column {wanted}{hint} It has: {', '.join(there)}. {remedy}")


def _packaged(source: Source) -> "datasets.Dataset":
    asset = packaged(source.name)
    if asset.kind is not Kind.DATA:
        raise UserError(f"{source.name} is a packaged model; data is needed here")
    folder = fetch(source.name)
    import datasets

    return datasets.Dataset.from_dict(READERS[source.name](folder=folder))


def _local(source: Source, wanted: Wanted) -> "datasets.Dataset":
    path = Path(source.name).expanduser().absolute()
    return read_as_before(path) if _SPLIT_RULE.get() == 1 else read_file(path, wanted)


def _hub(source: Source) -> "datasets.Dataset":
    """Read a hub data set through Hugging Face's own cache, so that what was once downloaded is there offline."""
    with unreachable(f"data set {source}"):
        import datasets  # here, so that it learns whether to do without the hub: it asks once

        try:
            return datasets.load_dataset(
                source.name, source.config, split=source.split or "train", revision=source.revision, keep_in_memory=True
            )
        except ValueError as error:  # an unknown configuration or split: the message lists those there are
            raise DataError(f"data set {source}: {error}") from error


_READ = {Origin.PACKAGED: _packaged, Origin.HUB: _hub}
