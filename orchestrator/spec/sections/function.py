"""The section ``function`` of the sweep file."""

from typing import Annotated

from pydantic import Field

from orchestrator.core.metric import Direction
from orchestrator.spec.sections.fields import MAX_ITEMS, MAX_SETS, Address, Rows, Scalar, Section, Short


class FunctionSection(Section):
    """A function ``run(config, report)`` as the objective: the length of its trials, its metrics, its fixed values."""

    samples: Rows | None = Field(
        default=None, description="training samples of a trial, in the unit that the function reports"
    )
    metrics: dict[Short, Annotated[Direction, Field(strict=False)]] = Field(
        default={},
        max_length=MAX_SETS,
        description="direction of each validation metric, minimize or maximize; {loss: minimize} stands for val/loss",
    )
    values: dict[Short, Scalar] = Field(
        default={}, max_length=MAX_ITEMS, description="fixed values, passed to the function beside the searched ones"
    )
    python: Address | None = Field(
        default=None, description="interpreter that runs the function; the one that runs the sweep if absent"
    )
    test: Short | None = Field(
        default=None, description="function in the same file that measures a kept checkpoint on test rows, once"
    )
