"""Write the results of the walk to ``docs/families.md``."""

import re
from collections.abc import Iterable, Sequence

from orchestrator.objective.protocol import Head
from tests.families.walk import Found

HEADS = {
    Head.SEQUENCE_CLASSIFICATION.value: "sequence classification",
    Head.TOKEN_CLASSIFICATION.value: "token classification",
    Head.CAUSAL_LM.value: "causal LM",
    Head.SEQ2SEQ_LM.value: "seq2seq LM",
}
INTRODUCTION = """# Which models train, and how

`make test-extended` writes this page. It builds a tiny random model of every family that transformers {version} has
with one of the four heads and trains it in both engines. It compares the reports with plain transformers and peft: the
exported adapter, one row at a time, and a plain training loop. Families are listed by `model_type`.

- **Packed**: trials train together over one base model, with the results of plain peft.
- **Solo**: trials train one after another, with the results of plain peft. The table has the reason.
- **Refused**: no engine trains the tiny model with adapters on all linear layers. Transformers or peft give the reason.
- **Wrong**: the results of an engine differ from plain peft; do not use it.
- **Not tried**: no tiny model can be built from the family's configuration.

A model of a packed family may still train solo, depending on its configuration. These do not pack: capped attention
scores, attention windows shorter than `data.max_length`, dynamic or long RoPE, attention temperature, expert capacity,
and functional dropout. `python -m orchestrator sweep FILE --dry-run` shows the engine of a model.

The result of a row never depends on other rows of its batch. If a model depends on padding or on the longest row, only
rows of equal length are measured together. Classifiers of `t5gemma` and `t5gemma2` read the
longest row of a batch without its last token, so they are refused before the first trial.
"""


def families_page(found: Iterable[Found], version: str) -> str:
    """Return the page."""
    found = sorted(found, key=lambda one: (one.name, one.head))
    groups: dict[str, list[Found]] = {"Packed": [], "Solo": [], "Refused": [], "Wrong": [], "Not tried": []}
    for one in found:
        kind = "Not tried" if not one.built else "Refused" if one.refused else "Packed" if one.packs else "Solo"
        groups["Wrong" if one.wrong else kind].append(one)
    parts = [INTRODUCTION.format(version=version), "| | " + " | ".join(HEADS.values()) + " |", "|---|---|---|---|---|"]
    parts += [f"| {kind} | " + " | ".join(_counts(some)) + " |" for kind, some in groups.items()]
    for kind, some in groups.items():
        if not some:
            continue
        parts += ["", f"## {kind}", ""]
        parts += _names(some) if kind == "Packed" else _reasons(some)
    return "\n".join(parts) + "\n"


def _counts(some: Sequence[Found]) -> list[str]:
    return [str(sum(one.head == head for one in some)) for head in HEADS]


def _names(some: Sequence[Found]) -> list[str]:
    lines = ["| head | model types |", "|---|---|"]
    for head, title in HEADS.items():
        lines.append(f"| {title} | {', '.join(one.name for one in some if one.head == head)} |")
    return lines


def _reasons(some: Sequence[Found]) -> list[str]:
    by_name: dict[tuple[str, str], list[str]] = {}
    for one in some:
        by_name.setdefault((one.name, short_reason(one.why)), []).append(HEADS[one.head])
    rows = [f"| {name} | {', '.join(heads)} | {why} |" for (name, why), heads in by_name.items()]
    return ["| model type | heads | reason |", "|---|---|---|", *rows]


def short_reason(why: str) -> str:
    """Return a reason without folders and run-dependent numbers."""
    why = re.sub(r"^\S+ cannot be packed: ", "", why)
    why = re.sub(r"differ by [\d.e+-]+ of the largest", "differ", why)
    if re.match(r"(RuntimeError|IndexError|TypeError|KeyError|AttributeError|ValueError): ", why):
        why = re.sub(r"\s+", " ", why)
    return re.sub(r"/\S*/", "", why).replace("|", "\\|")[:160].rstrip()
