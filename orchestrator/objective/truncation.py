"""Count the rows whose tokens exceed ``max_length``, before anything is trained."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import Source
from orchestrator.core.errors import AssetError, LoratoryError, first_line
from orchestrator.objective.generation import TextGeneration
from orchestrator.objective.protocol import Example, Head, Objective, Splits

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

_SPECIAL = 16
"""Tokens that a tokenizer or an objective may add to a row."""
_TOKENISED = 20_000
"""Rows of a split that are tokenised at most; with more, their share is taken for all: 20,000 take about 1 s."""


def truncated(
    objective: Objective,
    splits: Splits,
    model: Source,
    max_length: int,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
) -> dict[str, int]:
    """Return the number of rows by split that ``encode`` cuts to ``max_length`` tokens.

    Most rows are decided without tokens: a token has at least one byte of the text, and a word at least one token.

    Args:
        objective: encodes the rows.
        splits: the rows.
        model: the base model.
        max_length: the limit, in tokens.
        tokenizer: the base model's; None: it is loaded if a row needs it.

    Raises:
        AssetError: the tokenizer cannot be had.
        DataError: ``max_length`` is too short for the objective's prompt.
    """
    named = splits.by_name()
    decided = {name: _decided(objective, rows, max_length) for name, rows in named.items()}
    if not any(undecided for _, undecided in decided.values()):
        return {name: exceeding for name, (exceeding, _) in decided.items()}
    tokenizer = _tokenizer(model, objective.head) if tokenizer is None else tokenizer
    return {
        name: exceeding + _counted(objective, named[name].select(undecided), tokenizer, max_length)
        for name, (exceeding, undecided) in decided.items()
    }


def _tokenizer(model: Source, head: Head) -> "PreTrainedTokenizerBase":
    try:
        return load_tokenizer(model, classifies=head is Head.SEQUENCE_CLASSIFICATION)
    except LoratoryError:
        raise
    except Exception as error:  # the libraries raise plain exceptions for damaged files
        raise AssetError(f"model {model}: its tokenizer cannot be loaded: {first_line(error)}") from error


def _decided(objective: Objective, rows: "datasets.Dataset", max_length: int) -> tuple[int, list[int]]:
    """Return the number of rows that certainly exceed the limit, and the indices of rows that must be tokenised."""
    if not _is_base(objective):
        return 0, [*range(len(rows))]
    names = ["text", *([objective.target] if isinstance(objective, TextGeneration) else [])]
    extra = _SPECIAL + len(getattr(objective, "prompt", "").encode())
    exceeding, undecided = 0, []
    for row, texts in enumerate(zip(*(rows[name][:] for name in names), strict=True)):
        given = [text for text in texts if text]
        if extra + sum(len(text) if text.isascii() else len(text.encode()) for text in given) <= max_length:
            continue
        if any(len(text.split()) > max_length for text in given):
            exceeding += 1
        else:
            undecided.append(row)
    return exceeding, undecided


def _is_base(objective: Objective) -> bool:
    """Return whether a base of this package encodes the rows: it reads text and target, and leaves no word out."""
    return str(getattr(type(objective).encode, "__module__", "")).startswith("orchestrator.objective.")


def _counted(
    objective: Objective, rows: "datasets.Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int
) -> int:
    count = len(rows)
    if count == 0:
        return 0
    if count > _TOKENISED:
        rows = rows.select([index * count // _TOKENISED for index in range(_TOKENISED)])
    objective.encode(rows.select([0]), tokenizer, max_length)  # says it with the right number if that is too short
    examples = objective.encode(rows, tokenizer, max_length + 1)
    return round(sum(_length(example) > max_length for example in examples) * count / len(rows))


def _length(example: Example) -> int:
    """Return the number of tokens of a row's longest sequence: its input, or its labels if they are tokens."""
    labels: Any = example.get("labels")
    return max(len(example["input_ids"]), len(labels) if isinstance(labels, Sequence) else 0)
