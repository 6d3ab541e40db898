"""Find, create and write runs in MLflow."""

import functools
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from orchestrator.core.metric import Metric
from orchestrator.core.sweeps.sweep import SweepRecord
from orchestrator.core.system.secrets import redact
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.refusals import is_refusal
from orchestrator.tracking.runs import provenance
from orchestrator.tracking.runs.description import DataInput, SweepDescription, sweep_key
from orchestrator.tracking.runs.summary import Point, milliseconds
from orchestrator.tracking.runs.wording import (
    FRESH_TAG,
    SWEEP_TAG,
    TRIAL_TAG,
    child_tags,
    parent_tags,
    run_name,
    texts,
)
from orchestrator.tracking.ui.ui_view import ALL_VIEW, KIND, names_a_sweep, view_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Experiment

METRICS_PER_BATCH = 900
"""MLflow accepts 1000 entities in one call, at most 100 of them parameters and 100 tags."""

T = TypeVar("T")
logger = logging.getLogger(__name__)


class RunWriter:
    """Writes the runs of one sweep through one client. Every write is idempotent."""

    def __init__(self, client: "MlflowClient", sweep: SweepRecord, description: SweepDescription) -> None:
        self.client = client
        self._sweep = sweep
        self._description = description

    def experiment(self, location: Location) -> str:
        """Return the id of the experiment with the sweep's name; it opens with the trials of this sweep.

        It is created, or restored if it was deleted.
        """
        experiment = self.client.get_experiment_by_name(self._sweep.name)
        views = view_tags(self._sweep, self._description.metric)
        if experiment is None:
            folder = location.new_artifacts
            artifacts = None if folder is None else (folder / self._sweep.name).as_uri()
            return str(self.client.create_experiment(self._sweep.name, artifact_location=artifacts, tags=views))
        if experiment.lifecycle_stage != "active":
            self.client.restore_experiment(experiment.experiment_id)
        try:
            _write_tags(self.client, experiment, views)
        except Exception as error:  # errors of MLflow, of its HTTP client and of SQL have no common base
            if not is_refusal(error):
                raise
            logger.warning("the store refuses the view of %s: %s", self._sweep.reference, error)  # runs are possible
        return str(experiment.experiment_id)

    def existing(self, experiment_id: str) -> dict[int | None, str]:
        """Return the ids of this sweep's runs by trial number; the key of the parent run is None."""
        wanted = f"tags.`{SWEEP_TAG}` = '{sweep_key(self._sweep)}'"
        run_ids: dict[int | None, str] = {}
        token = None
        while True:
            page = self.client.search_runs([experiment_id], wanted, order_by=["start_time ASC"], page_token=token)
            for run in page:
                number = run.data.tags.get(TRIAL_TAG, run.data.tags.get(FRESH_TAG))
                run_ids.setdefault(None if number is None else int(number), str(run.info.run_id))
            token = page.token
            if not token:
                return run_ids

    def create_parent(self, experiment_id: str) -> str:
        """Create the sweep's run and return its id."""
        tags = parent_tags(self._sweep) | dict(_origin(self._description.code_dir))
        started = milliseconds(self._sweep.created_at)
        return str(self.client.create_run(experiment_id, started, tags, self._sweep.reference).info.run_id)

    def write_parent_constants(self, run_id: str) -> None:
        """Write the constant parts of the parent run: parameters, versions, data sets.

        MLflow cannot change parameters, so existing ones are skipped.
        """
        written = self.client.get_run(run_id).data.params
        params = {k: v for k, v in texts(self._description.params).items() if k not in written}
        versions = provenance.versions()
        self.write(run_id, params=params, tags={f"version/{name}": version for name, version in versions.items()})
        self.log_data(run_id)

    def create_trial(self, experiment_id: str, trial: TrialRecord, parent: str) -> str:
        """Create a trial's run under ``parent`` and return its id."""
        tags = child_tags(self._sweep, trial, parent) | dict(_origin(self._description.code_dir))
        started = milliseconds(trial.started_at or self._sweep.created_at)
        run = self.client.create_run(experiment_id, started, tags, run_name(trial))
        return str(run.info.run_id)

    def log_data(self, run_id: str) -> None:
        """Record the data sets as the run's inputs."""
        if self._description.data:
            self.client.log_inputs(run_id, [_input(item) for item in self._description.data])

    def write(
        self,
        run_id: str,
        points: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write metrics, parameters and tags, in as few calls as the limits allow."""
        from mlflow import entities

        metrics = [entities.Metric(point.name, point.value, point.timestamp_ms, point.step) for point in points]
        texts = [entities.Param(name, redact(value)[:6000]) for name, value in (params or {}).items()]
        for few in _chunks(texts, 100):
            self.client.log_batch(run_id, params=few)
        head = [entities.RunTag(name, redact(value)[:8000]) for name, value in (tags or {}).items()]
        for chunk in _chunks(metrics, METRICS_PER_BATCH):
            self.client.log_batch(run_id, metrics=chunk, tags=head)
            head = []
        if head:
            self.client.log_batch(run_id, tags=head)

    def rename(self, run_id: str, name: str) -> None:
        """Give a run another name."""
        self.client.update_run(run_id, name=name)

    def set_status(self, run_id: str, status: str, ended_at: float | None) -> None:
        """Set a run's status; a final status has an end time, in seconds since the epoch."""
        if status in {"FINISHED", "FAILED"}:
            self.client.set_terminated(run_id, status, None if ended_at is None else milliseconds(ended_at))
        else:
            self.client.update_run(run_id, status=status)

    def upload(self, run_id: str, file: Path, folder: str | None) -> None:
        """Upload a file as an artifact of the run."""
        self.client.log_artifact(run_id, str(file), folder)

    def upload_text(self, run_id: str, content: str, name: str) -> None:
        """Upload a text as an artifact of the run."""
        self.client.log_text(run_id, redact(content), name)


def offer_view(location: Location, experiment_id: str, sweep: SweepRecord, metric: Metric) -> bool:
    """Write the view of the sweep's trials if it is missing or of an earlier version; return whether there is one now.

    The experiment keeps the sweep that it opens with.

    Raises:
        MlflowException: the server does not answer.
    """
    client = connect(location)
    try:
        experiment = client.get_experiment(experiment_id)
        views = view_tags(sweep, metric)
        if names_a_sweep(experiment.tags.get(ALL_VIEW, "")):
            del views[ALL_VIEW]
        _write_tags(client, experiment, views)
    except Exception as error:  # errors of MLflow, of its HTTP client and of SQL have no common base
        if not is_refusal(error):
            raise
        logger.info("the view of %s is not written: %s", sweep.reference, error)
        return False  # a user may read the store and not write to it
    return True


def _write_tags(client: "MlflowClient", experiment: "Experiment", tags: Mapping[str, str]) -> None:
    """Write the tags with another value; a kind chosen by a user stays."""
    for name, value in tags.items():
        if experiment.tags.get(name) != value and not (name in KIND and name in experiment.tags):
            client.set_experiment_tag(experiment.experiment_id, name, value)


def table_tag(path: str) -> dict[str, str]:
    """Return a tag for MLflow's UI: it shows the JSON artifact ``{"columns": ..., "data": ...}`` as a table."""
    return {"mlflow.loggedArtifacts": json.dumps([{"path": path, "type": "table"}])}


@functools.cache
def _origin(code_dir: Path | None) -> Mapping[str, str]:
    tags = {"mlflow.user": provenance.user(), "mlflow.source.name": "loratory", "mlflow.source.type": "LOCAL"}
    commit = provenance.commit(code_dir)
    return tags if commit is None else tags | {"mlflow.source.git.commit": commit}


def _input(item: DataInput) -> "DatasetInput":
    from mlflow.entities import Dataset, DatasetInput, InputTag

    # MLflow's data set classes would import pandas or datasets; the server stores only the entity.
    data = Dataset(
        name=item.name,
        digest=item.digest[:36],
        source_type="local",
        source=json.dumps({"uri": item.source}),
        profile=json.dumps({"num_rows": item.rows}),
    )
    return DatasetInput(data, [InputTag("mlflow.data.context", item.context)])


def _chunks(items: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
