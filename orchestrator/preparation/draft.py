"""A first sweep file for a task, a model and data: its settings follow from rows, lengths, model and hardware."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.core.methods.catalogue import FULL_RATE
from orchestrator.search.prior.rates import expected_rate, shipped_rates

_LENGTHS = (32, 64, 128, 256, 512)
"""Limits in tokens; longer rows are cut."""
_RATE_FACTOR = 5.0
"""The searched learning rates reach this far below and above the expected one."""
_FEW_ROWS = 2000
"""With fewer training rows, the highest ranks only overfit sooner."""
_LONGEST_LABEL = 100
"""Most characters of a value that is taken for a class."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DraftFacts:
    """The answers of a user, and the properties of data, model and machine.

    Attributes:
        name: the sweep's name.
        objective, model, source: as written in the sweep file.
        columns: the source's column by the objective's column; empty: they have the same names.
        rows: number of rows by split.
        length: tokens within which nearly all training rows fit; None: unknown.
        new_head: whether the head needs a higher learning rate, as one that gives each token a class.
        has_windows: whether longer rows are divided into windows instead of cut.
        weights: number of weights of the base model.
        cores: processors of this machine.
        has_gpu: whether it has a usable GPU.
        schema: path of the JSON Schema, for editors.
    """

    name: str
    objective: str
    model: str
    source: str
    columns: Mapping[str, str]
    rows: Mapping[str, int]
    length: int | None
    new_head: bool
    has_windows: bool
    weights: int
    cores: int
    has_gpu: bool
    schema: str


def sweep_text(facts: DraftFacts) -> str:
    """Return a commented sweep file for these facts."""
    train = facts.rows["train"]
    low, high = rate_range(facts.weights)
    ranks = "4, 8, 16" if train < _FEW_ROWS else "8, 16, 32"
    batches = "8, 16" if train < _FEW_ROWS else "16, 32"
    pairs = ", ".join(f"{name}: {_yaml(column)}" for name, column in facts.columns.items())
    columns = f"\n  columns: {{{pairs}}}" if pairs else ""
    limit = next((limit for limit in _LENGTHS if limit >= (facts.length or _LENGTHS[2])), _LENGTHS[-1])
    trials, wall_time = (24, "1h") if facts.has_gpu else (12, "30m")
    machine = "a GPU" if facts.has_gpu else f"{facts.cores} CPU cores"
    gpus = (
        "\nresources: {gpus_per_trial: 1}     # all trials share the GPU, trained together\n" if facts.has_gpu else ""
    )
    head = (
        "\ntraining: {head_learning_rate: 1.0e-2}    # at the adapter's rate, a head for tokens may learn too slowly\n"
    )
    return f"""\
# yaml-language-server: $schema={facts.schema}
#
# Written by `init` for {train:,} training rows and {machine}. Every value may be changed.

name: {facts.name}
objective: {_yaml(facts.objective)}
model: {_yaml(facts.model)}                     # {facts.weights / 1e6:,.1f}M weights

data:
  source: {_yaml(facts.source)}{columns}
  validation: {facts.rows["validation"]}                 # trials are compared on these rows
  test: {facts.rows["test"]}                       # the kept adapters are measured on these rows, once, at the end
  max_length: {limit}                # limit in tokens; longer rows are {"divided" if facts.has_windows else "cut"}
{head if facts.new_head else ""}
search:
  space:
    learning_rate: {{low: {low:.1e}, high: {high:.1e}, log: true}}   # around the measured best rate for this size
    # with adapter.method full (all weights): {FULL_RATE * low:.1e} to {FULL_RATE * high:.1e}, without rank and dropout
    rank: {{choices: [{ranks}]}}          # a higher rank fits more and overfits sooner
    dropout: {{low: 0, high: 0.2, step: 0.1}}
    batch_size: {{choices: [{batches}]}}

budget:                             # the first limit reached ends the sweep
  trials: {trials}
  until: no_expected_gain           # ends earlier when a further trial is not expected to help
  wall_time: {wall_time}
{gpus}
seed: 0
"""


def rate_range(weights: int) -> tuple[float, float]:
    """Return the lowest and the highest learning rate to search, around the expected one for a size of model."""
    expected = expected_rate(shipped_rates(), weights, rank=16)
    return expected / _RATE_FACTOR, min(expected * _RATE_FACTOR, 1e-2)


def guessed_columns(rows: Mapping[str, Sequence[object]], given: Mapping[str, str]) -> dict[str, str]:
    """Return the columns of texts and of classes by the objective's names, as far as the names differ and are clear.

    The text column has the longest texts on average. The class column has the fewest different values, at least two,
    and is not a column of unique values.

    Args:
        rows: the first values of each column.
        given: columns named by the user, by the objective's names; none of them gets a second use.
    """
    rows = {name: values for name, values in rows.items() if name not in given.values()}
    found: dict[str, str] = {}
    if "text" not in {*rows, *given}:
        texts = {name: _mean_length(values) for name, values in rows.items() if name != "label"}
        longest = max(texts, key=texts.__getitem__, default=None)
        if longest is not None and texts[longest] > 0:
            found["text"] = longest
    if "label" not in {*rows, *given}:
        counts = {name: _classes(values) for name, values in rows.items() if name not in ("text", found.get("text"))}
        possible = {name: count for name, count in counts.items() if 2 <= count <= len(rows[name]) // 2}
        if possible:
            found["label"] = min(possible, key=possible.__getitem__)
    return found


def _mean_length(values: Sequence[object]) -> float:
    texts = [value for value in values if isinstance(value, str)]
    return sum(map(len, texts)) / len(texts) if texts else 0.0


def _classes(values: Sequence[object]) -> int:
    """Return the number of different values; 0 if one is missing, a fraction or a long text."""
    if any(not isinstance(value, str | int) or len(str(value)) > _LONGEST_LABEL for value in values):
        return 0
    return len({*map(str, values)})


def _yaml(text: str) -> str:
    """Return a text as a YAML scalar; JSON's quotes are YAML's too."""
    plain = re.fullmatch(r"(\./|/)?[A-Za-z][\w./-]*(:[\w./-]+)?", text, re.ASCII)
    is_word = text.lower() in {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
    return text if plain and not is_word else json.dumps(text, ensure_ascii=False)
