"""The history of a model's aliases, as tags of the registered model: one tag for each move. Pure.

The tag of a move is written before the alias moves, and marked as done afterwards. So the history names every move
by Loratory, even after a kill. A move by another program is recognised by the version before the next move.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace

HISTORY_TAG = "mlflow.loratory.alias"
"""Tag of a registered model: ``mlflow.loratory.alias.<alias>.<number>-<mark>``, numbered from 1.

MLflow's pages show no tag with this beginning. Versions before 0.3 wrote it without ``mlflow.``.
"""
_BEGINNINGS = (f"{HISTORY_TAG}.", f"{HISTORY_TAG.removeprefix('mlflow.')}.")

PROMOTE, ROLLBACK, OUTSIDE = "promote", "rollback", "outside"


@dataclass(frozen=True, kw_only=True, slots=True)
class AliasMove:
    """One move of an alias.

    Attributes:
        version: the new version of the alias; None: the alias was deleted, by another program.
        previous: the version before; None: there was none.
        action: ``promote``, ``rollback``, or ``outside`` for a move by another program.
        by: login name of the person; empty if unknown.
        at: time of the move, in seconds since the epoch; None if unknown.
        reason: why, in words.
        origin: sweep and trial of the new version, in words.
        done: whether the alias moved; False if the process was killed before.
    """

    version: int | None
    previous: int | None
    action: str
    by: str = ""
    at: float | None = None
    reason: str = ""
    origin: str = ""
    done: bool = False


def move_tag(alias: str, number: int, move: AliasMove) -> tuple[str, str]:
    """Return the key and the value of a move's tag. Two moves with one number, of two machines, have two keys."""
    mark = hashlib.sha256(f"{move.by} {move.at} {move.version}".encode()).hexdigest()[:6]
    return f"{HISTORY_TAG}.{alias}.{number:04d}-{mark}", json.dumps(asdict(move), ensure_ascii=False)


def stored_moves(tags: Mapping[str, str], alias: str) -> list[tuple[int, AliasMove]]:
    """Return the moves of an alias as stored, with their numbers, in their order."""
    found = [
        (int(number.partition("-")[0]), AliasMove(**json.loads(tags[key])))
        for key, moved, number in _keys(tags)
        if moved == alias
    ]
    return sorted(found, key=lambda item: (item[0], item[1].at or 0.0))


def alias_names(tags: Mapping[str, str]) -> tuple[str, ...]:
    """Return the aliases with a history."""
    return tuple(sorted({alias for _, alias, _ in _keys(tags)}))


def _keys(tags: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield the key of each move, its alias, and its number with the mark."""
    for key in tags:
        for beginning in _BEGINNINGS:
            if key.startswith(beginning):
                alias, _, number = key.removeprefix(beginning).rpartition(".")
                yield key, alias, number


def alias_history(tags: Mapping[str, str], alias: str, holder: int | None) -> tuple[AliasMove, ...]:
    """Return every move of an alias, the oldest first; moves by other programs are inserted.

    Args:
        tags: the registered model's tags.
        alias: the alias.
        holder: the alias's version now; None: no version has it.
    """
    return tuple(_moves([move for _, move in stored_moves(tags, alias)], holder))


def _moves(stored: list[AliasMove], holder: int | None) -> Iterator[AliasMove]:
    if not stored:
        return
    current = stored[0].previous
    for index, move in enumerate(stored):
        after = stored[index + 1].previous if index + 1 < len(stored) else holder
        if move.previous != current:
            yield AliasMove(version=move.previous, previous=current, action=OUTSIDE, done=True)
        # Without its mark the move is done unless the alias stayed.
        done = move.done or after != move.previous
        yield replace(move, done=done)
        current = move.version if done else move.previous
    if holder != current:
        yield AliasMove(version=holder, previous=current, action=OUTSIDE, done=True)
