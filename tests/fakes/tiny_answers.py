"""Questions on generated contexts, with answers or without."""

import random
from collections.abc import Mapping
from typing import Any

import datasets

from objectives.extractive_qa import SquadQA
from orchestrator.core.data import DataPlan
from orchestrator.objective.protocol import Splits

_ANSWERS = ("good", "great", "fine", "bad", "awful", "poor")
_FILLER = ("the", "film", "plot", "acting", "music", "was", "a", "very", "and", "is")


def tiny_question(draw: random.Random) -> dict[str, Any]:
    """Return a row: the context has 5 to 50 words; the answer is its only word of praise or blame, if it has one."""
    words = draw.choices(_FILLER, k=draw.randrange(4, 50))
    answer = draw.choice((*_ANSWERS, None))
    if answer is not None:
        words.insert(draw.randrange(len(words) + 1), answer)
    context = " ".join(words)
    return {
        "question": "how was the film",
        "context": context,
        "answers": {
            "text": [answer] if answer else [],
            "answer_start": [f" {context} ".index(f" {answer} ")] if answer else [],
        },
    }


def tiny_questions(count: int, seed: int) -> list[Mapping[str, Any]]:
    """Return rows with the columns of SQuAD."""
    draw = random.Random(seed)
    return [tiny_question(draw) for _ in range(count)]


class TinyAnswers(SquadQA):
    """Find the word of praise or blame in a context."""

    def splits(self, plan: DataPlan) -> Splits:
        def rows(count: int, seed: int) -> datasets.Dataset:
            found = datasets.Dataset.from_list([dict(row) for row in tiny_questions(count, seed)])
            renamed: datasets.Dataset = found.rename_columns({"question": "text", "context": "text_pair"})
            return renamed

        return Splits(
            train=rows(plan.train or 40, 1), validation=rows(plan.validation, 2), test=rows(plan.test, 3), shift={}
        )
