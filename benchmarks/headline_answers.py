"""How much better SmolLM2 writes BBC headlines after a short training, beside plain transformers and peft.

``python -m benchmarks.headline_answers [--seeds 2] [--rows 128] [--epochs 2]`` prints ROUGE-L of the headlines of 48
test rows: of the untuned model, of trials of this project, and of ``Trainer`` with peft's LoRA. All write greedily, at
most 17 tokens. Both sides have the same rows, configuration and number of updates; a seed gives other adapters and
orders of the rows. The plain side encodes its rows itself and writes with ``generate``, one row at a time.
"""

import argparse
import time
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq, set_seed

from benchmarks.beside_plain import packed_seeds, plain_training, shown
from objectives.headline import OBJECTIVE
from orchestrator.assets.models import resolve_model
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.tasks.generation import GenerationPlan
from orchestrator.evaluation.generation.answers import Answer, score
from orchestrator.objective.padding import IGNORED

ROWS = Source(origin=Origin.PACKAGED, name="bbc-news")
MODEL = Source(origin=Origin.PACKAGED, name="smollm2")
LENGTH, TOKENS, TEST_ROWS, RANK = 96, 17, 48, 16
PARAMS = {"learning_rate": 5e-4, "rank": RANK, "alpha": 32.0, "batch_size": 8, "max_length": LENGTH}
BEFORE, _, AFTER = OBJECTIVE.prompt.partition("{text}")


class Plain:
    """The base model with plain libraries."""

    def __init__(self, splits: Any) -> None:  # noqa: ANN401  (splits of an objective)
        self.folder = resolve_model(MODEL)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(self.folder)
        self.train, self.test = splits.train, splits.test.select(range(TEST_ROWS))

    def model(self) -> Any:  # noqa: ANN401  (any causal model)
        """Return the untuned model."""
        return AutoModelForCausalLM.from_pretrained(self.folder, dtype="float32")

    def trained(self, epochs: int, seed: int) -> Any:  # noqa: ANN401  (a PEFT model)
        """Return the model with an adapter of one seed."""
        set_seed(seed)
        config = LoraConfig(task_type="CAUSAL_LM", r=RANK, lora_alpha=32, target_modules="all-linear")
        model = get_peft_model(self.model(), config)
        collator = DataCollatorForSeq2Seq(self.tokenizer)
        plain_training(model, self._encoded(), PARAMS, epochs=epochs, seed=seed, collator=collator)
        return model

    def rouge(self, model: Any) -> float:  # noqa: ANN401
        """Return ROUGE-L of the headlines that a model writes for the test rows."""
        written = []
        for text in self.test["text"]:
            ids = torch.tensor([self._prompt(text, LENGTH)])
            with torch.inference_mode():
                found = model.eval().generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=TOKENS,
                    do_sample=False,
                    pad_token_id=self.tokenizer.eos_token_id,
                )
            answer = self.tokenizer.decode(found[0, ids.shape[1] :], skip_special_tokens=True)
            written.append(Answer(text=answer.strip(), cut=False))
        return rouge_l(written, self.test)

    def _prompt(self, text: str, most: int) -> list[int]:
        before, article, after = (
            self.tokenizer(part, add_special_tokens=False)["input_ids"] for part in (BEFORE, text, AFTER)
        )
        return [*before, *article[: most - len(before) - len(after)], *after]

    def _encoded(self) -> list[dict[str, list[int]]]:
        rows = []
        for text, headline in zip(self.train["text"], self.train["headline"], strict=True):
            target = self.tokenizer(headline, add_special_tokens=False)["input_ids"] + [self.tokenizer.eos_token_id]
            prompt = self._prompt(text, LENGTH - len(target))
            ids = prompt + target
            rows.append(
                {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": [IGNORED] * len(prompt) + target}
            )
        return rows


def rouge_l(answers: list[Answer], test: Any) -> float:  # noqa: ANN401  (a data set of datasets)
    """Return the mean ROUGE-L of answers to the test rows."""
    return score(answers, list(test["headline"]), {"rouge_l": None}).metrics["rouge_l"]


def main() -> None:
    """Print the untuned model and both sides."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=2)
    given = parser.parse_args()
    data = DataPlan(source=ROWS, train=given.rows, validation=8, test=TEST_ROWS, train_eval=8)
    splits = OBJECTIVE.splits(data)
    plain = Plain(splits)
    untuned = plain.rouge(plain.model())
    print(f"untuned: ROUGE-L {untuned:.4f}, {given.rows} training rows, {TEST_ROWS} test rows", flush=True)
    began = time.perf_counter()
    packed = packed_seeds(
        OBJECTIVE,
        MODEL,
        data,
        PARAMS,
        epochs=given.epochs,
        seeds=given.seeds,
        generation=GenerationPlan(max_new_tokens=TOKENS, test_rows=TEST_ROWS),
    )
    ours = [each["rouge_l"] for each in packed]
    print(shown("packed", {"ROUGE-L": ours}, time.perf_counter() - began), flush=True)
    began = time.perf_counter()
    theirs = [plain.rouge(plain.trained(given.epochs, seed)) for seed in range(given.seeds)]
    print(shown("plain", {"ROUGE-L": theirs}, time.perf_counter() - began))
    print(f"{sum(ours) / len(ours) / untuned:.2f} times the untuned model's")


if __name__ == "__main__":
    main()
