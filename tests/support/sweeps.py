"""Writes the sweep of some cells: a tiny random model, made rows in some format, and a sweep file."""

import csv
import json
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.hub_server import hub_server
from tests.fakes.tiny_chat import SMOLLM2, tiny_chat_model
from tests.fakes.tiny_models import (
    ENCODER,
    VOCAB,
    save_tokenizer,
    tiny_bert,
    tiny_gpt2,
    tiny_llama,
    tiny_roberta,
    tiny_t5,
    tiny_t5_classifier,
)
from tests.support.cells import CELLS, METHODS, TASKS, Cell

ROWS, TRAIN, OTHER = 96, 16, 8
"""Written rows, and rows of the splits; two optimizer steps of eight rows."""
GOOD, BAD = ("good", "great", "fine", "nice"), ("bad", "awful", "poor", "sad")
NOUNS = ("film", "plot", "music", "acting", "game", "match")
FRENCH = {"plot": "intrigue", "music": "musique", "acting": "jeu"}
HUBCONF = """
from pathlib import Path

dependencies = ["transformers"]


def encoder():
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    folder = Path(__file__).parent.parent / "model"
    return AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
"""


def write_sweep(folder: Path, sweep: tuple[str, str, bool], opened: ExitStack) -> tuple[Path, list[Cell]]:
    """Write model, rows and sweep file to a folder; return the file and the cells in the order of its trials.

    Args:
        folder: an empty folder.
        sweep: see ``Cell.sweep``.
        opened: closes what serves the model (a hub, a cache).
    """
    name, family, alone = sweep
    task = TASKS[name]
    cells = [cell for cell in CELLS if cell.sweep == sweep]
    data: dict[str, Any] = {"train": TRAIN, "validation": OTHER, "test": OTHER, "train_eval": OTHER, "max_length": 40}
    rows = [_row(name, number, random.Random(number)) for number in range(ROWS)]
    data["source"] = write_rows(folder, rows, task.rows[family])
    if name == "pairs":
        data["columns"] = {"text": "premise", "text_pair": "hypothesis"}
    if name == "written":
        data |= {"columns": {"text": "question", "target": "answer"}, "prompt": "a {text} ?"}
    if name == "translations":
        data |= {"columns": {"text": "en", "target": "fr"}, "prompt": "translate : {text}"}
    if name == "numbers":
        data["columns"] = {"label/joy": "joy", "label/anger": "anger"}
    write_model(folder / "model", name, family)
    document = {
        "name": "-".join((name, family, "solo" if alone else "packed")),
        "objective": task.objectives[family],
        "model": model_source(folder, task.model.get(family, "folder"), opened),
        "data": data,
        "training": {"epochs": 1, "batch_size": 8},
        "search": _search(cells),
        "early_stopping": {"rule": "none", "reports": 2},
        "budget": {"trials": len(cells)},
        "confirm": "none",
        "resources": {"engine": "solo" if alone else "packed", "parallel_trials": 1 if alone else 2},
        "tracking": {"keep_adapters": len(cells)},
    }
    file = folder / "sweep.yaml"
    file.write_text(json.dumps(document, indent=1))  # JSON is YAML
    return file, cells


def _search(cells: list[Cell]) -> dict[str, Any]:
    params = [dict(METHODS[cell.method].params) for cell in cells]
    space: dict[str, Any] = {"method": {"choices": [*dict.fromkeys(str(one["method"]) for one in params)]}}
    space["dora"] = {"choices": [False, True], "when": {"method": "lora"}}
    space["learning_rate"] = {"low": 1e-3, "high": 1e-2, "log": True}
    if len(space["method"]["choices"]) == 1:
        del space["method"], space["dora"]["when"]
        params = [{name: value for name, value in one.items() if name != "method"} for one in params]
    return {"sampler": "random", "space": space, "start": params}


def _row(task: str, number: int, draw: random.Random) -> dict[str, Any]:
    """Return a row of a task; all rows differ."""
    right = number % 2
    word, noun, other = draw.choice(GOOD if right else BAD), draw.choice(NOUNS), f"the {number} plot"
    text = f"the {noun} was {word} and {other}"
    answer = {"role": "assistant", "content": f"the {noun} is {word}"}
    asked = [{"role": "user", "content": f"how is the {noun} {number} ?"}]
    forms: Mapping[str, dict[str, Any]] = {
        "sentiment": {"text": text, "label": ("negative", "positive")[right]},
        "topics": {"text": text, "label": ("business", "sport", "tech")[number % 3]},
        "pairs": {"premise": text, "hypothesis": "it was good", "label": ("no", "yes")[right]},
        "labels": {"text": text, "label": f"{('bad', 'good')[right]}; {noun}"},
        "numbers": {"text": text, "joy": 2 * right, "anger": len(text) / 2},
        "answers": {
            "question": "how was it",
            "context": text,
            "answers": {"text": [word], "answer_start": [text.index(f" {word} ") + 1]},
        },
        "written": {"question": f"how is the {noun} {number}", "answer": f"{word} {noun}"},
        "translations": {
            "en": f"the {noun} {number} is {word}",
            "fr": f"{FRENCH.get(noun, noun)} {number} est {word}",
        },
        "summaries": {"text": text, "headline": f"{word} {noun}"},
        "chat": {"messages": [*asked, answer]},
        "preference": {"prompt": f"the {noun} {number} was", "chosen": " good", "rejected": " bad and very sad"},
        "chat_preference": {
            "prompt": asked,
            "chosen": [answer],
            "rejected": [{"role": "assistant", "content": f"very {word}"}],
        },
    }
    if task == "entities":
        words = [noun, "was", word, str(number)]
        return {"tokens": words, "tags": ["B-NOUN", "O", f"B-{('BAD', 'GOOD')[right]}", "O"]}
    return forms[task]


