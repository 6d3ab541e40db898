"""Adapters as MLflow models: the adapter, its tokenizer and a reference to the base, attached to the trial's run.

The model is code (``adapter_model.py``). MLflow's transformers flavour would need the whole base model in memory to log
an adapter of a few megabytes, and loses the number of classes of the head.
"""

import json
import logging
import math
import tempfile
import warnings
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.core.errors import TrackingError
from orchestrator.core.names import logged_model_name, mlflow_key
from orchestrator.core.tasks.problem import Problem
from orchestrator.objective.entities import entity_words
from orchestrator.objective.extractive_qa import answer_spans
from orchestrator.tracking.cards.entity_card import ENTITIES
from orchestrator.tracking.environment import load_mlflow
from orchestrator.tracking.location import exclusive
from orchestrator.tracking.logged_models.adapters import CARD, CONFIG, AdapterCard
from orchestrator.tracking.logged_models.staging import FUNCTION_FILE, stage_adapter
from orchestrator.tracking.refusals import is_refusal
from orchestrator.tracking.runs.summary import milliseconds
from orchestrator.tracking.runs.wording import SWEEP_TAG, TRIAL_TAG, texts, trial_name

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.types import ColSpec, TensorSpec

logger = logging.getLogger(__name__)

SAMPLES_TAG = "loratory.samples"
MODEL_VERSIONS = "mlflow.modelVersions"
"""Tag of a logged model with its registered versions, read by MLflow's pages."""
PACKAGES = ("torch", "transformers", "peft", "safetensors", "pandas")
FILES = {"": {"MLmodel"}, "artifacts/adapter": {CARD, CONFIG, "adapter_model.safetensors"}}
"""The files required to load a logged adapter, by folder."""
ANSWERS = "question_answering"
"""The head of models that answer a question from a context."""
QUANTISED_PACKAGES = ("bitsandbytes", "accelerate")


def find_model(client: "MlflowClient", experiment_id: str, card: AdapterCard) -> str | None:
    """Return the id of this checkpoint's complete model, or None."""
    found = (model for model in _models(client, experiment_id, card) if str(model.status) == "READY")
    return next((str(model.model_id) for model in found if model.tags.get(SAMPLES_TAG) == str(card.samples)), None)


def _models(client: "MlflowClient", experiment_id: str, card: AdapterCard) -> "Sequence[LoggedModel]":
    """Return the logged models of a trial, complete or not."""
    wanted = f"tags.`{SWEEP_TAG}` = '{card.sweep_key}' AND tags.`{TRIAL_TAG}` = '{card.trial}'"
    return client.search_logged_models([experiment_id], wanted)


def log_adapter(client: "MlflowClient", adapter: Path, card: AdapterCard, run_id: str, experiment_id: str) -> str:
    """Log an adapter as a model of the trial's run and return the model's id; a model logged before is reused.

    Incomplete models of the trial, left by a killed process, are deleted. One process of this machine logs at a time.

    Args:
        client: MLflow's client of the tracking store.
        adapter: the trained PEFT folder.
        card: the adapter's card.
        run_id: the trial's run.
        experiment_id: the run's experiment.
    """
    with exclusive(client.tracking_uri, "models"):
        model_id = find_model(client, experiment_id, card)
        if model_id is not None:
            return model_id
        for model in _models(client, experiment_id, card):
            if str(model.status) != "READY":
                client.delete_logged_model(model.model_id)
        return _log(client, adapter, card, run_id, experiment_id)


