"""The cells of the support matrix: task × model family × method × engine, with the source of model and rows.

``python -m tests.support.cells`` prints the tests of the other rows.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
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
_NO_PROMPTS = {"prompt_tuning": BY_TOKEN, "prefix_tuning": BY_TOKEN, "p_tuning": BY_TOKEN}
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Covered:
    """A row of the page that other tests of the suite show.

    Attributes:
        subject: a method, a framework or a source.
        what: the shown behaviour.
        tests: node ids; a whole file, a class, or a test with all its parameters.
        extra: the extra with a package for these tests; None: none is needed.
    """

    subject: str
    what: str
    tests: tuple[str, ...]
    extra: str | None = None


_QUANTISED = "tests/training/model/test_quantised.py"
_LAYER = f"{_QUANTISED}::test_layer_equals_linear_layer_with_decoded_weight"
_MEMORY = f"{_QUANTISED}::test_planned_memory_is_the_measured_memory"
_ALIKE = "tests/training/solo/test_deepspeed.py::TestAsWithout::test_losses_norms_and_weights_are_the_same"
_WORKERS = "tests/training/solo/test_workers.py"


def _each(test: str, *parameters: str) -> tuple[str, ...]:
    return tuple(f"{test}[{parameter}]" for parameter in parameters)


def _trained(name: str) -> tuple[str, ...]:
    """Return the tests of both engines with a model: resumed exactly, and loaded by plain peft and transformers."""
    return tuple(
        f"tests/training/{engine}/test_engine.py::{name}::{test}"
        for engine in ("solo", "packed")
        for test in ("test_interrupted_trial_resumes_exactly", "test_plain_peft_and_transformers_measure_the_same")
    )


TASKS_ELSEWHERE = (
    Covered(
        subject="translation",
        what="T5 and a causal model learn to translate; BLEU and chrF are sacreBLEU's; promoted, used",
        tests=("tests/test_translation.py",),
    ),
    Covered(
        subject="answers to texts",
        what="metrics equal to rouge-score and sacreBLEU; packed answers equal plain peft's",
        tests=("tests/evaluation/generation", "tests/training/packed/execution/test_writing.py"),
    ),
    Covered(
        subject="instruction tuning",
        what="chat templates, several turns, the loss on answers alone; searched, promoted, used",
        tests=("tests/objective/chat", "tests/test_chat.py"),
    ),
    Covered(
        subject="packing of rows (data.packing)",
        what="no attention between rows; the same updates as with padding",
        tests=("tests/training/solo/test_packing.py",),
    ),
    Covered(
        subject="preference tuning: DPO, DPO by length, IPO, SimPO, ORPO",
        what="both engines equal plain peft and a plain loop; searched, promoted, used",
        tests=("tests/training/model/test_preference.py", "tests/test_preference_sweep.py"),
    ),
    Covered(
        subject="entities",
        what="words and subwords, IOB2 and IOBES, windows over long texts; searched, promoted, used",
        tests=("tests/objective/entities", "tests/test_entities.py"),
    ),
    Covered(
        subject="extractive answers",
        what="windows, exact match and F1 of SQuAD, unanswerable questions; searched, promoted, used",
        tests=("tests/objective/extractive_qa", "tests/evaluation/extractive_qa", "tests/test_answers.py"),
    ),
)
METHODS_ELSEWHERE = (
    Covered(
        subject="QLoRA: NF4",
        what="memory, codes and products; trained, resumed and exported by both engines",
        tests=(
            *_each(_LAYER, "dtype0-nf4", "dtype1-nf4", "dtype0-nf4_single", "dtype1-nf4_single"),
            *_each(_MEMORY, "nf4", "nf4_single"),
            *_trained("TestBertIn4Bits"),
        ),
        extra="qlora",
    ),
    Covered(
        subject="QLoRA: FP4",
        what="memory, codes and products, with and without double quantisation",
        tests=(
            *_each(_LAYER, "dtype0-fp4", "dtype1-fp4", "dtype0-fp4_single", "dtype1-fp4_single"),
            *_each(_MEMORY, "fp4", "fp4_single"),
            *_each(f"{_QUANTISED}::test_decoded_weights_are_near_the_originals", "fp4", "fp4_single"),
        ),
        extra="qlora",
    ),
    Covered(
        subject="base model in 8 bits (int8)",
        what="memory, codes and products; trained, resumed and exported by both engines",
        tests=(
            *_each(_LAYER, "dtype0-int8", "dtype1-int8"),
            *_each(_MEMORY, "int8"),
            *_trained("TestBertIn8Bits"),
        ),
        extra="qlora",
    ),
    Covered(
        subject="DeepSpeed: ZeRO 1 and 2, with and without offload",
        what="the same losses, norms and weights as without DeepSpeed, in one process and in two workers",
        tests=(
            *_each(_ALIKE, "zero1", "zero2", "offloaded", "offloaded1", "small buckets"),
            *_each(f"{_WORKERS}::test_two_workers_train_as_one", "zero1", "zero2"),
        ),
        extra="deepspeed",
    ),
    Covered(
        subject="DeepSpeed: ZeRO 3, with and without offload",
        what="the same, with the weights divided over two workers; the saved adapter is whole",
        tests=(*_each(_ALIKE, "zero3"), *_each(f"{_WORKERS}::test_two_workers_train_as_one", "zero3", "offloaded")),
        extra="deepspeed",
    ),
    Covered(
        subject="FSDP2",
        what="two workers train as one process does; resumed with another number of workers",
        tests=(
            *_each(f"{_WORKERS}::test_two_workers_train_as_one", "FSDP2"),
            f"{_WORKERS}::test_fsdp_resumes_with_another_number_of_workers",
        ),
    ),
    Covered(
        subject="several workers per trial (Ray Train)",
        what="a lost worker ends its trial, not the sweep; a killed driver resumes",
        tests=("tests/cluster/test_train_workers.py",),
    ),
    Covered(
        subject="full fine-tuning",
        what="equal to plain transformers, resumed exactly, promoted, exported, served",
        tests=("tests/training/solo/test_full.py", "tests/test_full.py"),
    ),
    Covered(
        subject="initialisations of LoRA: PiSSA, OLoRA, EVA, CorDA, LoRA-GA and others",
        what="start at the base model's outputs, resumed exactly, loaded by plain peft on the original base model",
        tests=("tests/training/model/test_inits.py", "tests/training/solo/test_starts.py"),
    ),
    Covered(
        subject="LoRA's own settings (rank_pattern, bias, modules_to_save and others)",
        what="in packs where possible; loaded by plain peft",
        tests=("tests/training/model/test_lora_options.py",),
    ),
    Covered(
        subject="all other methods of peft",
        what="equal to plain peft, resumed exactly, exported",
        tests=("tests/training/solo/test_methods_of_peft.py::test_method_equals_plain_peft_and_resumes_exactly",),
    ),
    Covered(
        subject="gradient checkpointing",
        what="changes no gradient",
        tests=("tests/training/solo/test_checkpointing.py",),
    ),
)
FRAMEWORKS = (
    Covered(
        subject="PyTorch",
        what="a function of the user in a sweep: killed, resumed, promoted, used",
        tests=("tests/e2e/test_function.py",),
    ),
    Covered(
        subject="Transformers",
        what="both engines report the same; plain peft and transformers load the adapters and measure the same",
        tests=("tests/training/test_engines_agree.py", "tests/training/test_minilm.py"),
    ),
    Covered(
        subject="TensorFlow (Keras)",
        what="a function with LoRA layers learns and resumes exactly",
        tests=("tests/training/function/test_keras.py",),
        extra="tensorflow",
    ),
    Covered(
        subject="TensorFlow (Keras) in a sweep",
        what="killed, resumed, promoted, used",
        tests=("tests/e2e/test_keras_function.py",),
        extra="tensorflow",
    ),
)
_MODELS, _REMOTE, _TABLES = (
    f"tests/assets/{name}" for name in ("test_model_sources.py", "test_remote_models.py", "tables/test_sources.py")
)
SOURCES = (
    Covered(
        subject="model and data of the Hugging Face hub",
        what="over HTTP on this machine: commits, configurations, gated, missing, incomplete, offline",
        tests=("tests/assets/test_hub_server.py", "tests/assets/test_hub.py"),
    ),
    Covered(
        subject="PyTorch Hub, a repository on GitHub",
        what="over HTTPS on this machine: run once and recorded, missing, mistyped, incomplete, offline",
        tests=(f"{_REMOTE}::TestGitHub",),
    ),
    Covered(
        subject="PyTorch Hub, a local repository",
        what="its code runs once; changed code is another model",
        tests=(f"{_MODELS}::test_torchhub_code_runs_once",),
    ),
    Covered(
        subject="TensorFlow Hub's models on Kaggle",
        what="over HTTPS on this machine: versions, refused, missing, mistyped, incomplete, offline; a local cache",
        tests=(f"{_REMOTE}::TestKaggle", f"{_MODELS}::test_kaggle_version_is_pinned"),
    ),
    Covered(
        subject="GGUF",
        what="converted once; damaged files are refused",
        tests=(f"{_MODELS}::test_gguf_file_is_converted_once", "tests/assets/test_gguf.py"),
    ),
    Covered(
        subject="packaged data",
        what="the asset contract",
        tests=("tests/assets/test_data.py::TestPackaged", "tests/assets/test_derived_news.py"),
    ),
    Covered(
        subject="csv, tsv, json, jsonl, parquet",
        what="the asset contract",
        tests=("tests/assets/test_data.py::TestLocal",),
    ),
    Covered(subject="arrow, feather", what="the asset contract", tests=(f"{_TABLES}::TestArrow",)),
    Covered(subject="folders of text", what="the asset contract", tests=(f"{_TABLES}::TestFolder",)),
    Covered(
        subject="SQL",
        what="the asset contract; addresses of servers, wrong queries",
        tests=(f"{_TABLES}::TestSqlite", "tests/assets/tables/test_sql.py"),
    ),
    Covered(subject="several files", what="the asset contract", tests=(f"{_TABLES}::TestSeveral",)),
    Covered(
        subject="files larger than the memory",
        what="converted in parts, memory-mapped; the same rows as in memory",
        tests=("tests/assets/tables/test_large.py",),
    ),
    Covered(
        subject="encoded rows",
        what="encoded once per machine, shared by all trials and processes",
        tests=("tests/training/data/test_encoding.py",),
    ),
)
SECTIONS: Mapping[str, Sequence[Covered]] = {
    "Tasks in whole sweeps": TASKS_ELSEWHERE,
    "Methods and memory": METHODS_ELSEWHERE,
    "Frameworks": FRAMEWORKS,
    "Sources": SOURCES,
}
ELSEWHERE = tuple(row for rows in SECTIONS.values() for row in rows)
"""Rows shown by tests outside of this package."""

if __name__ == "__main__":
    sys.stdout.write(" ".join(dict.fromkeys(test.partition("[")[0] for row in ELSEWHERE for test in row.tests)))
