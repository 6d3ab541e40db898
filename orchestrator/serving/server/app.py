"""The web application: routes, errors, start and end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from orchestrator.core.errors import UserError
from orchestrator.objective.protocol import Head
from orchestrator.serving.predictor import SHOWN, Prediction, Predictor
from orchestrator.serving.server.batching import Batcher, Group
from orchestrator.serving.server.errors import RequestError
from orchestrator.serving.server.guard import Guard
from orchestrator.serving.server.limits import Limits
from orchestrator.serving.server.messages import (
    Answer,
    EntityAnswer,
    ErrorAnswer,
    FoundAnswer,
    Health,
    ModelInfo,
    PredictRequest,
    PredictResponse,
)
from orchestrator.serving.server.metrics import CONTENT_TYPE, Metrics
from orchestrator.serving.server.models import ServedModels
from orchestrator.version import __version__

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer} for status in (401, 404, 408, 413, 422, 429, 500, 503)
}


class Service:
    """The routes' functions over the served models."""

    def __init__(self, models: ServedModels, limits: Limits) -> None:
        self._models = models
        self._limits = limits
        self._task: asyncio.Task[None] | None = None
        self.metrics = Metrics()
        self.batcher = Batcher(models.compute, limits, self.metrics.computed)
        self.metrics.watch_waiting(lambda: self.batcher.num_waiting)

    @asynccontextmanager
    async def lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        """Compute batches while the server runs."""
        self._task = asyncio.create_task(self.batcher.run())
        try:
            yield
        finally:
            self._task.cancel()
            self.batcher.close()

    async def predict(self, request: PredictRequest) -> PredictResponse:
        """Predict with one model: labels, numbers, entities, generated text, or answers found in contexts."""
        name, predictor = self._models.find(request.model)
        self._check(request, name, predictor)
        columns = [request.texts, *([] if request.pairs is None else [request.pairs])]
        rows = [*zip(*columns, strict=True)]
        full = [row for row in rows if all(map(str.strip, row))]
        group = Group(
            model=name,
            max_new_tokens=request.max_new_tokens or min(predictor.max_new_tokens, self._limits.new_tokens),
            max_answers=request.answers or SHOWN,
        )
        try:
            found = await self.batcher.answer(group, full)
        except UserError as error:
            raise RequestError(422, "refused_text", str(error)) from error
        if request.calibrated:
            found = predictor.calibrated(found)
        answers = iter(found)
        return PredictResponse(
            model=version_of(name, predictor),
            predictions=[_answer(next(answers)) if all(map(str.strip, row)) else Answer() for row in rows],
        )

    async def models(self) -> list[ModelInfo]:
        """List the served models."""
        return [
            ModelInfo(
                name=name,
                version=version_of(name, each),
                base=str(each.card.base),
                head=each.card.head,
                labels=list(each.card.labels),
                problem=each.card.problem,
                text_column=each.card.text_column,
                pair_column=each.card.pair_column,
                max_length=each.card.max_length,
                temperature=each.card.temperature,
                max_new_tokens=None if each.card.labels else min(each.max_new_tokens, self._limits.new_tokens),
            )
            for name, each in self._models.predictors.items()
        ]

    async def health(self) -> Health:
        """Answer while the process lives."""
        return Health(status="ok")

    async def ready(self) -> Health:
        """Answer 200 if the server takes rows, else 503."""
        if self._task is None or self._task.done():
            raise RequestError(503, "not_ready", "the computing thread does not run; restart the server")
        if self.batcher.num_waiting >= self._limits.waiting_rows:
            raise RequestError(503, "not_ready", "too many rows wait for an answer", retry_after_s=1)
        return Health(status="ready")

    async def show_metrics(self) -> Response:
        """Return the metrics for Prometheus."""
        return Response(self.metrics.text(), media_type=CONTENT_TYPE)

    def _check(self, request: PredictRequest, name: str, predictor: Predictor) -> None:
        """Raise ``RequestError`` if the request is over a limit, or asks for something the model does not have."""
        limits = self._limits
        if len(request.texts) > limits.request_rows:
            message = f"texts: at most {limits.request_rows} texts in a request, got {len(request.texts)}"
            raise RequestError(422, "too_many_rows", f"{message}; send several requests")
        _check_columns(request, name, predictor)
        for field, texts in (("texts", request.texts), ("pairs", request.pairs or [])):
            for number, text in enumerate(texts):
                _check_text(f"{field}[{number}]", text, limits.text_chars)
        if request.calibrated and predictor.card.temperature is None:
            message = f"calibrated: model {name} has no temperature; leave 'calibrated' out"
            raise RequestError(422, "not_calibrated", message)
        if request.answers is not None and predictor.card.head != Head.QUESTION_ANSWERING:
            message = f"answers: model {name} finds no answers in contexts; leave 'answers' out"
            raise RequestError(422, "not_extractive", message)
        if request.max_new_tokens is None:
            return
        if predictor.card.labels:
            message = f"max_new_tokens: model {name} is a classifier; leave 'max_new_tokens' out"
            raise RequestError(422, "not_generative", message)
        if request.max_new_tokens > limits.new_tokens:
            message = f"max_new_tokens: at most {limits.new_tokens}, got {request.max_new_tokens}"
            raise RequestError(422, "too_many_tokens", message)


