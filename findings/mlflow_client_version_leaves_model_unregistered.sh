#!/usr/bin/env bash
# mlflow 3.17.2: MlflowClient.create_model_version on an SQL store does not mark the logged model as registered.
#
# Expected: a version created with model_id=… names its logged model, so the model knows its version, as after
# mlflow.register_model. A server does the same for its clients.
# Observed: the model lacks the tag mlflow.modelVersions. The list of models in MLflow's pages reads this tag, and shows
# the model as not registered. With mlflow.register_model the tag is there.
#
# Output:
#   create_model_version   tag of the model: None
#   register_model         tag of the model: [{"name": "second", "version": 1}]
source "$(dirname "$0")/lib.sh"
packages mlflow==3.17.2
run <<'PY'
import logging
import os

import mlflow
from mlflow import MlflowClient

logging.disable(logging.WARNING)
mlflow.set_tracking_uri(f"sqlite:///{os.getcwd()}/mlflow.db")
client = MlflowClient()
experiment = client.create_experiment("one", artifact_location=f"file://{os.getcwd()}/artifacts")


class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input: list[str], params=None):
        return model_input


def logged():
    with mlflow.start_run(experiment_id=experiment):
        info = mlflow.pyfunc.log_model(name="model", python_model=Model(), pip_requirements=[])
    return client.get_logged_model(info.model_id)


def tag(model):
    return client.get_logged_model(model.model_id).tags.get("mlflow.modelVersions")


first = logged()
client.create_registered_model("first")
client.create_model_version(
    "first", first.artifact_location, run_id=first.source_run_id, model_id=first.model_id
)
second = logged()
mlflow.register_model(f"models:/{second.model_id}", "second")
print(f"create_model_version   tag of the model: {tag(first)}")
print(f"register_model         tag of the model: {tag(second)}")
assert tag(first) is None
assert tag(second) is not None
PY
