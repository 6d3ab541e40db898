"""Counts the rows truncated to ``max_length`` tokens, before training."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import Source
from orchestrator.core.errors import AssetError, LoratoryError, first_line
from orchestrator.objective.generation import TextGeneration
from orchestrator.objective.protocol import Example, Head, Objective, Splits
from orchestrator.objective.rows.converted import PART, values_in_parts
from orchestrator.objective.rows.selection import parts_of
from orchestrator.objective.rows.text_pairs import PAIR
from orchestrator.objective.sequences import LENGTHS, longest

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

_SPECIAL = 16
"""Most special tokens added to a row by a tokenizer or an objective."""
_NO_LIMIT = 10**6
"""A length in tokens above every row's."""


def truncated(
    objective: Objective,
    splits: Splits,
    model: Source,
    max_length: int,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    sample_size: int = 20_000,
) -> dict[str, int]:
    """Return the number of rows truncated by ``encode``, by split.

    Most rows are decided without tokenisation: a token has at least one byte of the text, and a word at least one
    token.

    Args:
        objective: encodes the rows.
        splits: the rows.
        model: the base model.
        max_length: the limit, in tokens.
        tokenizer: the base model's; if None, it is loaded when needed.
        sample_size: most rows of a split to tokenise; their share is extrapolated. 20,000 rows take about 1 s.

    Raises:
        AssetError: the tokenizer cannot be loaded.
        DataError: ``max_length`` is too short for the objective's prompt.
    """
    named = splits.by_name()
    if hasattr(objective, "join"):  # a long row has several windows instead
        return dict.fromkeys(named, 0)
    decided = {name: _decided(objective, rows, max_length) for name, rows in named.items()}
    if not any(undecided for _, undecided in decided.values()):
        return {name: exceeding for name, (exceeding, _) in decided.items()}
    tokenizer = tokenizer_of(model, objective.head) if tokenizer is None else tokenizer
    return {
        name: exceeding + _count(objective, named[name].select(undecided), tokenizer, max_length, sample_size)
        for name, (exceeding, undecided) in decided.items()
    }


def token_lengths(
    objective: Objective,
    splits: Splits,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    sample_size: int = 2_000,
) -> dict[str, list[int]]:
    """Return the lengths in tokens of evenly spaced rows by split, without truncation.

    The lengths of an objective with its own ``encode`` end at ``max_length + 1``: it may pad to its limit.

    Args:
        objective: encodes the rows.
        splits: the rows.
        tokenizer: the base model's.
        max_length: the limit of the sweep, in tokens.
        sample_size: most rows of a split to tokenise.

    Raises:
        DataError: ``max_length`` is too short for the objective's prompt.
    """
    limit = _NO_LIMIT if _is_base(objective) else max_length + 1
    lengths = {}
    for name, rows in splits.by_name().items():
        some = _evenly(rows, sample_size)
        lengths[name] = [*_lengths(objective, some, tokenizer, limit)]
    return lengths


def _evenly(rows: "datasets.Dataset", size: int) -> "datasets.Dataset":
    """Return at most ``size`` rows, evenly spaced."""
    count = len(rows)
    return rows if count <= size else rows.select([index * count // size for index in range(size)])


def tokenizer_of(model: Source, head: Head) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of a model for an objective's head.

    Raises:
        AssetError: the tokenizer cannot be loaded.
    """
    try:
        return load_tokenizer(model, classifies=head.classifies)
    except LoratoryError:
        raise
    except Exception as error:  # the libraries raise plain Exception for damaged files
        raise AssetError(f"model {model}: its tokenizer cannot be loaded: {first_line(error)}") from error


def _decided(objective: Objective, rows: "datasets.Dataset", max_length: int) -> tuple[int, list[int]]:
    """Return the number of rows known to exceed the limit, and the indices of the rows to tokenise."""
    if not _is_base(objective) or hasattr(objective, "chat_template"):  # templates add text of any length
        return 0, [*range(len(rows))]
    names = [
        "text",
        *([PAIR] if PAIR in rows.column_names else []),
        *(getattr(objective, "targets", (objective.target,)) if isinstance(objective, TextGeneration) else ()),
    ]
    extra = _SPECIAL + len(getattr(objective, "prompt", "").encode())
    exceeding, undecided = 0, []
    for row, texts in enumerate(zip(*(values_in_parts(rows, name) for name in names), strict=True)):
        given = [text for text in texts if text]
        if extra + sum(len(text) if text.isascii() else len(text.encode()) for text in given) <= max_length:
            continue
        if any(len(text.split()) > max_length for text in given):
            exceeding += 1
        else:
            undecided.append(row)
    return exceeding, undecided


def _is_base(objective: Objective) -> bool:
    """Return whether ``encode`` comes from this package: it then tokenises the whole text and target."""
    return str(getattr(type(objective).encode, "__module__", "")).startswith("orchestrator.objective.")


def _count(
    objective: Objective,
    rows: "datasets.Dataset",
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    sample_size: int,
) -> int:
    count = len(rows)
    if count == 0:
        return 0
    rows = _evenly(rows, sample_size)
    objective.encode(rows.select([0]), tokenizer, max_length)  # raises if max_length is too short for the prompt
    # A limit of one token more is not enough for conversations: they lose whole turns.
    limit = _NO_LIMIT if hasattr(objective, "chat_template") else max_length + 1
    exceeding = sum(length > max_length for length in _lengths(objective, rows, tokenizer, limit))
    return round(exceeding * count / len(rows))


def _lengths(
    objective: Objective, rows: "datasets.Dataset", tokenizer: "PreTrainedTokenizerBase", limit: int
) -> Iterator[int]:
    """Yield the length in tokens of each example; the rows are encoded in parts."""
    for part in parts_of(rows, PART):
        yield from map(_length, objective.encode(part, tokenizer, limit))


def _length(example: Example) -> int:
    """Return the length in tokens of a row's input or of its token labels, the longer one.

    The input of a row of several sequences is as long as its longest sequence.
    """
    if LENGTHS in example:
        return longest(example)
    labels = example.get("labels")
    tokens = labels if isinstance(labels, Sequence) and not isinstance(next(iter(labels), None), float) else ()
    return max(len(example["input_ids"]), len(tokens))
