"""Reads pairs of answers: the columns ``prompt``, ``chosen`` and ``rejected``, as TRL has them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.assets.data import read_table
from orchestrator.core.data import Source
from orchestrator.core.errors import DataError
from orchestrator.objective.slice_columns import kept_columns

if TYPE_CHECKING:
    import datasets

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
    prompts = rows[PROMPT][:] if PROMPT in rows.column_names else [None] * len(rows)
    pairs = [
        split_prompt(chosen or "", rejected or "") if prompt is None else _given(prompt, chosen, rejected)
        for prompt, chosen, rejected in zip(prompts, rows[CHOSEN][:], rows[REJECTED][:], strict=True)
    ]
    _require_prompts(source, pairs)
    further: dict[str, Sequence[object]] = {**kept_columns(rows, columns, (PROMPT, CHOSEN, REJECTED, "group"))}
    if "group" in rows.column_names:
        further["group"] = rows["group"][:]
    return pair_table(pairs, further, left_out)


def pair_table(
    pairs: Sequence[Pair], further: Mapping[str, Sequence[object]], left_out: "Counter[str]"
) -> "datasets.Dataset":
    """Return the usable pairs as a table; see ``read_pairs`` for the columns.

    Args:
        pairs: one per row.
        further: further columns, one value per pair.
        left_out: gets the number of rows left out, by reason.
    """
    import datasets

    left_out.update(pair.problem for pair in pairs if pair.problem)
    kept = [row for row, pair in enumerate(pairs) if pair.problem is None]
    table: dict[str, Sequence[object]] = {
        "text": [pairs[row].prompt for row in kept],
        CHOSEN: [pairs[row].chosen for row in kept],
        REJECTED: [pairs[row].rejected for row in kept],
        PAIR: [f"{pairs[row].chosen}\0{pairs[row].rejected}" for row in kept],
    }
    table |= {name: [values[row] for row in kept] for name, values in further.items()}
    return datasets.Dataset.from_dict(table)


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


def _require_prompts(source: Source, pairs: Sequence[Pair]) -> None:
    without = [row + 1 for row, pair in enumerate(pairs) if pair.problem is None and not pair.prompt.strip()]
    if without:
        places = ", ".join(map(str, without[:5])) + (f" and {len(without) - 5} more" if len(without) > 5 else "")
        raise DataError(
            f"{source}: no prompt in row {places}. A column {PROMPT} must hold text; without it, {CHOSEN} and "
            f"{REJECTED} must begin with the same text. Set data.columns: {{{PROMPT}: COLUMN}}"
        )
