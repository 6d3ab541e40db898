"""The rows of an objective, encoded once per maximum length and kept for all trials of the process."""

import math
from typing import TYPE_CHECKING

import numpy as np

from orchestrator.core.data import DataPlan
from orchestrator.core.errors import DataError
from orchestrator.core.seeds import derive_seed
from orchestrator.core.settings import TrialSettings
from orchestrator.evaluation.forgetting import TOKENS
from orchestrator.objective.protocol import Example, Objective, Splits
from orchestrator.training.data.general import general_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class TaskData:
    """Encoded splits. The rows of a trial depend on the plan and its settings, never on its seed."""

    def __init__(
        self,
        objective: Objective,
        plan: DataPlan,
        tokenizer: "PreTrainedTokenizerBase",
        splits: Splits | None = None,
    ) -> None:
        """Take the splits, or read them if ``splits`` is None.

        Raises:
            DataError: the data breaks a rule.
        """
        self._objective = objective
        self._plan = plan
        self._splits = objective.splits(plan) if splits is None else splits
        self._encoded: dict[tuple[str, int], list[Example]] = {}
        self.tokenizer = tokenizer
        rows = len(self._splits.train)
        rng = np.random.default_rng(derive_seed("training subset", plan.seed))
        self._shuffled: list[int] = rng.permutation(rows).tolist()

    @property
    def shift_sets(self) -> tuple[str, ...]:
        """Names of the shift sets."""
        return tuple(self._splits.shift)

    def split(self, name: str, max_length: int) -> list[Example]:
        """Return the encoded rows of ``train``, ``validation``, ``test`` or a shift set, in their order.

        Raises:
            DataError: the split does not exist.
        """
        key = (name, max_length)
        if key not in self._encoded:
            splits = self._splits
            known = {"train": splits.train, "validation": splits.validation, "test": splits.test, **splits.shift}
            if name not in known:
                raise DataError(f"there is no split {name!r}; there are: {', '.join(known)}")
            # Only one length is kept: a search over max_length would otherwise keep one copy of the rows per value.
            self._encoded = {kept: rows for kept, rows in self._encoded.items() if kept[1] == max_length}
            self._encoded[key] = self._objective.encode(known[name], self.tokenizer, max_length)
        return self._encoded[key]

    def train(self, settings: TrialSettings) -> list[Example]:
        """Return the training rows of a trial: the first ``train_fraction`` of one fixed order."""
        return self._training(settings, self._used(settings))

    def train_eval(self, settings: TrialSettings) -> list[Example]:
        """Return the fixed training rows measured at every report."""
        return self._training(settings, min(self._plan.train_eval, self._used(settings)))

    def measured(self, name: str, settings: TrialSettings) -> list[Example]:
        """Return the measured rows of a split; ``train_eval`` names the fixed training rows."""
        return self.train_eval(settings) if name == "train_eval" else self.split(name, settings.max_length)

    def general(self) -> list[list[int]]:
        """Return the token ids of the general text, at most ``forgetting.TOKENS`` each.

        Raises:
            AssetError, DataError: the text cannot be read.
        """
        assert self._plan.general is not None, "the plan has no general text"
        texts = general_texts(self._plan.general)
        most = min(TOKENS, self.tokenizer.model_max_length)
        encoded: list[list[int]] = self.tokenizer(texts, truncation=True, max_length=most)["input_ids"]
        return encoded

    def _used(self, settings: TrialSettings) -> int:
        return math.ceil(settings.train_fraction * len(self._shuffled))

    def _training(self, settings: TrialSettings, count: int) -> list[Example]:
        rows = self.split("train", settings.max_length)
        return [rows[index] for index in self._shuffled[:count]]
