"""The rows of the support page that other tests of the suite show.

``python -m tests.support.elsewhere`` prints these tests.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


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
_WORKERS = "tests/training/solo/test_workers.py::test_two_workers_train_as_one"
_LAYER = f"{_QUANTISED}::test_layer_equals_linear_layer_with_decoded_weight"
_MEMORY = f"{_QUANTISED}::test_planned_memory_is_the_measured_memory"


def _each(test: str, *parameters: str) -> tuple[str, ...]:
    return tuple(f"{test}[{parameter}]" for parameter in parameters)


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
        what="memory, codes and products",
        tests=(
            *_each(_LAYER, "dtype0-nf4", "dtype1-nf4", "dtype0-nf4_single", "dtype1-nf4_single"),
            *_each(_MEMORY, "nf4", "nf4_single"),
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
        what="memory, codes and products",
        tests=(
            *_each(_LAYER, "dtype0-int8", "dtype1-int8"),
            *_each(_MEMORY, "int8"),
            *_each(f"{_QUANTISED}::test_decoded_weights_are_near_the_originals", "int8"),
        ),
        extra="qlora",
    ),
    Covered(
        subject="DeepSpeed: ZeRO 1 and 2, with and without offload",
        what="the same losses, norms and weights as without DeepSpeed",
        tests=("tests/training/solo/test_deepspeed.py::TestAsWithout",),
        extra="deepspeed",
    ),
    Covered(
        subject="FSDP2 in two workers",
        what="the same losses and adapter as in one process, also after a resume",
        tests=_each(_WORKERS, "FSDP2"),
    ),
    Covered(
        subject="ZeRO 1, 2 and 3 in two workers, with and without offload",
        what="the same losses and adapter as in one process, also after a resume; ZeRO 3 in a sweep through Ray Train",
        tests=(
            *_each(_WORKERS, "zero1", "zero2", "zero3", "offloaded"),
            "tests/cluster/test_train_workers.py::test_zero_divides_the_trials_of_a_sweep",
        ),
        extra="deepspeed",
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
        what="both engines report the same; plain peft loads the adapter of every cell below",
        tests=("tests/training/test_engines_agree.py",),
    ),
    Covered(
        subject="TensorFlow (Keras)",
        what="a function with LoRA layers in a sweep: learns, killed, resumed exactly, promoted",
        tests=("tests/training/function/test_keras.py", "tests/e2e/test_keras_function.py"),
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
