"""The cells of the support matrix: task × model family × method × engine, with the source of model and rows.

The other rows of the page are in ``elsewhere.py``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from orchestrator.core.space import ParamValue

FAMILIES: Mapping[str, str] = {"bert": "BERT", "roberta": "RoBERTa", "gpt2": "GPT", "llama": "Llama", "t5": "T5"}
"""Title of each model family."""


class Tried(Enum):
    """Which families are trained with a method."""

    ALL = "all families of each task"
    FIRST = "the first family of each task"
    ONE = "one family of one task"


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """A way to adapt a model.

    Attributes:
        params: settings of its trial.
        tried: the families that are trained with it.
    """

    title: str
    params: Mapping[str, ParamValue]
    tried: Tried


def _method(title: str, name: str, *, tried: Tried = Tried.ALL, **params: ParamValue) -> Method:
    return Method(title=title, params={"method": name, **params}, tried=tried)


METHODS: Mapping[str, Method] = {
    "lora": _method("LoRA", "lora", dora=False),
    "dora": _method("DoRA", "lora", dora=True),
    "ia3": _method("IA³", "ia3"),
    "oft": _method("OFT", "oft"),
    "adalora": _method("AdaLoRA", "adalora"),
    "prompt_tuning": _method("prompt tuning", "prompt_tuning"),
    "prefix_tuning": _method("prefix tuning", "prefix_tuning"),
    "head": _method("head alone", "head"),
    "full": _method("full fine-tuning", "full", tried=Tried.FIRST),
    "loha": _method("LoHa", "loha", tried=Tried.ONE),
    "lokr": _method("LoKr", "lokr", tried=Tried.ONE),
    "vera": _method("VeRA", "vera", tried=Tried.ONE),
    "boft": _method("BOFT", "boft", tried=Tried.ONE),
    "p_tuning": _method("P-tuning", "p_tuning", tried=Tried.ONE),
}
PACKED = ("lora", "dora")
"""Methods that train in packs. The solo engine trains them too, in a sweep of its own for one family of each task."""
EVERY_METHOD = ("sentiment", "bert")
"""The sweep with all methods."""
NO_TEXT = "the family writes no text"
ONE_MODEL = "the task needs a causal model"
ANSWERED = ("written", "summaries", "translations")
"""Tasks with answers that are measured on the test split."""
SAME_HEAD = "not run here; the family has the same head as in the first task"
NO_HEAD = "not run here; docs/families.md has its heads"
BY_TOKEN = "not supported here: peft lengthens the outputs per token by the virtual tokens"
NOT_TRIED_BY_TOKEN = "not offered here: peft keeps the length of outputs per token, but it was not tried"
IN_ONE_PART = "not supported here: peft puts virtual tokens in one of the two parts alone"
TWO_PARTS = "a classifier with encoder and decoder takes no virtual tokens"
NO_PACK = "the model does not pack with this head; docs/families.md has the reason"
NOT_LINEAR = "peft's OFT needs linear layers, and GPT-2 has Conv1D"
NOT_A_HEAD = "the model of the task has no new head"


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A task, tried with some families.

    Attributes:
        title: the task in words.
        objectives: objective by family; the first family is also trained by the solo engine.
        model: source of the base model by family; ``folder`` if absent.
        rows: format of the rows by family.
        skipped: reason for each family that is not tried.
        refused: reason for each method that the task cannot have.
        unfit: reason for each method that a family cannot have in this task.
        solo: families that do not pack with the head of the task; docs/families.md has the reason.
    """

    title: str
    objectives: Mapping[str, str]
    rows: Mapping[str, str]
    skipped: Mapping[str, str]
    model: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    unfit: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    solo: tuple[str, ...] = ()


def _task(
    title: str,
    objective: str | Mapping[str, str],
    rows: Mapping[str, str],
    *,
    skipped: str,
    model: Mapping[str, str] | None = None,
    refused: Mapping[str, str] | None = None,
    reasons: Mapping[str, str] | None = None,
    unfit: Mapping[str, Mapping[str, str]] | None = None,
    solo: tuple[str, ...] = (),
) -> Task:
    """Return a task; ``skipped`` is the reason for the families without rows and without an entry in ``reasons``."""
    return Task(
        title=title,
        objectives={family: objective if isinstance(objective, str) else objective[family] for family in rows},
        rows=rows,
        skipped={family: (reasons or {}).get(family, skipped) for family in FAMILIES if family not in rows},
        model=model or {},
        refused=refused or {},
        unfit={"gpt2": {"oft": NOT_LINEAR}, **(unfit or {})} if "gpt2" in rows else unfit or {},
        solo=solo,
    )


_WRITES = {"bert": NO_TEXT, "roberta": NO_TEXT}
_NO_PROMPTS = {"prompt_tuning": BY_TOKEN, "prefix_tuning": NOT_TRIED_BY_TOKEN, "p_tuning": BY_TOKEN}
_NO_HEAD = {"head": NOT_A_HEAD}
_T5_WRITES = {"t5": {"prompt_tuning": IN_ONE_PART, "prefix_tuning": IN_ONE_PART}}

