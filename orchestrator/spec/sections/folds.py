"""The key ``data.folds`` of the sweep file."""

from typing import Annotated

from pydantic import Discriminator, Field, Tag

from orchestrator.spec.sections.fields import MAPPING, NUMBER, Section


class FoldsSection(Section):
    """Divisions of the rows for training and validation, for the confirmation."""

    folds: Annotated[int, Field(ge=2, le=100)] = Field(
        default=5, description="number of folds; the validation split of the search is the first one"
    )
    repeats: Annotated[int, Field(ge=1, le=100)] = Field(
        default=1, description="number of divisions into folds; the later ones divide all rows again"
    )


def _folds_shape(value: object) -> str:
    return MAPPING if isinstance(value, dict | FoldsSection) else NUMBER


FoldsEntry = Annotated[
    Annotated[int, Field(ge=2, le=100), Tag(NUMBER)] | Annotated[FoldsSection, Tag(MAPPING)],
    Discriminator(_folds_shape),
]
