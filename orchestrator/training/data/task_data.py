"""The rows of an objective, encoded once per maximum length and machine; see ``encoding``.

A long row may be several examples, its windows; fractions, folds and subsets count rows.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from orchestrator.core.data import DataPlan
from orchestrator.core.errors import DataError
from orchestrator.core.seeds import derive_seed
from orchestrator.core.trials.trial import TrialTask
from orchestrator.evaluation.forgetting import TOKENS
from orchestrator.evaluation.generation.answers import AnswerRows
from orchestrator.objective.protocol import Example, Objective, Splits, WritesAnswers
from orchestrator.objective.rows.digest import digest
from orchestrator.objective.rows.encoded_rows import class_ids_of, joined
from orchestrator.objective.rows.selection import first_rows
from orchestrator.objective.splits import Fold, folds
from orchestrator.objective.windows import of_rows, rows_of
from orchestrator.training.data.encoding import Encoder
from orchestrator.training.data.general import general_texts
from orchestrator.training.data.subset import stratified_subset

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase


class TaskData:
    """Encoded splits. The rows of a trial depend on the plan, its settings and its fold.

    They do not depend on its seed, except for the points of a learning curve.
    """

    def __init__(
        self,
        objective: Objective,
        plan: DataPlan,
        tokenizer: "PreTrainedTokenizerBase",
        splits: Splits | None = None,
        digests: Mapping[str, str] | None = None,
    ) -> None:
        """Take the splits, or read them if ``splits`` is None.

        Args:
            objective: the task.
            plan: the data of the sweep.
            tokenizer: tokenizer of the base model.
            splits: the rows; None: they are read.
            digests: digest by split, as ``Splits.by_name`` names it, of the sweep's rows; rows read here must have it.

        Raises:
            DataError: the data breaks a rule, or rows read here have changed since the sweep started.
        """
        self.objective = objective
        self._plan = plan
        self._splits = objective.splits(plan) if splits is None else splits
        self._digests = {} if splits is not None else _checked(self._splits, digests or {}, plan)
        self._encoder = Encoder(objective, tokenizer)
        self._encoded: dict[tuple[str, int], Sequence[Example]] = {}
        self._answers: dict[tuple[str, int, int | None, int], AnswerRows] = {}
        self.tokenizer = tokenizer
        rows = len(self._splits.train)
        rng = np.random.default_rng(derive_seed("training subset", plan.seed))
        self._folds: tuple[Fold, ...] | None = None  # divided when the first trial needs them
        self._shuffled: list[int] = rng.permutation(rows).tolist()

    @property
    def shift_sets(self) -> tuple[str, ...]:
        """Names of the shift sets."""
        return tuple(self._splits.shift)

    def split(self, name: str, max_length: int) -> Sequence[Example]:
        """Return the examples of ``train``, ``validation``, ``test`` or a shift set, in their order.

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
            own = self._digests.get(f"shift/{name}" if name in splits.shift else name)
            self._encoded[key] = self._encoder.encode(known[name], max_length, own)
        return self._encoded[key]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all splits, shift sets last."""
        return ("train", "validation", "test", *self.shift_sets)

    def all_rows(self, max_length: int) -> Sequence[Example]:
        """Return the encoded rows of all splits in the order of ``names``."""
        return joined(self.split(name, max_length) for name in self.names)

    def train(self, task: TrialTask) -> Sequence[Example]:
        """Return the examples of a trial's training rows: the first ``train_fraction`` of one fixed order.

        A point of a learning curve gets its ``share`` of these rows, drawn by the trial's seed.
        """
        rows, order = self._pool(task), self._order(task.fold)
        used = of_rows(rows, order[: math.ceil(task.settings.train_fraction * len(order))])
        if task.share is None:
            return used
        values = class_ids_of(used)
        labels = [values[places.start] for places in rows_of(used)]
        return of_rows(used, stratified_subset(labels, task.share, task.seed))

    def train_eval(self, task: TrialTask) -> Sequence[Example]:
        """Return the examples of the fixed training rows measured at every report."""
        examples = self.train(task)
        return of_rows(examples, range(min(self._plan.train_eval, len(rows_of(examples)))))

    def validation(self, task: TrialTask) -> Sequence[Example]:
        """Return the validation rows of a trial: the validation split, or those of its fold."""
        if task.fold is None:
            return self.split("validation", task.settings.max_length)
        return of_rows(self._pool(task), self._fold(task.fold).validation)

    def measured(self, name: str, task: TrialTask) -> Sequence[Example]:
        """Return the measured rows of a split; ``train_eval`` names the fixed training rows."""
        if name == "train_eval":
            return self.train_eval(task)
        return self.validation(task) if name == "validation" else self.split(name, task.settings.max_length)

    def answer_rows(self, name: str, task: TrialTask, count: int) -> AnswerRows:
        """Return the first rows of ``validation``, ``test`` or a shift set, at most ``count``, as prompts and targets.

        The objective writes answers.
        """
        objective, length = self.objective, task.settings.max_length
        assert isinstance(objective, WritesAnswers), "the plan measures answers"
        key = (name, length, task.fold if name == "validation" else None, count)
        if key not in self._answers:
            rows = first_rows(self._rows_to_answer(name, task), count)
            prompts = objective.prompts(rows, self.tokenizer, length)
            # One length is kept, as in ``split``.
            self._answers = {kept: each for kept, each in self._answers.items() if kept[1] == length}
            self._answers[key] = AnswerRows(prompts=prompts, references=objective.references(rows))
        return self._answers[key]

    def _rows_to_answer(self, name: str, task: TrialTask) -> "datasets.Dataset":
        splits = self._splits
        if name != "validation" or task.fold is None:
            return splits.by_name()[name if name in {"validation", "test"} else f"shift/{name}"]
        import datasets

        pool = datasets.concatenate_datasets([splits.train, splits.validation])
        validation: datasets.Dataset = pool.select(self._fold(task.fold).validation)
        return validation

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

    def _pool(self, task: TrialTask) -> Sequence[Example]:
        """Return the rows of train; in a fold, those of validation too."""
        train = self.split("train", task.settings.max_length)
        if task.fold is None:
            return train
        return joined([train, self.split("validation", task.settings.max_length)])

    def _order(self, fold: int | None) -> list[int]:
        """Return the places of the training rows in ``_pool``, in one fixed random order."""
        if fold is None:
            return self._shuffled
        rows = self._fold(fold).train
        rng = np.random.default_rng(derive_seed("training subset", self._plan.seed, fold))
        return [rows[place] for place in rng.permutation(len(rows)).tolist()]

    def _fold(self, fold: int) -> Fold:
        if self._folds is None:
            self._folds = folds(self._splits, self._plan)
        return self._folds[fold - 1]


def _checked(splits: Splits, wanted: Mapping[str, str], plan: DataPlan) -> dict[str, str]:
    """Return the digests of the splits named in ``wanted``.

    Every process reads the rows again. Those of a database or of a growing file may be others then.

    Raises:
        DataError: a digest differs.
    """
    found = {name: digest(rows) for name, rows in splits.by_name().items() if name in wanted}
    changed = [name for name, own in found.items() if own != wanted[name]]
    if changed:
        raise DataError(
            f"data.source: {plan.source} has changed since the sweep started, in the rows of {', '.join(changed)}, so "
            "its trials cannot be compared. Restore the rows and run the command again, or start anew with --fresh. "
            "For a database, name a snapshot or limit the query by a date"
        )
    return found