TASKS: Mapping[str, Task] = {
    "sentiment": _task(
        "sentiment analysis",
        "sentiment",
        {"bert": "csv", "roberta": "tsv", "gpt2": "jsonl", "llama": "parquet", "t5": "sqlite"},
        skipped=SAME_HEAD,
        unfit={"t5": {"prompt_tuning": TWO_PARTS, "prefix_tuning": TWO_PARTS}},
        solo=("t5",),
    ),
    "topics": _task(
        "classes found in the data",
        "classification",
        {"bert": "text folders", "gpt2": "arrow"},
        model={"bert": "torchhub"},
        skipped=SAME_HEAD,
    ),
    "pairs": _task("text pairs", "classification", {"roberta": "csv", "llama": "jsonl"}, skipped=SAME_HEAD),
    "labels": _task(
        "several labels per text",
        "multi_label",
        {"bert": "csv", "llama": "parquet"},
        model={"bert": "kaggle"},
        skipped=SAME_HEAD,
    ),
    "numbers": _task(
        "regression", "regression", {"bert": "csv", "gpt2": "sqlite"}, model={"bert": "hub"}, skipped=SAME_HEAD
    ),
    "entities": _task(
        "entities",
        "entities",
        {"bert": "conll", "roberta": "jsonl", "gpt2": "jsonl", "t5": "jsonl"},
        skipped=NO_HEAD,
        refused=_NO_PROMPTS,
    ),
    "answers": _task(
        "question answering, by a part of the text",
        "extractive_qa",
        {"bert": "jsonl", "roberta": "parquet"},
        skipped="the model reads the text once; a causal model writes the answer, see below",
        refused=_NO_PROMPTS,
    ),
    "written": _task(
        "question answering, in written answers",
        {"gpt2": "generation", "llama": "generation", "t5": "generation_seq2seq"},
        {"gpt2": "csv", "llama": "jsonl", "t5": "csv"},
        reasons=_WRITES,
        skipped=NO_TEXT,
        refused=_NO_HEAD,
        unfit=_T5_WRITES,
    ),
    "summaries": _task(
        "summarisation",
        {"gpt2": "headline", "llama": "headline", "t5": "headline_seq2seq"},
        {"gpt2": "csv", "llama": "jsonl", "t5": "parquet"},
        reasons=_WRITES,
        skipped=NO_TEXT,
        refused=_NO_HEAD,
        unfit=_T5_WRITES,
    ),
    "translations": _task(
        "translation",
        {"t5": "generation_seq2seq", "gpt2": "generation", "llama": "generation"},
        {"t5": "tsv", "gpt2": "csv", "llama": "parquet"},
        reasons=_WRITES,
        skipped=NO_TEXT,
        refused=_NO_HEAD,
        unfit=_T5_WRITES,
    ),
    "chat": _task(
        "instruction tuning",
        "chat",
        {"llama": "jsonl", "gpt2": "jsonl"},
        reasons=_WRITES,
        skipped=ONE_MODEL,
        refused=_NO_HEAD,
    ),
    "preference": _task(
        "preference tuning",
        "preference",
        {"llama": "jsonl", "gpt2": "csv"},
        reasons=_WRITES,
        skipped=ONE_MODEL,
        refused=_NO_HEAD,
    ),
    "chat_preference": _task(
        "preference tuning on conversations",
        "chat_preference",
        {"llama": "jsonl"},
        reasons={**_WRITES, "gpt2": "not run here; see instruction tuning and preference tuning"},
        skipped=ONE_MODEL,
        refused=_NO_HEAD,
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One trial of the matrix.

    Attributes:
        engine: ``packed`` or ``solo``.
        alone: whether the sweep names the solo engine, for a method that would pack.
    """

    task: str
    family: str
    method: str
    engine: str
    alone: bool = False

    @property
    def id(self) -> str:
        """Name of the cell's test."""
        return "-".join((self.task, self.family, self.method, self.engine))

    @property
    def sweep(self) -> tuple[str, str, bool]:
        """The sweep of the cell: task, family, ``alone``."""
        return self.task, self.family, self.alone


def _cells() -> Iterator[Cell]:
    for name, task in TASKS.items():
        first = next(iter(task.rows))
        for family in task.rows:
            for key, method in METHODS.items():
                left_out = {*task.refused, *task.unfit.get(family, {})}
                wanted = {Tried.ALL: True, Tried.FIRST: family == first, Tried.ONE: (name, family) == EVERY_METHOD}
                if key not in left_out and wanted[method.tried]:
                    packs = key in PACKED and family not in task.solo
                    yield Cell(task=name, family=family, method=key, engine="packed" if packs else "solo")
        yield from (Cell(task=name, family=first, method=key, engine="solo", alone=True) for key in PACKED)


CELLS = tuple(sorted(_cells(), key=lambda cell: cell.sweep))
"""All cells; those of one sweep are neighbours."""
