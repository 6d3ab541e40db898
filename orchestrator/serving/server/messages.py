"""Requests and answers of the server, as OpenAPI describes them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class PredictRequest(BaseModel):
    """Texts for one model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    texts: Annotated[list[str], Field(min_length=1, description="the texts; a blank text gets no answer")]
    model: str | None = Field(default=None, description="a served model; not needed if only one is served")
    calibrated: bool = Field(
        default=False, description="probabilities at the temperature fitted on the validation rows"
    )
    max_new_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="most tokens of a generated answer, by default the adapter's own limit; for language models only",
    )


class EntityAnswer(BaseModel):
    """An entity of a text."""

    text: str
    label: str = Field(description="its type")
    start: int = Field(description="its first character")
    end: int = Field(description="the place after its last character")
    score: float = Field(description="mean probability of its words' tags")


class Answer(BaseModel):
    """The answer to one text."""

    answer: str | None = Field(description="the most probable label, or the generated text; null for a blank text")
    score: float | None = Field(description="the answer's probability; null for generated text")
    probabilities: dict[str, float] = Field(description="by label; empty for generated text")
    cut: bool | None = Field(description="whether the limit of tokens ended a generated text; else null")
    entities: list[EntityAnswer] = Field(default=[], description="the entities in the text; empty for other tasks")


class PredictResponse(BaseModel):
    """One answer per text, in order."""

    model: str = Field(description="the model: name/version, or the folder's name")
    predictions: list[Answer]


class ModelInfo(BaseModel):
    """A served model."""

    name: str = Field(description="the name in requests")
    version: str = Field(description="name/version, or the folder's name")
    base: str = Field(description="the base model")
    head: str
    labels: list[str] = Field(description="empty for a language model")
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
