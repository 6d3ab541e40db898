"""Suggests ``data.labels`` for values without a certain class."""

import difflib
import json
import re
from collections.abc import Sequence

from orchestrator.core.tasks.labels import class_of, folded

_SHOWN = 6
"""Most values in a message."""
LONGEST_VALUE = 60
"""Most characters of a value in a message. A longer value is probably not a label."""
_PLAIN = re.compile(r"[^\W\d_][\w./-]*(?: [\w./-]+)*")
"""Text without need for quotes in YAML, except ``_WORDS``."""
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "nan"})
_TRUE = ("true", "yes", "positive", "pos", "on")
_FALSE = ("false", "no", "negative", "neg", "off")


def hint(values: Sequence[str], classes: Sequence[str]) -> str:
    """Return a sentence with the ``data.labels`` to write; ``CLASS`` stands for a class without a guess.

    Args:
        values: the values of the column, as text.
        classes: the task's class names.
    """
    values = [value for value in dict.fromkeys(values) if class_of(value, classes) is None]
    if any(len(value) > LONGEST_VALUE for value in values):
        return "These do not look like labels: check data.columns.label."
    numbered = _in_order(values, classes)
    guesses = {value: numbered.get(value) or _guess(value, classes) for value in values[:_SHOWN]}
    taken = [name for name in guesses.values() if name is not None]
    if not numbered and _ids_and_none(values, classes):
        return "If -1 means that a row has no label, set data.labels: {-1: null}."
    if len(set(taken)) < len(taken) and len(values) <= len(classes):
        guesses = dict.fromkeys(guesses)  # two values with the same class: the guess is probably wrong
    pairs = [f"{quoted(value, key=True)}: {quoted(name) if name else 'CLASS'}" for value, name in guesses.items()]
    more = ", …" if len(values) > _SHOWN else ""
    if None in guesses.values() or more:
        return (
            f"Set data.labels: {{{', '.join(pairs)}{more}}} with the class of each value "
            "(null excludes its rows), or check data.columns.label."
        )
    return f"If this mapping is right, set data.labels: {{{', '.join(pairs)}}}."


def _in_order(values: Sequence[str], classes: Sequence[str]) -> dict[str, str]:
    """Map the numbers in ascending order to the classes, if there are equally many; else return {}."""
    if len(values) != len(classes) or not all(re.fullmatch(r"-?[0-9]+", value) for value in values):
        return {}
    return dict(zip(sorted(values, key=int), classes, strict=True))


def _ids_and_none(values: Sequence[str], classes: Sequence[str]) -> bool:
    """Return whether the values are -1 and class ids."""
    return "-1" in values and {*values} <= {str(one) for one in range(-1, len(classes))}


def _guess(value: str, classes: Sequence[str]) -> str | None:
    """Return the class most similar to a value; None if there is none, or more than one."""
    key, names = folded(value), [folded(name) for name in classes]
    for meaning in (_TRUE, _FALSE):
        if key in meaning:
            alike = [name for name, other in zip(classes, names, strict=True) if other in meaning]
            return alike[0] if len(alike) == 1 else None
    if re.fullmatch(r"-?[0-9]+", key):
        alike = [name for name, other in zip(classes, names, strict=True) if re.match(rf"{key}(?![0-9])", other)]
        return alike[0] if len(alike) == 1 else None
    if key:
        alike = [n for n, other in zip(classes, names, strict=True) if other.startswith(key) or key.startswith(other)]
        if len(alike) == 1:
            return alike[0]
    near = difflib.get_close_matches(key, names, n=2, cutoff=0.75)
    return classes[names.index(near[0])] if len(near) == 1 else None


def quoted(text: str, *, key: bool = False) -> str:
    """Return text in YAML notation; a key needs no quotes for numbers and words such as ``true``."""
    if key and re.fullmatch(r"-?[\w.]+", text):
        return text
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)
