"""Tests of one objective: every hook, on a few rows, without a model. B rows, T tokens."""

import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import DataPlan, Source
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.objective.loading import check_members, members_of
from orchestrator.objective.protocol import Example, Objective, Splits
from orchestrator.objective.rows.digest import digest
from orchestrator.objective.sequences import longest, separate
from orchestrator.objective.windows import join_windows, rows_of
from orchestrator.training.checks.rehearsal import random_logits, rehearse

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

ROWS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """A few encoded rows, collated, with random logits of the model's shape."""

    examples: list[Example]
    tensors: "Mapping[str, torch.Tensor]"
    logits: "torch.Tensor"


class ObjectiveContract:
    """Tests of one objective.

    Subclasses give the fixture ``objective``. They may override ``model`` (its tokenizer is used), ``data`` (the source
    and the number of rows) and ``max_length``::

        class TestTickets(ObjectiveContract):
            @pytest.fixture
            def objective(self) -> Objective:
                return Tickets()
    """

    max_length: int = 64
    """The maximum number of tokens of a row."""

    @pytest.fixture
    def objective(self) -> Objective:
        """Return the objective under test."""
        raise NotImplementedError("override the fixture `objective`")

    @pytest.fixture
    def model(self, objective: Objective) -> Source:
        """Return the model; its tokenizer encodes the rows."""
        return objective.default_model

    @pytest.fixture
    def data(self, objective: Objective) -> DataPlan:
        """Return which rows are read. The contract needs at least four of each split."""
        return DataPlan(source=objective.default_source, train=60, validation=20, test=20)

    @pytest.fixture
    def tokenizer(self, model: Source) -> "PreTrainedTokenizerBase":
        """Return the model's tokenizer."""
        return load_tokenizer(model)

    @pytest.fixture
    def splits(self, objective: Objective, data: DataPlan) -> Splits:
        """Return the rows by split."""
        return objective.splits(data)

    @pytest.fixture
    def batch(self, objective: Objective, splits: Splits, tokenizer: "PreTrainedTokenizerBase") -> Batch:
        """Return the first training rows as a batch."""
        return self.make_batch(objective, splits, tokenizer)

    def make_batch(self, objective: Objective, splits: Splits, tokenizer: "PreTrainedTokenizerBase") -> Batch:
        """Return the first training rows as a batch."""
        examples = objective.encode(splits.train.select(range(ROWS)), tokenizer, self.max_length)[:ROWS]
        tensors = objective.collate(examples, tokenizer)
        logits = random_logits(objective, tensors, tokenizer).detach()
        return Batch(examples=examples, tensors=tensors, logits=logits)

    def test_members_follow_the_protocol(self, objective: Objective) -> None:
        """Every member is there; names, labels and metrics are valid."""
        values = members_of(objective)
        check_members(objective.name, values, values)

    def test_hooks_pass_the_rehearsal(
        self, objective: Objective, splits: Splits, model: Source, data: DataPlan
    ) -> None:
        """The rehearsal before a sweep's first trial passes: it calls each hook once."""
        plan = EnginePlan(
            objective=objective.name,
            model=model,
            data=data,
            report_points=(1,),
            sweep_dir="",
            metric=objective.default_metric,
            largest={"max_length": self.max_length},
        )
        assert rehearse(objective, splits, plan) is None

    def test_splits_repeat(self, objective: Objective, splits: Splits, data: DataPlan) -> None:
        """The same plan gives the same rows in the same order."""
        again = objective.splits(data).by_name()
        assert {name: digest(rows) for name, rows in splits.by_name().items()} == {
            name: digest(rows) for name, rows in again.items()
        }

    def test_splits_have_planned_sizes(self, splits: Splits, data: DataPlan) -> None:
        """No split is larger than planned, and none is empty."""
        assert 0 < len(splits.train) <= (data.train or len(splits.train))
        assert 0 < len(splits.validation) <= data.validation
        assert 0 < len(splits.test) <= data.test

    def test_splits_share_no_row(self, splits: Splits) -> None:
        """No row is in two splits."""
        rows = [{repr(sorted(row.items())) for row in part} for part in (splits.train, splits.validation, splits.test)]
        assert len(set.union(*rows)) == sum(map(len, rows))

    def test_encode_returns_a_row_each(
        self, objective: Objective, splits: Splits, tokenizer: "PreTrainedTokenizerBase"
    ) -> None:
        """Every row, or window, has at most ``max_length`` ``input_ids``; the same rows give the same tokens."""
        examples = objective.encode(splits.validation, tokenizer, self.max_length)
        assert len(rows_of(examples)) == len(splits.validation)
        assert all(0 < longest(example) <= self.max_length for example in examples)
        assert objective.encode(splits.validation, tokenizer, self.max_length) == examples

    def test_encode_depends_on_the_row_alone(
        self, objective: Objective, splits: Splits, tokenizer: "PreTrainedTokenizerBase"
    ) -> None:
        """A part of the rows gives a part of the examples, because large splits are encoded in parts."""
        rows, half = splits.validation, len(splits.validation) // 2
        first, second = rows.select(range(half)), rows.select(range(half, len(rows)))
        parts = [objective.encode(part, tokenizer, self.max_length) for part in (first, second)]
        assert [*parts[0], *parts[1]] == objective.encode(rows, tokenizer, self.max_length)

    def test_encode_obeys_max_length(
        self, objective: Objective, splits: Splits, tokenizer: "PreTrainedTokenizerBase"
    ) -> None:
        """A smaller ``max_length`` cuts the rows further."""
        most = max(map(longest, objective.encode(splits.train, tokenizer, self.max_length)))
        shorter = objective.encode(splits.train, tokenizer, most - 1)
        assert max(map(longest, shorter)) <= most - 1

    def test_collate_pads_to_the_longest(self, batch: Batch) -> None:
        """``input_ids`` and ``attention_mask`` are B×T, T the longest row; the mask counts each row's tokens.

        A row of several sequences has several lines.
        """
        lengths = [len(sequence["input_ids"]) for example in batch.examples for sequence in separate(example)]
        assert tuple(batch.tensors["input_ids"].shape) == (len(lengths), max(lengths))
        assert batch.tensors["attention_mask"].shape == batch.tensors["input_ids"].shape
        assert batch.tensors["attention_mask"].sum(1).tolist() == lengths
        assert len(batch.tensors["labels"]) == len(lengths)

    def test_losses_are_sums_and_units_per_row(self, objective: Objective, batch: Batch) -> None:
        """``losses`` returns two float32 tensors of B finite values, with positive units; the logits do not change."""
        import torch

        before = batch.logits.clone()
        for smoothing in (0.0, 0.1):
            loss_sum_B, units_B = objective.losses(batch.logits, batch.tensors, smoothing)
            assert tuple(loss_sum_B.shape) == tuple(units_B.shape) == (ROWS,)
            assert loss_sum_B.dtype == units_B.dtype == torch.float32
            assert torch.isfinite(loss_sum_B).all()
            assert (units_B > 0).all()
        assert torch.equal(batch.logits, before)

    def test_row_loss_depends_on_the_row_alone(self, objective: Objective, batch: Batch) -> None:
        """Other logits in one row change the loss of no other row: a batch may hold rows of several trials."""
        import torch

        before, _ = objective.losses(batch.logits, batch.tensors)
        logits = batch.logits.clone()
        logits[0] = -2 * logits[0]
        after, _ = objective.losses(logits, batch.tensors)
        assert torch.equal(before[1:], after[1:])
        assert before[0] != after[0]

    def test_losses_add_up_over_parts(self, objective: Objective, batch: Batch) -> None:
        """The rows of a batch have the same losses in two halves of it."""
        import torch

        whole, half_lines = objective.losses(batch.logits, batch.tensors), len(batch.logits) // 2
        halves = [
            objective.losses(batch.logits[part], {name: tensor[part] for name, tensor in batch.tensors.items()})
            for part in (slice(0, half_lines), slice(half_lines, None))
        ]
        for place, tensor in enumerate(whole):
            assert torch.allclose(tensor, torch.cat([half[place] for half in halves]))

    def test_loss_has_a_gradient(self, objective: Objective, batch: Batch) -> None:
        """The gradient of the mean loss by the logits is finite and not zero."""
        import torch

        logits = batch.logits.clone().requires_grad_()
        loss_sum_B, units_B = objective.losses(logits, batch.tensors)
        (gradient,) = torch.autograd.grad(loss_sum_B.sum() / units_B.sum(), logits)
        assert torch.isfinite(gradient).all()
        assert gradient.abs().sum() > 0

    def test_predictions_are_a_pair_per_row(self, objective: Objective, batch: Batch) -> None:
        """One pair of prediction and reference per row, the same at every call, and picklable."""
        pairs = objective.predictions(batch.logits, batch.tensors)
        assert len(pairs) == ROWS
        assert all(len(pair) == 2 for pair in pairs)
        assert pickle.dumps(objective.predictions(batch.logits, batch.tensors)) == pickle.dumps(pairs)

    def test_measure_returns_every_metric(self, objective: Objective, batch: Batch) -> None:
        """``measure`` returns a number or NaN for each name in ``metrics`` except ``loss``."""
        pairs = join_windows(objective, batch.examples, objective.predictions(batch.logits, batch.tensors)) * 5
        measured = objective.measure(pairs)
        assert objective.metrics.keys() - {"loss"} <= measured.keys()
        assert not any(map(math.isinf, measured.values()))
        assert objective.measure(pairs) == pytest.approx(measured, rel=0, abs=0, nan_ok=True)

    def test_measure_ignores_row_order(self, objective: Objective, batch: Batch) -> None:
        """The order of the rows does not change a metric."""
        pairs = join_windows(objective, batch.examples, objective.predictions(batch.logits, batch.tensors)) * 5
        assert objective.measure(pairs[::-1]) == pytest.approx(objective.measure(pairs), nan_ok=True)

    def test_baseline_names_splits(self, objective: Objective, splits: Splits) -> None:
        """The baseline is None, or finite numbers with the metric names of reports, such as ``val/accuracy``."""
        found = objective.baseline(splits)
        if found is None:
            return
        assert all(math.isfinite(value) for value in found.values())
        assert {name.rpartition("/")[0].partition("/")[0] for name in found} <= {"train", "val", "test", "shift"}
        assert {name.rpartition("/")[2] for name in found} <= objective.metrics.keys()

    def test_objective_pickles(
        self, objective: Objective, splits: Splits, tokenizer: "PreTrainedTokenizerBase"
    ) -> None:
        """A pickled copy, as another process receives it, encodes rows in the same way."""
        copy: Any = pickle.loads(pickle.dumps(objective))  # noqa: S301  (written on the same line)
        rows = splits.train.select(range(ROWS))
        assert copy.name == objective.name
        assert copy.encode(rows, tokenizer, self.max_length) == objective.encode(rows, tokenizer, self.max_length)
