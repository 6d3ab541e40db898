"""Answers to questions on news: trials of this project beside plain transformers and peft, on the same rows.

``python -m benchmarks.extractive_qa [--seeds 3]`` reads the packaged ``news-questions``. The plain side is
transformers' recipe for SQuAD 2.0: its own encoding, ``Trainer``, and the best span against no answer. Both sides have
the same rows and configuration; a seed gives other heads, adapters and orders of the rows. Both predict no answer if
its score is higher than that of the best span.

One difference favours the plain side: its epochs pass over all windows of the rows (873 for 800 rows), so it has 9 %
more updates. This project counts a window as a training sample.
"""

import argparse
import time
from collections.abc import Iterator
from statistics import mean
from typing import Any

import datasets
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from benchmarks.beside_plain import packed_seeds, plain_training, shown
from objectives.extractive_qa import OBJECTIVE
from orchestrator.assets.models import resolve_model
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.evaluation.extractive_qa.squad import exact_match, f1

ROWS = Source(origin=Origin.PACKAGED, name="news-questions")
MODEL = Source(origin=Origin.PACKAGED, name="minilm")
LENGTH, RANK, MOST = 128, 16, 30
PARAMS = {"learning_rate": 2e-3, "rank": RANK, "alpha": 32, "batch_size": 16, "max_length": LENGTH}


def data_plan(rows: int) -> DataPlan:
    """Return the plan of the rows: a part of the articles for each split."""
    return DataPlan(source=ROWS, train=rows, validation=100, test=400, train_eval=50)


def plain(rows: dict[str, datasets.Dataset], epochs: int, seed: int) -> tuple[float, float]:
    """Train one seed with plain libraries; return exact match and F1 on the test rows."""
    set_seed(seed)
    folder = resolve_model(MODEL)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = LoraConfig(
        task_type="QUESTION_ANS",
        r=RANK,
        lora_alpha=32,
        target_modules=["query", "key", "value", "dense"],
        modules_to_save=["qa_outputs"],
    )
    model: Any = get_peft_model(AutoModelForQuestionAnswering.from_pretrained(folder), config)
    encoded = [*_encoded(rows["train"], tokenizer)]
    features = [{name: value for name, value in one.items() if name not in {"row", "offsets"}} for one in encoded]
    plain_training(model, datasets.Dataset.from_list(features), PARAMS, epochs=epochs, seed=seed)
    answers = _answers(model.eval(), rows["test"], [*_encoded(rows["test"], tokenizer)])
    true = [answers["text"] for answers in rows["test"]["answers"][:]]
    pairs = [*zip(answers, true, strict=True)]
    return mean(exact_match(*pair) for pair in pairs), mean(f1(*pair) for pair in pairs)


def _encoded(rows: datasets.Dataset, tokenizer: PreTrainedTokenizerBase) -> Iterator[dict[str, Any]]:
    """Yield features as in transformers' example: padded windows with the positions of the answer, CLS without one."""
    found: Any = tokenizer(
        rows["text"][:],
        rows["text_pair"][:],
        truncation="only_second",
        max_length=LENGTH,
        stride=LENGTH // 4,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding="max_length",
    )
    for window, row in enumerate(found["overflow_to_sample_mapping"]):
        parts, offsets = found.sequence_ids(window), found["offset_mapping"][window]
        context = [place for place, part in enumerate(parts) if part == 1]
        answers = rows[row]["answers"]
        start = end = 0
        if answers["text"]:
            first, last = answers["answer_start"][0], answers["answer_start"][0] + len(answers["text"][0])
            if offsets[context[0]][0] <= first and offsets[context[-1]][1] >= last:
                start = max(place for place in context if offsets[place][0] <= first)
                end = min(place for place in context if offsets[place][1] >= last)
        yield {
            **{name: found[name][window] for name in ("input_ids", "attention_mask", "token_type_ids")},
            "start_positions": start,
            "end_positions": end,
            "row": row,
            "offsets": [offsets[place] if parts[place] == 1 else None for place in range(len(parts))],
        }


def _answers(model: PreTrainedModel, rows: datasets.Dataset, windows: list[dict[str, Any]]) -> list[str]:
    best: dict[int, tuple[float, str]] = {}
    absent: dict[int, float] = {}
    for at in range(0, len(windows), 32):
        some = windows[at : at + 32]
        names = ("input_ids", "attention_mask", "token_type_ids")
        with torch.no_grad():
            out = model(**{name: torch.tensor([one[name] for one in some], device=model.device) for name in names})
        for window, starts, ends in zip(some, out.start_logits.tolist(), out.end_logits.tolist(), strict=True):
            row, offsets = window["row"], window["offsets"]
            absent[row] = min(absent.get(row, 1e9), starts[0] + ends[0])
            for first, opening in enumerate(offsets):
                for last in range(first, min(first + MOST, len(offsets))):
                    closing_ = offsets[last]
                    score = starts[first] + ends[last]
                    if opening and closing_ and score > best.get(row, (-1e9, ""))[0]:
                        best[row] = score, rows[row]["text_pair"][opening[0] : closing_[1]]
    return ["" if absent[row] > best[row][0] else best[row][1] for row in range(len(rows))]


def main() -> None:
    """Print both sides."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=800)
    parser.add_argument("--epochs", type=int, default=2)
    given = parser.parse_args()
    plan = data_plan(given.rows)
    splits = OBJECTIVE.splits(plan)
    baseline = OBJECTIVE.baseline(splits)
    print(f"{given.rows} training rows, {len(splits.test)} test rows, {given.epochs} epochs")
    print(f"baseline: exact match {baseline['test/exact_match']:.3f}, F1 {baseline['test/f1']:.3f}", flush=True)
    began = time.perf_counter()
    packed = [*packed_seeds(OBJECTIVE, MODEL, plan, PARAMS, epochs=given.epochs, seeds=given.seeds)]
    found = {name: [each[name] for each in packed] for name in ("exact_match", "f1")}
    print(shown("packed", found, time.perf_counter() - began), flush=True)
    began = time.perf_counter()
    theirs = [plain(splits.by_name(), given.epochs, seed) for seed in range(given.seeds)]
    found = {"exact_match": [each[0] for each in theirs], "f1": [each[1] for each in theirs]}
    print(shown("plain", found, time.perf_counter() - began))


if __name__ == "__main__":
    main()
