"""Rows of several token sequences, such as the preferred and the rejected answer to one prompt.

Such a row holds its sequences one after another in ``input_ids`` and in every other list per token, and their lengths
in ``lengths``. So a row counts all its tokens, and all its sequences stay in one batch.
"""

from collections.abc import Sequence

from orchestrator.objective.protocol import REFERENCE, Example

LENGTHS = "lengths"
"""Key of the lengths of a row's sequences, in tokens; absent if a row is one sequence."""


def join(sequences: Sequence[Example]) -> Example:
    """Return one row of several sequences with the same lists per token."""
    names = sequences[0].keys()
    joined: Example = {name: [value for each in sequences for value in each[name]] for name in names}
    return {**joined, LENGTHS: [len(each["input_ids"]) for each in sequences]}


def separate(example: Example) -> list[Example]:
    """Return the sequences of a row, each with its lists per token; a row of one sequence is returned as it is."""
    if LENGTHS not in example:
        return [example]
    total = len(example["input_ids"])
    lists = [name for name, value in example.items() if isinstance(value, list) and len(value) == total]
    per_token = [name for name in lists if name not in {LENGTHS, REFERENCE}]
    sequences, start = [], 0
    for length in example[LENGTHS]:
        sequences.append({name: example[name][start : start + length] for name in per_token})
        start += length
    return sequences


def longest(example: Example) -> int:
    """Return the length in tokens of the longest sequence of a row."""
    lengths: list[int] = example.get(LENGTHS, [len(example["input_ids"])])
    return max(lengths)
