"""Reads pairs of answers: the columns ``prompt``, ``chosen`` and ``rejected``, as TRL has them."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.assets.data import read_table
from orchestrator.core.data import Source
from orchestrator.core.errors import DataError
from orchestrator.objective.rows.converted import Converted, RowPart, converted, row_parts
from orchestrator.objective.rows.slice_columns import kept_names

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

PROMPT, CHOSEN, REJECTED = "prompt", "chosen", "rejected"
"""Columns of the source. Without ``prompt``, it is the common beginning of both answers."""
PAIR = "pair"
"""Column with both answers, by which splits tell rows with one prompt apart."""
NO_ANSWER = "an answer is blank"
EQUAL = "both answers are equal"
"""Reasons for rows left out. Sweeps store them in their facts, so the texts stay."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A prompt with its preferred and its rejected answer, as texts."""

    prompt: str
    chosen: str
    rejected: str

    @property
    def problem(self) -> str | None:
        """The reason to leave the pair out, or None."""
        if not (self.chosen.strip() and self.rejected.strip()):
            return NO_ANSWER
        return EQUAL if self.chosen == self.rejected else None


def read_pairs(source: Source, columns: Mapping[str, str], left_out: Counter[str]) -> "datasets.Dataset":
    """Return the pairs of a source.

    Columns: ``text`` (the prompt), ``chosen``, ``rejected``, ``pair``, ``group``, if the source has it, and
    ``slice/<name>`` for each further name in ``columns``.

    Args:
        source: has columns of text ``chosen``, ``rejected`` and perhaps ``prompt``.
        columns: the source's column name by the objective's column name.
        left_out: gets the number of rows left out, by reason.

    Raises:
        DataError: a column is missing, or a row has no prompt: its answers begin differently.
    """
    rows = read_table(source, columns, required=(CHOSEN, REJECTED), text=(CHOSEN, REJECTED))
    form = PairForm(name="pairs of texts", pair=_pair_of, further={}, needs_text=True)
    return converted_pairs(rows, columns, left_out, source, form)


class PairForm(NamedTuple):
    """How the cells of a row become a pair.

    Attributes:
        name: names the form in the cache.
        pair: returns the pair of a row, and the values of its further columns, from its prompt (None without a column)
            and its chosen and rejected cell. The message of its ``DataError`` does not name the source.
        further: types of the further columns.
        needs_text: whether a prompt without text is an error.
    """

    name: str
    pair: Callable[[Any, Any, Any], tuple[Pair, Mapping[str, object]]]
    further: "Mapping[str, pa.DataType]"
    needs_text: bool


def converted_pairs(
    rows: "datasets.Dataset", columns: Mapping[str, str], left_out: Counter[str], source: Source, form: PairForm
) -> "datasets.Dataset":
    """Return the usable pairs of rows, converted in parts; see ``orchestrator.objective.rows.converted``.

    Args:
        rows: with the columns ``chosen``, ``rejected`` and perhaps ``prompt``.
        columns: the source's column name by the objective's column name.
        left_out: gets the number of rows left out, by reason.
        source: named in messages.
        form: how a row becomes a pair.

    Raises:
        DataError: a row has no prompt, or another form.
    """
    kept = kept_names(rows, columns, (PROMPT, CHOSEN, REJECTED))
    found, own = converted(rows, partial(_parts, rows, kept, source, form), form.name, kept)
    left_out.update({reason: len(numbers) for reason, numbers in own.items()})
    return found