def _log(client: "MlflowClient", adapter: Path, card: AdapterCard, run_id: str, experiment_id: str) -> str:
    from mlflow.entities import LoggedModelOutput, Metric

    tags = {SWEEP_TAG: card.sweep_key, TRIAL_TAG: str(card.trial), SAMPLES_TAG: str(card.samples)}
    name = logged_model_name(card.objective, trial_name(card.trial))
    model = client.create_logged_model(
        experiment_id, name=name, source_run_id=run_id, tags=tags, params=texts(card.params), model_type="adapter"
    )
    with tempfile.TemporaryDirectory() as folder:
        staged = stage_adapter(adapter, card, Path(folder) / "adapter")
        _save(staged, card, model, run_id, Path(folder) / "model")
        client.log_model_artifacts(model.model_id, str(Path(folder) / "model"))
    # The run has the same points; with the model's id the model also shows them.
    measured_ms = milliseconds(card.measured_at)
    metrics = [
        Metric(mlflow_key(key), value, measured_ms, card.samples, model_id=model.model_id, run_id=run_id)
        for key, value in card.metrics.items()
        if not math.isnan(value)  # the search for models takes it for 0
    ]
    client.log_batch(run_id, metrics=metrics)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=card.samples)])
    client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def download_model(client: "MlflowClient", model_id: str, tracking_uri: str, target: Path | None = None) -> Path:
    """Return the adapter folder of a logged model: copied to ``target``, or in place if it is on this disk.

    Raises:
        TrackingError: the model holds no adapter.
    """
    mlflow = load_mlflow()
    location = client.get_logged_model(model_id).artifact_location
    folder = mlflow.artifacts.download_artifacts(
        artifact_uri=location, tracking_uri=tracking_uri, dst_path=None if target is None else str(target)
    )
    adapter = Path(folder) / "artifacts" / "adapter"
    if not adapter.is_dir():
        raise TrackingError(f"model {model_id} at {location} holds no adapter")
    return adapter


def incompleteness(client: "MlflowClient", model_id: str, tracking_uri: str) -> str | None:
    """Return the reason why a logged model cannot be loaded, in words; None if it has all its files."""
    mlflow = load_mlflow()
    from mlflow.exceptions import MlflowException

    try:
        model = client.get_logged_model(model_id)
    except MlflowException as error:
        return f"its logged model {model_id} does not exist ({error.message})"
    if str(model.status) != "READY":
        return f"its logged model {model_id} is incomplete"
    for folder, files in FILES.items():
        uri = "/".join(filter(None, (model.artifact_location.rstrip("/"), folder)))
        listed = mlflow.artifacts.list_artifacts(artifact_uri=uri, tracking_uri=tracking_uri)
        names = {Path(item.path).name for item in listed}
        missing = ({CARD} if FUNCTION_FILE in names else files) - names
        if missing:
            return f"{', '.join(sorted(missing))} is missing in {uri}"
    return None