def create_app(models: ServedModels, limits: Limits, token: str | None = None) -> FastAPI:
    """Return the application.

    Args:
        models: the served models.
        limits: the limits.
        token: the token of the clients; None: requests need no token, and must name a loopback host.
    """
    service = Service(models, limits)
    app = FastAPI(
        title="Loratory",
        version=__version__,
        description="Predictions by adapters over shared base models.",
        docs_url=None,  # these pages load scripts from other servers
        redoc_url=None,
        lifespan=service.lifespan,
        dependencies=[] if token is None else [Depends(HTTPBearer(auto_error=False))],  # for OpenAPI; Guard checks it
    )
    app.add_api_route("/predict", service.predict, methods=["POST"], response_model=PredictResponse, responses=ERRORS)
    app.add_api_route("/models", service.models, response_model=list[ModelInfo])
    app.add_api_route("/health", service.health, response_model=Health)
    app.add_api_route("/ready", service.ready, response_model=Health, responses={503: {"model": ErrorAnswer}})
    app.add_api_route("/metrics", service.show_metrics, response_class=Response)
    for kind, handler in ((RequestError, _known), (RequestValidationError, _invalid), (HTTPException, _http)):
        app.add_exception_handler(kind, handler)
    app.add_exception_handler(Exception, _unknown)
    routes = {"/predict", "/models", "/health", "/ready", "/metrics", "/openapi.json"}
    app.add_middleware(Guard, limits=limits, token=token, metrics=service.metrics, routes=routes)
    app.state.service = service
    return app


def version_of(name: str, predictor: Predictor) -> str:
    """Return ``name/version`` of a registered model; for a folder, the served name: its path is not for clients."""
    return predictor.reference if predictor.registered else name


def _check_columns(request: PredictRequest, name: str, predictor: Predictor) -> None:
    """Raise ``RequestError`` if the model reads two texts a row and the request has one, or the reverse."""
    card, pairs = predictor.card, request.pairs
    if card.pair_column is None and pairs is not None:
        raise RequestError(422, "no_pairs", f"pairs: model {name} reads one text a row; leave 'pairs' out")
    if card.pair_column is not None and pairs is None:
        message = f"model {name} reads two texts a row: {card.text_column} in 'texts', {card.pair_column} in 'pairs'"
        raise RequestError(422, "pairs_missing", f"pairs: {message}")
    if pairs is not None and len(pairs) != len(request.texts):
        message = f"pairs: one per text is needed, got {len(pairs)} for {len(request.texts)} texts"
        raise RequestError(422, "wrong_number_of_pairs", message)


def _check_text(place: str, text: str, most: int) -> None:
    """Raise ``RequestError`` for a text that is too long, or not Unicode."""
    if len(text) > most:
        message = f"{place}: at most {most:,} characters, got {len(text):,}; shorten it"
        raise RequestError(422, "text_too_long", message)
    if any("\ud800" <= character <= "\udfff" for character in text):  # JSON can escape half of a pair
        raise RequestError(422, "not_unicode", f"{place}: not Unicode text (a lone surrogate)")


def _answer(found: Prediction) -> Answer:
    return Answer(
        answer=found.answer,
        score=found.score,
        probabilities=dict(found.probabilities),
        values=dict(found.values),
        cut=found.cut,
        entities=[EntityAnswer(**one) for one in found.entities or ()],
        answers=[FoundAnswer(**one) for one in found.answers],
    )


async def _known(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestError)
    return error.response()


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    """Name each wrong field. The values are left out: a text may be long."""
    assert isinstance(error, RequestValidationError)
    problems = [f"{'.'.join(map(str, each['loc'][1:])) or 'body'}: {each['msg']}" for each in error.errors()]
    return RequestError(422, "invalid_request", "; ".join(problems[:10])).response()


async def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
    return RequestError(error.status_code, code, str(error.detail)).response()


async def _unknown(_request: Request, _error: Exception) -> JSONResponse:
    # The log has the traceback, the client gets no detail.
    return RequestError(500, "internal_error", "the model failed on these texts; see the server's log").response()
