"""An objective's rows, tokenised once per length limit and kept for every trial of the process."""

import math
from typing import TYPE_CHECKING

import numpy as np

from orchestrator.core.data import DataPlan
from orchestrator.core.errors import DataError
from orchestrator.core.seeds import derive_seed
from orchestrator.core.settings import TrialSettings
from orchestrator.objective.protocol import Example, Objective, Splits

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class TaskData:
    """Encoded splits. Which rows a trial uses depends on the plan and its settings alone, never on the trial's seed."""

    def __init__(self, objective: Objective, plan: DataPlan, tokenizer: "PreTrainedTokenizerBase") -> None:
        """Read and cut the data.

        Raises:
            DataError: the data breaks a rule.
        """
        self._objective = objective
        self._plan = plan
        self._splits: Splits = objective.splits(plan)
        self._encoded: dict[tuple[str, int], list[Example]] = {}
        self.tokenizer = tokenizer
        rows = len(self._splits.train)
        draw = np.random.default_rng(derive_seed("training subset", plan.seed))
        self._shuffled: list[int] = draw.permutation(rows).tolist()

    @property
    def shift_sets(self) -> tuple[str, ...]:
        """Names of the sets of other distributions."""
        return tuple(self._splits.shift)

    def split(self, name: str, max_length: int) -> list[Example]:
        """Return the rows of ``train``, ``validation``, ``test`` or a shift set, in their order.

        Raises:
            DataError: there is no such split.
        """
        key = (name, max_length)
        if key not in self._encoded:
            splits = self._splits
            known = {"train": splits.train, "validation": splits.validation, "test": splits.test, **splits.shift}
            if name not in known:
                raise DataError(f"there is no split {name!r}; there are: {', '.join(known)}")
            # One length at a time: where it is searched, a process would gather a copy of all rows for every trial.
            self._encoded = {held: rows for held, rows in self._encoded.items() if held[1] == max_length}
            self._encoded[key] = self._objective.encode(known[name], self.tokenizer, max_length)
        return self._encoded[key]

    def train(self, settings: TrialSettings) -> list[Example]:
        """Return the rows that a trial trains on: ``train_fraction`` of them, smaller shares inside larger ones."""
        return self._training(settings, self._used(settings))

    def train_eval(self, settings: TrialSettings) -> list[Example]:
        """Return the fixed rows, among those that the trial trains on, whose loss is measured at every report."""
        return self._training(settings, min(self._plan.train_eval, self._used(settings)))

    def measured(self, name: str, settings: TrialSettings) -> list[Example]:
        """Return the rows of a split that a trial is measured on; ``train_eval`` names the fixed ones it trains on."""
        return self.train_eval(settings) if name == "train_eval" else self.split(name, settings.max_length)

    def _used(self, settings: TrialSettings) -> int:
        return math.ceil(settings.train_fraction * len(self._shuffled))

    def _training(self, settings: TrialSettings, count: int) -> list[Example]:
        rows = self.split("train", settings.max_length)
        return [rows[index] for index in self._shuffled[:count]]
