"""Sentences about entities in the README of an adapter."""

from collections.abc import Sequence

ENTITIES = "token_classification"
"""The head of models that find entities."""


def types_of(tags: Sequence[str]) -> list[str]:
    """Return the types of entities among IOB2 tags."""
    return [tag.removeprefix("B-") for tag in tags if tag.startswith("B-")]


def entity_task(tags: Sequence[str]) -> str:
    """Return the task in one sentence."""
    return f"It finds {', '.join(f'`{name}`' for name in types_of(tags))} in a text of any length."


def entity_limits(max_length: int) -> list[str]:
    """Return the limits of a model that finds entities."""
    return [
        f"Texts longer than {max_length} tokens are divided into overlapping windows.",
        "Entities consist of whole words, and do not overlap.",
    ]
