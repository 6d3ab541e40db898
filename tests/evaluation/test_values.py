"""Validation of the metrics returned by objectives."""

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from orchestrator.core.errors import ObjectiveError
from orchestrator.evaluation.values import metric_values


@pytest.mark.parametrize(
    "value",
    [
        0.5, np.float32(0.5), np.float16(0.5), np.array(0.5), torch.tensor(0.5), torch.tensor(0.5, requires_grad=True),
        torch.tensor(0.5, dtype=torch.bfloat16), Decimal("0.5"), Fraction(1, 2),
    ],
)  # fmt: skip
def test_single_numbers_become_floats(value: Any) -> None:
    result = metric_values({"f1": value}, "mood")
    assert result == {"f1": 0.5}
    assert type(result["f1"]) is float


@pytest.mark.parametrize("value", [1, np.int64(1), torch.tensor(1)])
def test_whole_numbers_become_floats(value: Any) -> None:
    assert type(metric_values({"n": value}, "mood")["n"]) is float


def test_nan_and_infinity_are_kept() -> None:
    result = metric_values({"a": float("nan"), "b": np.float32("inf")}, "mood")
    assert math.isnan(result["a"])
    assert math.isinf(result["b"])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, r"None \(NoneType\)"),
        (True, r"True \(bool\)"),
        (np.bool_(False), r"\(bool"),
        (torch.tensor(True), r"tensor\(True\) \(Tensor\)"),
        ("0.5", r"'0.5' \(str\)"),
        ([0.5], r"\[0.5\] \(list\)"),
        (np.array([0.5]), r"array\(\[0.5\]\) \(ndarray\)"),
        ({"accuracy": 0.5}, r"\(dict\)"),
        (1j, r"1j \(complex\)"),
        (10**400, r"\.\.\. \(int\)"),
    ],
)
def test_other_values_are_refused_by_name(value: Any, message: str) -> None:
    with pytest.raises(ObjectiveError, match=f"objective mood: measure: f1 must be a real number .*got .*{message}"):
        metric_values({"accuracy": 0.5, "f1": value}, "mood")


@pytest.mark.parametrize("result", [None, 0.5, [("a", 1)]])
def test_non_mapping_is_refused(result: object) -> None:
    with pytest.raises(ObjectiveError, match="objective mood: measure must return a dict of metrics by name, got "):
        metric_values(result, "mood")


def test_missing_listed_metric_is_named() -> None:
    with pytest.raises(ObjectiveError, match="measure returned no f1, required by metrics; it returned accuracy"):
        metric_values({"accuracy": 1}, "mood", wanted=["accuracy", "f1"])
