"""Rules for batches, found from the influence of rows on each other."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from orchestrator.core.errors import UserError
from orchestrator.evaluation.measure import decoder_inputs, make_batches
from orchestrator.evaluation.row_independence import BatchRule, find_batch_rule, find_stateful_module
from orchestrator.objective.protocol import Example

ROWS: list[Example] = [{"input_ids": [row] * length, "labels": 0} for row, length in enumerate((3, 9, 5, 9, 3, 7))]


def own(row: Example) -> float:
    return float(sum(row["input_ids"]) + 1)


def padded(rows: Sequence[Example]) -> float:
    return float(sum(max(len(other["input_ids"]) for other in rows) - len(row["input_ids"]) for row in rows))


@pytest.mark.parametrize(
    ("beside", "expected"),
    [
        (lambda rows: 0.0, BatchRule.ANY_LENGTH),
        (lambda rows: 1e-6 * len(rows), BatchRule.ANY_LENGTH),
        (padded, BatchRule.EQUAL_LENGTH),
        (lambda rows: float(len(rows)), BatchRule.SINGLE_ROW),
    ],
)
def test_dependence_on_other_rows(beside: Callable[[Sequence[Example]], float], expected: BatchRule) -> None:
    def results(rows: Sequence[Example]) -> list[torch.Tensor]:
        return [torch.tensor([own(row) + beside(rows) for row in rows])]

    assert find_batch_rule(results, ROWS) is expected


def test_dynamic_rope_separates_lengths() -> None:
    def results(rows: Sequence[Example]) -> list[torch.Tensor]:
        return [torch.tensor([own(row) for row in rows])]

    assert find_batch_rule(results, ROWS, limit=9) is BatchRule.ANY_LENGTH
    assert find_batch_rule(results, ROWS, limit=8) is BatchRule.EQUAL_LENGTH


def test_nan_results_count_as_equal() -> None:
    def results(rows: Sequence[Example]) -> list[torch.Tensor]:
        return [torch.full((len(rows),), torch.nan)]

    assert find_batch_rule(results, ROWS) is BatchRule.ANY_LENGTH


def test_batches_follow_the_batching_rule() -> None:
    assert make_batches(ROWS, 18) == [[0, 4, 2], [5, 1], [3]]
    assert make_batches(ROWS, 100) == [[0, 4, 2, 5, 1, 3]]
    assert make_batches(ROWS, 100, BatchRule.EQUAL_LENGTH) == [[0, 4], [2], [5], [1, 3]]
    assert make_batches(ROWS, 100, BatchRule.SINGLE_ROW) == [[0], [4], [2], [5], [1], [3]]


class Remembers(torch.nn.Module):
    longest = 0

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        self.longest = max(self.longest, values.shape[0])
        return values


def test_stateful_modules_are_named() -> None:
    values = torch.ones(4, 2)
    plain = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)).eval()
    assert find_stateful_module(plain, lambda: plain(values)) is None
    plain.train()
    assert find_stateful_module(plain, lambda: plain(values)) == "BatchNorm1d"
    remembers = torch.nn.Sequential(torch.nn.Linear(2, 2), Remembers())
    assert find_stateful_module(remembers, lambda: remembers(values)) == "Remembers"
    assert find_stateful_module(remembers, lambda: remembers(values)) is None


def model(**config: Any) -> Any:
    given = {"is_encoder_decoder": True, "model_type": "made up", "pad_token_id": 0, "bos_token_id": None}
    return SimpleNamespace(config=SimpleNamespace(**given | config))


def test_decoder_inputs_are_shifted_labels() -> None:
    labels_BS = torch.tensor([[5, 6, 7], [8, -100, -100]])
    assert decoder_inputs(model(decoder_start_token_id=2), labels_BS).tolist() == [[2, 5, 6], [2, 8, 0]]
    assert decoder_inputs(model(bos_token_id=1, pad_token_id=None), labels_BS).tolist() == [[1, 5, 6], [1, 8, 1]]
    assert labels_BS.tolist() == [[5, 6, 7], [8, -100, -100]]


def test_decoder_without_start_token_is_refused() -> None:
    with pytest.raises(UserError, match="decoder_start_token_id is missing"):
        decoder_inputs(model(), torch.tensor([[5]]))
    with pytest.raises(UserError, match="made up is not an encoder-decoder model"):
        decoder_inputs(model(is_encoder_decoder=False), torch.tensor([[5]]))
