"""Requests and answers of the server, as OpenAPI describes them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.objective.extractive_qa.answer_spans import MOST_ANSWERS
from orchestrator.serving.predictor import SHOWN


class PredictRequest(BaseModel):
    """Rows for one model: their texts, and their second texts for a model of two texts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    texts: Annotated[list[str], Field(min_length=1, description="the texts; a blank text gets no answer")]
    pairs: Annotated[list[str], Field(min_length=1)] | None = Field(
        default=None,
        description="the second text of each row, such as the hypothesis or the context of a question; only for "
        "models with a pair_column. A row with a blank text gets no answer",
    )
    model: str | None = Field(default=None, description="a served model; not needed if only one is served")
    calibrated: bool = Field(
        default=False, description="probabilities at the temperature fitted on the validation rows"
    )
    max_new_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="most tokens of a generated answer, by default the adapter's own limit; for language models only",
    )
    answers: Annotated[int, Field(ge=1, le=MOST_ANSWERS)] | None = Field(
        default=None,
        description=f"most answers found in the context of a row, {SHOWN} by default; only for extractive question "
        "answering",
    )


class FoundAnswer(BaseModel):
    """A part of the context: its characters start to end."""

    answer: str
    start: int | None = Field(description="its first character in the context")
    end: int | None = Field(description="the place after its last character")
    score: float = Field(description="its probability among the best answers and, if possible, no answer")


class EntityAnswer(BaseModel):
    """An entity of a text."""

    text: str
    label: str = Field(description="its type")
    start: int = Field(description="its first character")
    end: int = Field(description="the place after its last character")
    score: float = Field(description="mean probability of its words' tags")


class Answer(BaseModel):
    """The answer to one row."""

    answer: str | None = Field(
        default=None,
        description="the most probable label, the labels above one half, the numbers, the generated text, or a part of "
        "the context (empty: it has no answer); null for a blank text",
    )
    score: float | None = Field(
        default=None, description="probability of the label, or of the answer in the context; else null"
    )
    probabilities: dict[str, float] = Field(default={}, description="by label; empty for other tasks")
    values: dict[str, float] = Field(default={}, description="predicted numbers by target; empty for other tasks")
    cut: bool | None = Field(default=None, description="whether the limit of tokens ended a generated text; else null")
    entities: list[EntityAnswer] = Field(default=[], description="the entities in the text; empty for other tasks")
    answers: list[FoundAnswer] = Field(
        default=[], description="the best answers in the context, the best first; empty for other tasks"
    )


class PredictResponse(BaseModel):
    """One answer per row, in order."""

    model: str = Field(description="the model: name/version, or the folder's name")
    predictions: list[Answer]


class ModelInfo(BaseModel):
    """A served model."""

    name: str = Field(description="the name in requests")
    version: str = Field(description="name/version, or the folder's name")
    base: str = Field(description="the base model")
    head: str
    labels: list[str] = Field(description="empty for a language model")
    problem: str = Field(description="single_label_classification, multi_label_classification or regression")
    text_column: str = Field(description="name of the texts in training")
    pair_column: str | None = Field(description="name of the second texts in training; null: rows have one text")
    max_length: int = Field(description="longest input in tokens; longer inputs are cut")
    temperature: float | None = Field(description="null: no calibrated answers")
    max_new_tokens: int | None = Field(description="default limit of an answer in tokens; null for a classifier")


class Health(BaseModel):
    """The state of the server."""

    status: str


class ErrorAnswer(BaseModel):
    """An error."""

    error: str = Field(description="the error's name")
    message: str = Field(description="the problem and its remedy")