def _save(staged: Path, card: AdapterCard, model: "LoggedModel", run_id: str, target: Path) -> None:
    if card.is_function:
        _save_function(staged, card, model, run_id, target)
        return
    mlflow = load_mlflow()
    import pandas as pd
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    from orchestrator.tracking.logged_models.adapter_model import MAX_NEW_TOKENS

    # By name: a frame may have other columns, before the texts too. MLflow leaves them out and requires this one.
    columns = (card.text_column, *([card.pair_column] if card.pair_column else []))
    params = []
    if card.head == ANSWERS:
        params = [ParamSpec("answers", DataType.long, default=5)]
    elif card.labels and card.problem == Problem.SINGLE_LABEL and card.head != ENTITIES:
        params = [ParamSpec("calibrated", DataType.boolean, default=False)]
    elif not card.labels:
        params = [ParamSpec("max_new_tokens", DataType.long, default=card.max_new_tokens or MAX_NEW_TOKENS)]
    signature = ModelSignature(
        inputs=Schema([ColSpec(DataType.string, name) for name in columns]),
        outputs=Schema(_answers(card)),
        params=ParamSchema(params) if params else None,  # type: ignore[arg-type]  # its default is None
    )
    files = _files(card)
    packages = PACKAGES if card.quantisation is None else (*PACKAGES, *QUANTISED_PACKAGES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice to annotate predict, which would give a narrower schema
        mlflow.pyfunc.save_model(
            path=str(target),
            python_model=str(files[0]),
            code_paths=[*map(str, files[1:])] or None,
            artifacts={"adapter": str(staged)},
            mlflow_model=Model(artifact_path=model.artifact_location, run_id=run_id, model_id=model.model_id),
            pip_requirements=[f"{name}=={metadata.version(name).partition('+')[0]}" for name in packages],
            signature=signature,
            model_config={"base": ""},  # load_model ignores every key missing here
            input_example=pd.DataFrame({name: ["What is this text about?"] for name in columns}),
            metadata={"loratory": card.to_json()},
        )


def _files(card: AdapterCard) -> list[Path]:
    """Return the file with the model's code, and the files that it imports."""
    here = Path(__file__)
    adapter = here.with_name("adapter_model.py")
    if card.head == ENTITIES:
        return [here.with_name("entity_model.py"), adapter, Path(entity_words.__file__)]
    if card.head != ANSWERS:
        return [adapter]
    return [here.with_name("answer_model.py"), adapter, Path(answer_spans.__file__)]


def _save_function(staged: Path, card: AdapterCard, model: "LoggedModel", run_id: str, target: Path) -> None:
    """Save a function's checkpoint. Its inputs and its packages are unknown, so neither is recorded."""
    mlflow = load_mlflow()
    from mlflow.models import Model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice to record a signature and an example
        mlflow.pyfunc.save_model(
            path=str(target),
            python_model=str(Path(__file__).with_name("function_model.py")),
            artifacts={"adapter": str(staged)},
            mlflow_model=Model(artifact_path=model.artifact_location, run_id=run_id, model_id=model.model_id),
            pip_requirements=[],
            metadata={"loratory": card.to_json()},
        )


def _answers(card: AdapterCard) -> "list[ColSpec | TensorSpec]":
    """Return the columns of a model's answers."""
    from mlflow.types import ColSpec, DataType
    from mlflow.types.schema import Array, Map, Object, Property

    if card.head == ENTITIES:
        kinds = {"text": DataType.string, "label": DataType.string, "start": DataType.long, "end": DataType.long}
        parts = [*(Property(name, kind) for name, kind in kinds.items()), Property("score", DataType.double)]
        return [ColSpec(Array(Object(parts)), "entities")]
    if card.head == ANSWERS:
        one = {"answer": DataType.string, "score": DataType.double}
        place = [Property(name, DataType.long, required=False) for name in ("start", "end")]
        listed = Array(Object([*(Property(name, kind) for name, kind in one.items()), *place]))
        columns = [ColSpec(kind, name) for name, kind in one.items()]
        places = [ColSpec(DataType.long, name, required=False) for name in ("start", "end")]
        return [*columns, *places, ColSpec(listed, "answers")]
    if not card.labels:
        return [ColSpec(DataType.string, "text"), ColSpec(DataType.boolean, "cut")]
    if card.problem == Problem.REGRESSION:
        return [ColSpec(Map(DataType.double), "values")]
    by_label = ColSpec(Map(DataType.double), "probabilities")
    if card.problem == Problem.MULTI_LABEL:
        return [ColSpec(Array(DataType.string), "labels"), by_label]
    return [ColSpec(DataType.string, "label"), ColSpec(DataType.double, "score"), by_label]


def mark_registered(client: "MlflowClient", model_id: str, name: str, version: int) -> None:
    """Name a registered version in a tag of its logged model: MLflow's list of models links it.

    MLflow's server and ``mlflow.register_model`` write the tag, ``create_model_version`` on an SQL store does not. A
    refused tag is logged: the version itself is whole.
    """
    from mlflow.exceptions import MlflowException

    entry = {"name": name, "version": version}
    stored = json.loads(client.get_logged_model(model_id).tags.get(MODEL_VERSIONS, "[]"))
    if (name, version) in {(each["name"], int(each["version"])) for each in stored}:
        return
    try:
        client.set_logged_model_tags(model_id, {MODEL_VERSIONS: json.dumps([*stored, entry])})
    except MlflowException as error:
        if not is_refusal(error):
            raise
        logger.warning("the store refuses the tag %s of model %s: %s", MODEL_VERSIONS, model_id, error)
