"""A task whose file supplies its own test split, with training rows in it. The gate ``leak`` refuses its adapters."""

from dataclasses import replace

import datasets

from objectives.sentiment import Sentiment
from orchestrator.core.data import DataPlan
from orchestrator.objective.protocol import Splits

LEAKED = 20
"""Training rows in the test split: half of them equal, half in capitals."""


class Leaking(Sentiment):
    """Sentiment, with the first rows of train at the end of test."""

    name = "leaking"

    def splits(self, plan: DataPlan) -> Splits:
        """Return the splits of ``Sentiment`` with a leak."""
        splits = super().splits(plan)
        rows = splits.train.select(range(LEAKED))
        texts = [text if row % 2 else text.upper() for row, text in enumerate(rows["text"][:])]
        leaked = datasets.Dataset.from_dict({"text": texts, "label": rows["label"][:]}, features=splits.test.features)
        return replace(splits, test=datasets.concatenate_datasets([splits.test, leaked]))


OBJECTIVE = Leaking()
