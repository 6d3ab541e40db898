#!/usr/bin/env bash
# mlflow 3.17.2 and 3.18.0: search_logged_models takes a NaN metric for 0, so a diverged model is the best by its loss.
#
# Expected: as in search_runs, a NaN matches no filter such as "metrics.loss < 1", and is last in both orders. (search_runs
# was mended in mlflow's pull request 25802; logged models were not.)
# Observed: an SQL store keeps NaN as the value 0 with a mark, and the search of logged models does not read the mark.
# The model of the diverged run passes every upper bound of a loss and is first in ascending order. Printed, its metric
# is 0.0 or nan, depending on the version.
#
# Output:
#   runs    loss < 1: ['good']            ascending: ['good', 'poor', 'diverged']
#   models  loss < 1: ['diverged', 'good'] ascending: ['diverged', 'good', 'poor']
source "$(dirname "$0")/lib.sh"
packages mlflow==3.17.2
run <<'PY'
import logging
import math
import os

import mlflow
from mlflow import MlflowClient

logging.disable(logging.WARNING)
mlflow.set_tracking_uri(f"sqlite:///{os.getcwd()}/mlflow.db")
client = MlflowClient()
experiment = client.create_experiment("one")
for name, loss in (("good", 0.4), ("poor", 2.0), ("diverged", math.nan)):
    run = client.create_run(experiment, run_name=name)
    model = client.create_logged_model(experiment, name=name, source_run_id=run.info.run_id)
    client.log_metric(run.info.run_id, "loss", loss, model_id=model.model_id)
    client.finalize_logged_model(model.model_id, "READY")


def runs(query="", order=None):
    return [run.info.run_name for run in client.search_runs([experiment], query, order_by=order)]


def models(query=None, order=None):
    return [model.name for model in client.search_logged_models([experiment], filter_string=query, order_by=order)]


below = {"runs": sorted(runs("metrics.loss < 1")), "models": sorted(models("metrics.loss < 1"))}
ascending = {
    "runs": runs(order=["metrics.loss ASC"]),
    "models": models(order=[{"field_name": "metrics.loss", "ascending": True}]),
}
for kind in below:
    print(f"{kind:7} loss < 1: {below[kind]} ascending: {ascending[kind]}")
assert below["runs"] == ["good"]
assert ascending["runs"] == ["good", "poor", "diverged"]
assert below["models"] == ["diverged", "good"]
assert ascending["models"] == ["diverged", "good", "poor"]
PY