def write_rows(folder: Path, rows: list[dict[str, Any]], form: str) -> str:
    """Write the rows in a format; return the source for a sweep file."""
    import datasets

    file = folder / f"rows.{form}"
    if form in ("csv", "tsv"):
        with file.open("w", newline="") as out:
            table = csv.DictWriter(out, [*rows[0]], delimiter="," if form == "csv" else "\t")
            table.writeheader()
            table.writerows(rows)
    elif form == "parquet":
        datasets.Dataset.from_list(rows).to_parquet(str(file))
    elif form == "arrow":
        datasets.Dataset.from_list(rows).save_to_disk(str(file))
    elif form == "conll":
        sentences = (zip(row["tokens"], row["tags"], strict=True) for row in rows)
        file.write_text("\n\n".join("\n".join(f"{word} {tag}" for word, tag in one) for one in sentences) + "\n")
    elif form == "text folders":
        for number, row in enumerate(rows):
            (folder / "texts" / row["label"]).mkdir(parents=True, exist_ok=True)
            (folder / "texts" / row["label"] / f"{number}.txt").write_text(row["text"])
        return "./texts"
    elif form == "sqlite":
        datasets.Dataset.from_list(rows).to_sql("rows", f"sqlite:///{folder / 'rows.db'}")
        return "sqlite:///rows.db?query=SELECT * FROM rows"
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"./{file.name}"


def write_model(folder: Path, task: str, family: str) -> None:
    """Write a tiny random model of a family with the head of the task."""
    if task in ("chat", "chat_preference"):
        if family == "llama":
            tiny_chat_model(folder)
            return
        tiny_gpt2(folder, vocab=(*VOCAB, "system", "user", "assistant", "be", "it", "<|im_start|>", "<|im_end|>"))
        _add_template(folder)
        return
    if family == "t5" and task == "sentiment":
        tiny_t5_classifier(folder)
    else:
        _WRITERS[family](folder)
    if family in ("gpt2", "llama") and task in ("sentiment", "topics", "pairs", "labels", "numbers", "entities"):
        save_tokenizer(folder, VOCAB, template=ENCODER)


_WRITERS: Mapping[str, Callable[[Path], Path]] = {
    "bert": tiny_bert,
    "roberta": tiny_roberta,
    "gpt2": tiny_gpt2,
    "llama": tiny_llama,
    "t5": tiny_t5,
}


def _add_template(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"eos_token": "<|im_end|>", "additional_special_tokens": ["<|im_start|>"]})
    tokenizer.chat_template = SMOLLM2
    tokenizer.save_pretrained(folder)


def model_source(folder: Path, kind: str, opened: ExitStack) -> "str | dict[str, Any]":
    """Return the model's entry of a sweep file; the model is in ``folder / "model"``."""
    patch = opened.enter_context(pytest.MonkeyPatch.context())
    if kind == "hub":
        hub = opened.enter_context(hub_server(folder / "cache", patch))
        hub.push("org/support", folder / "model")
        return "hub:org/support"
    if kind == "torchhub":
        (folder / "repository").mkdir()
        (folder / "repository" / "hubconf.py").write_text(HUBCONF)
        patch.setenv("LORATORY_CACHE", str(folder / "cache"))
        return {"torchhub": f"{folder / 'repository'}:encoder", "trust": True}
    if kind == "kaggle":
        variation = folder / "kaggle" / "models" / "google" / "bert" / "transformers" / "tiny"
        variation.mkdir(parents=True)
        (folder / "model").rename(variation / "2")
        (variation / "2.complete").touch()
        patch.setenv("KAGGLEHUB_CACHE", str(folder / "kaggle"))
        return "kaggle:google/bert/transformers/tiny/2"
    return "./model"


def asked(cell: Cell) -> Iterator[str]:
    """Yield a text for the kept adapter, and its second text if the task has one."""
    yield "the film was good"
    if cell.task in ("pairs", "answers"):
        yield "the plot was good and very nice"