def _parts(rows: "datasets.Dataset", kept: Mapping[str, str], source: Source, form: PairForm) -> Iterator[Converted]:
    import pyarrow as pa

    names = [name for name in (PROMPT, CHOSEN, REJECTED) if name in rows.column_names]
    without: list[int] = []
    for part in row_parts(rows, names, kept):
        found = _pairs(part, source, form)
        left_out = defaultdict[str, list[int]](list)
        places = []
        for place, (pair, _) in enumerate(found):
            number = part.first + place + 1
            if pair.problem is not None:
                left_out[pair.problem].append(number)
                continue
            places.append(place)
            if form.needs_text and not pair.prompt.strip():
                without.append(number)
        texts = _text_columns([found[place][0] for place in places])
        table = {
            **{name: pa.array(values, pa.string()) for name, values in texts.items()},
            **{name: pa.array([found[at][1][name] for at in places], kind) for name, kind in form.further.items()},
            **part.kept_at(places),
        }
        yield Converted(table=pa.table(table), notes=left_out)
    _require_prompts(source, without)


def _pairs(part: RowPart, source: Source, form: PairForm) -> list[tuple[Pair, Mapping[str, object]]]:
    """Return the pair of each row.

    Raises:
        DataError: a row has another form; the message names it.
    """
    prompts = part.columns.get(PROMPT, [None] * len(part.columns[CHOSEN]))
    found = []
    for number, cells in enumerate(zip(prompts, part.columns[CHOSEN], part.columns[REJECTED], strict=True), 1):
        try:
            found.append(form.pair(*cells))
        except DataError as error:
            raise DataError(f"{source}: row {part.first + number}: {error}") from error
    return found


def pair_table(
    pairs: Sequence[Pair], further: Mapping[str, Sequence[object]], left_out: "Counter[str]"
) -> "datasets.Dataset":
    """Return the usable pairs as a table in memory; see ``read_pairs`` for the columns.

    Args:
        pairs: one per row.
        further: further columns, one value per pair.
        left_out: gets the number of rows left out, by reason.
    """
    import datasets

    left_out.update(pair.problem for pair in pairs if pair.problem)
    kept = [row for row, pair in enumerate(pairs) if pair.problem is None]
    table: dict[str, Sequence[object]] = {**_text_columns([pairs[row] for row in kept])}
    table |= {name: [values[row] for row in kept] for name, values in further.items()}
    return datasets.Dataset.from_dict(table)


def _text_columns(pairs: Sequence[Pair]) -> dict[str, list[str]]:
    return {
        "text": [pair.prompt for pair in pairs],
        CHOSEN: [pair.chosen for pair in pairs],
        REJECTED: [pair.rejected for pair in pairs],
        PAIR: [f"{pair.chosen}\0{pair.rejected}" for pair in pairs],
    }


def split_prompt(chosen: str, rejected: str) -> Pair:
    """Return the pair of two whole texts. The prompt ends before the first difference, and before a space there."""
    pairs = enumerate(zip(chosen, rejected, strict=False))
    length = next((place for place, (one, other) in pairs if one != other), min(len(chosen), len(rejected)))
    prompt = chosen[:length].removesuffix(" ")  # the space belongs to the answers: tokens begin with it
    return Pair(prompt=prompt, chosen=chosen[len(prompt) :], rejected=rejected[len(prompt) :])


def _given(prompt: object, chosen: str | None, rejected: str | None) -> Pair:
    if not isinstance(prompt, str):
        raise DataError(f"column {PROMPT}: text is needed, got {str(prompt)[:80]!r}")
    return Pair(prompt=prompt, chosen=chosen or "", rejected=rejected or "")


def _pair_of(prompt: object, chosen: str | None, rejected: str | None) -> tuple[Pair, Mapping[str, object]]:
    given = split_prompt(chosen or "", rejected or "") if prompt is None else _given(prompt, chosen, rejected)
    return given, {}


def _require_prompts(source: Source, without: Sequence[int]) -> None:
    """Raise ``DataError`` if rows have no prompt."""
    if without:
        places = ", ".join(map(str, without[:5])) + (f" and {len(without) - 5} more" if len(without) > 5 else "")
        raise DataError(
            f"{source}: no prompt in row {places}. A column {PROMPT} must hold text; without it, {CHOSEN} and "
            f"{REJECTED} must begin with the same text. Set data.columns: {{{PROMPT}: COLUMN}}"
        )
