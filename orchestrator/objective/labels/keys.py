"""Finds the keys of ``data.labels`` that occur in no row."""

import difflib
from collections.abc import Iterable, Sequence

from orchestrator.core.tasks.labels import class_of, folded, mapping_key
from orchestrator.objective.labels.hints import LONGEST_VALUE, quoted

_SHOWN = 12
"""Most values in a warning."""


def absent_keys(keys: Sequence[str], values: Iterable[str], shown: Iterable[str] | None = None) -> list[str]:
    """Return a warning on the keys of ``data.labels`` that no value of the data matches, as a list; else [].

    Args:
        keys: the keys.
        values: the values in the data, as text; those of shift sets count too.
        shown: the values named in the warning; None: all of them.
    """
    values = sorted({*values})
    used = {class_of(mapping_key(value), keys) for value in values}
    absent = [key for place, key in enumerate(keys) if place not in used]
    if not absent:
        return []
    real = [value[:LONGEST_VALUE] for value in (values if shown is None else sorted({*shown})) if value]
    more = f" and {len(real) - _SHOWN} more" if len(real) > _SHOWN else ""
    named = " or ".join(quoted(key, key=True) + _similar(key, real) for key in absent)
    held = ", ".join(quoted(value, key=True) for value in real[:_SHOWN])
    return [f"data.labels: no row has the value {named}. The data has {held}{more}. Correct or remove the key."]


def _similar(key: str, values: Sequence[str]) -> str:
    """Return `` (did you mean x?)`` for a similar value, else ''."""
    by_form = {folded(value): value for value in values}
    near = difflib.get_close_matches(folded(key), by_form, n=1)
    return f" (did you mean {quoted(by_form[near[0]], key=True)}?)" if near else ""
