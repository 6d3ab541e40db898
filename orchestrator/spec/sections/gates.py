"""The section ``gates`` of sweep files and policy files."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from orchestrator.core.sweeps.gates import Gates, MetricBound
from orchestrator.spec.sections.fields import MAX_ITEMS, Natural, Rows, Section, Short, as_integer, rule_error

Bound = Annotated[float, Field(ge=0, le=1e6)]
"""A gain, a drop or a gap, in the unit of its metric."""
Bytes = Annotated[int, Field(ge=1, le=10**15), BeforeValidator(as_integer)]


class MetricRange(Section):
    """The range of a stored metric."""

    min: float | None = Field(default=None, description="smallest value")
    max: float | None = Field(default=None, description="largest value")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min is None and self.max is None:
            raise rule_error("min, max or both are needed")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise rule_error("min <= max is needed")
        return self


class GatesSection(Section):
    """The rules of `promote`; null switches a gate off."""

    champion_gain: Bound | None = Field(
        default=0.0,
        description="smallest gain over the version in use on the same test rows; a paired test must show that the "
        "gain is not zero",
    )
    p_value: Annotated[float, Field(gt=0, lt=0.5)] = Field(default=0.05, description="level of this test")
    seed_sd: Bound | None = Field(
        default=None,
        description="standard deviation of the test metric between seeds, part of the test; if absent, "
        "0.25 / sqrt(training rows), from 0.005 to 0.05, for an accuracy, more for macro-F1 with rare classes, and 0 "
        "for other metrics; fresh seeds measure it",
    )
    slice_drop: Bound | None = Field(
        default=0.05, description="largest drop of accuracy below the version in use on a slice of the test rows"
    )
    slice_rows: Rows = Field(
        default=200, description="rows of a slice from which a larger drop refuses; on smaller slices it warns"
    )
    baseline_gain: Bound | None = Field(default=0.0, description="smallest gain over the baseline")
    gap: Bound | None = Field(default=0.5, description="largest overfit gap of the best checkpoint, in nats")
    memoriser_gap: Bound | None = Field(
        default=0.5,
        description="overfit gap in nats from which an adapter with a training loss near 0 and little validation "
        "accuracy is a memoriser",
    )
    shift_drop: Bound | None = Field(
        default=None, description="largest drop of the searched metric from the test rows to a shift set"
    )
    forgetting: Bound | None = Field(default=None, description="largest value of a stored metric forgetting/...")
    leaked_rows: Natural | None = Field(default=0, description="most test rows among the training rows")
    near_copies: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=0.02,
        description="largest share of the test rows with almost the words of a training row: one changed word in about "
        "20",
    )
    size_bytes: Bytes | None = Field(default=None, description="largest size of the adapter's weights")
    latency_ms: Annotated[float, Field(gt=0, le=1e6)] | None = Field(
        default=None,
        description="longest time for one row of the largest length in milliseconds: the 95th percentile, measured on "
        "this machine's CPU by each promotion",
    )
    latency_ratio: Annotated[float, Field(gt=0, le=1000)] | None = Field(
        default=None,
        description="longest time for one row as a multiple of the base model's time without the adapter, measured in "
        "turns on this machine's CPU; of a model that writes, the time to the first token",
    )
    metrics: dict[Short, MetricRange] = Field(
        default={}, max_length=MAX_ITEMS, description="ranges of further stored metrics by name, such as test/loss"
    )

    def bounds(self) -> Gates:
        """Return the bounds; the keys in the file count as set by a user."""
        values = {name: getattr(self, name) for name in type(self).model_fields if name != "metrics"}
        metrics = {name: MetricBound(min=each.min, max=each.max) for name, each in self.metrics.items()}
        return Gates(**values, metrics=metrics, written=frozenset(self.model_fields_set))
